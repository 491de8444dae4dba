package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beside is a round in which calls took so long.
func beside(took ...float64) heard { return heard{took: took, late: make([]float64, len(took))} }

func TestNoise(t *testing.T) {
	alone := []heard{beside(1, 1, 2), beside(1, 1, 4), beside(1, 1, 1)}
	row := newNoiseRow("limits", "all 3", []heard{beside(1, 2, 6), beside(1, 2, 4), beside(3, 3, 9)}, alone)
	assert.Equal(t, noiseRow{
		Setup: "limits", Neighbours: "all 3", P50: 2, P99: 6, Ratio: 3, Lowest: 1, Highest: 9,
	}, row)

	n := noiseReport{Goal: 2, Rows: []noiseRow{newNoiseRow("limits", "nobody", alone, alone), row, newNoiseRow("reference", "nobody", alone, alone)}}
	assert.Equal(t, row, n.worst("limits"))
	var out bytes.Buffer
	n.write(&out)
	assert.Contains(t, out.String(), "| all 3 | 2.00, 6.00 ms | 3.00 (1.00–9.00) |\n")
	assert.Contains(t, out.String(), "- limits: at worst 3.00 times its p99 alone, beside all 3; goal at most 2: **missed**\n- reference: at worst 1.00 times its p99 alone, beside nobody\n")

	// The goal is for what has limits.
	n.LeftOut = "limits are left out"
	out.Reset()
	n.write(&out)
	assert.NotContains(t, out.String(), "goal")
	assert.Contains(t, out.String(), n.LeftOut)
}

func TestCost(t *testing.T) {
	var c costReport
	c.add("start", milliseconds, [][]float64{{20, 30, 40}, {21, 31, 42}, {26, 34, 46}}, new(5.0))
	c.add("rate", perSecond, [][]float64{{100, 100, 200}, {99, 100, 200}, {97.5, 90, 196}}, new(-3.0))
	c.add("cpu", microseconds, [][]float64{{10, 10, 10}, {10, 11, 12}, {10, 11, 12}}, nil)
	require.Len(t, c.Rows, 3)
	assert.Equal(t, costRow{Measure: "start", Unit: milliseconds, None: 30, Goal: new(5.0), Others: []profileFigure{
		{Profile: "standard", Value: 31, Difference: 1, Lower: 1, Upper: 2},
		{Profile: "strict", Value: 34, Difference: 6, Lower: 4, Upper: 6},
	}}, c.Rows[0])
	assert.Equal(t, "strict at most +5.00 ms: **missed**", c.Rows[0].goal())
	assert.InDelta(t, -2.5, c.Rows[1].Others[1].Difference, 1e-9)
	assert.Equal(t, "strict at least -3.0 %: **met**", c.Rows[1].goal())
	assert.Empty(t, c.Rows[2].goal())
	var out bytes.Buffer
	c.write(&out)
	assert.Contains(t, out.String(), "| rate | 100 | 100 | +0.0 %, -1.0 % to +0.0 % | 98 | -2.5 %, -10.0 % to -2.0 % | strict at least -3.0 %: **met** |\n")
	assert.Contains(t, out.String(), "| cpu | 10.0 µs | 11.0 µs | +10.0 %, +0.0 % to +20.0 % |")
}

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// noiseReport is of a stream that is called beside others.
type noiseReport struct {
	// Rate is in calls a second.
	Rate int        `json:"rate"`
	Rows []noiseRow `json:"rows"`
	// Goal is for the ratios in the first setup.
	Goal float64 `json:"goal"`
	// LeftOut says what could not be measured here, and why.
	LeftOut string `json:"left_out,omitempty"`
}

// noiseRow is of one setup and one sort of neighbours: medians of the rounds,
// in ms.
type noiseRow struct {
	Setup      string  `json:"setup"`
	Neighbours string  `json:"neighbours"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	// Late is what the caller itself was late, which is a part of P99.
	Late float64 `json:"late_p99_ms"`
	// Ratio is of P99 to the one without neighbours in the same round: the
	// median, and the extremes.
	Ratio   float64 `json:"ratio"`
	Lowest  float64 `json:"ratio_lowest"`
	Highest float64 `json:"ratio_highest"`
}

// newNoiseRow sums up the rounds beside some neighbours and beside none.
func newNoiseRow(setup, neighbours string, beside, alone []heard) noiseRow {
	p := func(share float64, of func(heard) []float64) []float64 {
		out := make([]float64, len(beside))
		for i, h := range beside {
			out[i] = percentile(of(h), share)
		}
		return out
	}
	took := func(h heard) []float64 { return h.took }
	r := noiseRow{
		Setup: setup, Neighbours: neighbours,
		P50: median(p(0.5, took)), P99: median(p(0.99, took)), Late: median(p(0.99, func(h heard) []float64 { return h.late })),
	}
	ratios := p(0.99, took)
	for i := range ratios {
		ratios[i] /= percentile(alone[i].took, 0.99)
	}
	r.Ratio, r.Lowest, r.Highest = median(ratios), slices.Min(ratios), slices.Max(ratios)
	return r
}

// worst is the largest ratio of a setup.
func (n *noiseReport) worst(setup string) (worst noiseRow) {
	for _, r := range n.Rows {
		if r.Setup == setup && r.Ratio > worst.Ratio {
			worst = r
		}
	}
	return worst
}

// setups are in the order of their rows.
func (n *noiseReport) setups() []string {
	var out []string
	for _, r := range n.Rows {
		if !slices.Contains(out, r.Setup) {
			out = append(out, r.Setup)
		}
	}
	return out
}

func (n *noiseReport) write(out *bytes.Buffer) {
	fmt.Fprintf(out, "\nNoisy neighbours: a stream called %d times a second, whatever becomes of the calls\n\n", n.Rate)
	setups := n.setups()
	out.WriteString("| beside |")
	for _, setup := range setups {
		fmt.Fprintf(out, " %s: p50, p99 | p99 to that alone |", setup)
	}
	out.WriteString("\n|---|" + strings.Repeat("--:|--:|", len(setups)) + "\n")
	for _, c := range crowds() {
		fmt.Fprintf(out, "| %s |", c)
		for _, r := range n.Rows {
			switch {
			case r.Neighbours != c.String():
			case len(c) == 0:
				fmt.Fprintf(out, " %.2f, %.2f ms |  |", r.P50, r.P99)
			default:
				fmt.Fprintf(out, " %.2f, %.2f ms | %.2f (%.2f–%.2f) |", r.P50, r.P99, r.Ratio, r.Lowest, r.Highest)
			}
		}
		out.WriteString("\n")
	}
	out.WriteString("\n")
	for i, setup := range setups {
		w := n.worst(setup)
		fmt.Fprintf(out, "- %s: at worst %.2f times its p99 alone, beside %s", setup, w.Ratio, w.Neighbours)
		if i == 0 && n.LeftOut == "" {
			fmt.Fprintf(out, "; goal at most %g: **%s**", n.Goal, verdict(w.Ratio <= n.Goal))
		}
		out.WriteString("\n")
	}
	if n.LeftOut != "" {
		fmt.Fprintf(out, "- %s\n", n.LeftOut)
	}
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

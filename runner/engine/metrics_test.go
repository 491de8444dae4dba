package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// TestMetricsTellTheirKind runs a stream that has metrics of every kind, of the
// engine's own and of its metric processor.
func TestMetricsTellTheirKind(t *testing.T) {
	s, err := prepare(t, `
input: {generate: {count: 5, interval: "", mapping: 'root = "x"'}}
pipeline:
  processors:
    - metric: {type: counter, name: mine_counted}
    - metric: {type: gauge, name: mine_gauged, value: '7'}
    - metric: {type: timing, name: mine_timed, value: '${! count("t") * 100 }'}
output: {drop: {}}
`)
	require.NoError(t, err)
	s.Run()
	awaitDone(t, s)
	found := map[string]rpc.Metric{}
	for _, m := range s.Metrics() {
		assert.Equal(t, m.Kind == rpc.KindTimer, m.Timing != nil, m.Name)
		found[m.Name] = m
	}
	assert.Equal(t, rpc.KindCounter, found["input_received"].Kind)
	assert.EqualValues(t, 5, found["input_received"].Number)
	assert.Equal(t, rpc.KindTimer, found["output_latency_ns"].Kind)
	assert.EqualValues(t, 5, found["output_latency_ns"].Timing.Count)
	assert.Positive(t, found["output_latency_ns"].Timing.Sum)

	assert.Equal(t, rpc.KindCounter, found["mine_counted"].Kind)
	assert.EqualValues(t, 5, found["mine_counted"].Number)
	assert.Equal(t, rpc.KindGauge, found["mine_gauged"].Kind)
	assert.EqualValues(t, 7, found["mine_gauged"].Number)
	assert.Equal(t, rpc.KindTimer, found["mine_timed"].Kind)
	assert.Equal(t, &rpc.Timing{P50: 300, P90: 500, P99: 500, Count: 5, Sum: 1500}, found["mine_timed"].Timing)
}

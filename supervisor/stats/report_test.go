package stats_test

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/supervisor/stats"
)

// metric is a counter or gauge; labels are pairs of name and value.
func metric(name string, number int64, labels ...string) rpc.Metric {
	m := rpc.Metric{Name: name, Number: number, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	return m
}

func timer(name string, p50, p90, p99 float64, labels ...string) rpc.Metric {
	m := metric(name, 0, labels...)
	m.Timing = &rpc.Timing{P50: p50, P90: p90, P99: p99}
	return m
}

// recorded are the metrics that the engine counts for testdata/stream.yaml
// with testdata/resources.yaml, each with a number of its own.
func recorded(t *testing.T) []rpc.Metric {
	t.Helper()
	var entries []struct {
		Name   string            `json:"name"`
		Timer  bool              `json:"timer"`
		Labels map[string]string `json:"labels"`
	}
	readJSON(t, "testdata/metrics.json", &entries)
	var metrics []rpc.Metric
	for i, e := range entries {
		m := rpc.Metric{Name: e.Name, Labels: e.Labels, Number: int64(i + 1)}
		if e.Timer {
			m.Number, m.Timing = 0, &rpc.Timing{P50: float64(i + 1), P90: float64(i + 2), P99: float64(i + 3)}
		}
		metrics = append(metrics, m)
	}
	require.NotEmpty(t, metrics)
	return metrics
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, into))
}

// decoded is what a client reads.
func decoded(t *testing.T, value any) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal(marshalled(t, value), &out))
	return out
}

func marshalled(t *testing.T, value any) []byte {
	t.Helper()
	content, err := json.Marshal(value)
	require.NoError(t, err)
	return content
}

func shuffled(metrics []rpc.Metric, seed uint64) []rpc.Metric {
	metrics = slices.Clone(metrics)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(metrics), func(i, j int) {
		metrics[i], metrics[j] = metrics[j], metrics[i]
	})
	return metrics
}

func TestFlatHasUpstreamsKeys(t *testing.T) {
	// Upstream's own answer for the same config, as stream `s`, with every
	// number set to zero.
	var upstream map[string]any
	readJSON(t, "testdata/flat.json", &upstream)

	flat := decoded(t, stats.Report{Stream: "s", Metrics: recorded(t)}.Flat())

	assert.Equal(t, slices.Sorted(maps.Keys(upstream)), slices.Sorted(maps.Keys(flat)))
	for key, want := range upstream {
		assert.IsType(t, want, flat[key], key)
	}
}

func TestFlat(t *testing.T) {
	tests := []struct {
		name    string
		metrics []rpc.Metric
		want    string
	}{
		{"nothing", nil, `{}`},
		{
			"counter",
			[]rpc.Metric{metric("input_received", math.MaxInt64, "path", "root.input", "label", "a")},
			`{"input_received{label=\"a\",path=\"root.input\",stream=\"foo\"}": 9223372036854775807}`,
		},
		{
			"timer",
			[]rpc.Metric{timer("output_latency_ns", 1.5, 2, 3, "path", "root.output", "label", "")},
			`{"output_latency_ns{label=\"\",path=\"root.output\",stream=\"foo\"}": {"p50": 1.5, "p90": 2, "p99": 3}}`,
		},
		{
			"timer without a number",
			[]rpc.Metric{timer("t", math.NaN(), math.Inf(1), 3)},
			`{"t{stream=\"foo\"}": {"p50": 0, "p90": 0, "p99": 3}}`,
		},
		{
			"values are quoted",
			[]rpc.Metric{metric("mine", 1, "z", "é\"\n,", "a", "")},
			`{"mine{a=\"\",stream=\"foo\",z=\"\\u00e9\\\"\\n,\"}": 1}`,
		},
		{
			"the user's own stream label",
			[]rpc.Metric{metric("mine", 1, "stream", "bar")},
			`{"mine{stream=\"bar\",stream=\"bar\"}": 1}`,
		},
		{
			"resources are left out",
			[]rpc.Metric{
				metric("cache_error", 1, "path", "root.cache_resources", "label", "c"),
				metric("input_received", 1, "path", "root.input_resources.broker.inputs.0"),
				metric("output_sent", 1, "path", "root.output_resources"),
				metric("processor_sent", 1, "path", "root.processor_resources.processors.0"),
				metric("rate_limit_checked", 1, "path", "root.rate_limit_resources"),
				metric("mine", 1, "path", "root.cache_resourcesx"),
			},
			`{"mine{path=\"root.cache_resourcesx\",stream=\"foo\"}": 1}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want map[string]any
			require.NoError(t, json.Unmarshal([]byte(tt.want), &want))
			want["uptime_ns"] = float64(1500000000)
			report := stats.Report{Stream: "foo", Metrics: tt.metrics, Uptime: 1500 * time.Millisecond}
			assert.Equal(t, want, decoded(t, report.Flat()))
		})
	}
}

func TestReportsDoNotDependOnOrder(t *testing.T) {
	metrics := recorded(t)
	// The same name, labels and even the same key twice.
	metrics = append(metrics,
		metric("input_received", 1, "path", "root.input", "label", "a"),
		metric("input_received", 2, "path", "root.input", "label", "b"),
		metric("input_received", 2, "path", "root.input", "label", "b"),
		metric("received", 3, "path", "root.input", "label", "a"),
		timer("received", 1, 2, 3, "path", "root.input", "label", "a"),
		timer("received", 1, 2, 4, "path", "root.input", "label", "a"),
		metric("x", 1, "path", "root.input.~2"),
		metric("x", 2, "path", "root.input.~02"),
	)
	report := stats.Report{Stream: "s", Metrics: metrics}
	tree, flat := marshalled(t, report.Tree()), marshalled(t, report.Flat())
	for seed := range uint64(50) {
		report.Metrics = shuffled(metrics, seed)
		require.Equal(t, string(tree), string(marshalled(t, report.Tree())), "seed %d", seed)
		require.Equal(t, string(flat), string(marshalled(t, report.Flat())), "seed %d", seed)
	}
}

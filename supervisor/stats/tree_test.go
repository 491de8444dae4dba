package stats_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/supervisor/stats"
)

func TestTree(t *testing.T) {
	at := func(path string) []string { return []string{"label", "", "path", path} }
	labelled := func(label, path string, further ...string) []string {
		return append([]string{"label", label, "path", path}, further...)
	}
	tests := []struct {
		name    string
		metrics []rpc.Metric
		want    string
	}{
		{"nothing", nil, `{}`},
		{
			"input, buffer, processor, output",
			[]rpc.Metric{
				metric("input_received", 1, labelled("in", "root.input")...),
				metric("input_connection_up", 2, labelled("in", "root.input")...),
				metric("input_connection_failed", 3, labelled("in", "root.input")...),
				metric("input_connection_lost", 4, labelled("in", "root.input")...),
				timer("input_latency_ns", 5, 6, 7.5, labelled("in", "root.input")...),
				metric("buffer_batch_sent", 8, at("root.buffer")...),
				metric("processor_error", 9, at("root.pipeline.processors.0")...),
				metric("output_sent", 10, at("root.output")...),
				metric("output_error", 11, at("root.output")...),
			},
			`{
				"input": {"label": "in", "path": "root.input", "received": 1,
					"connection": {"up": 2, "failed": 3, "lost": 4},
					"latency_ns": {"p50": 5, "p90": 6, "p99": 7.5}},
				"buffer": {"label": "", "path": "root.buffer", "batch_sent": 8},
				"pipeline": {"processors": [{"label": "", "path": "root.pipeline.processors.0", "error": 9}]},
				"output": {"label": "", "path": "root.output", "sent": 10, "error": 11}
			}`,
		},
		{
			"holes of an array",
			[]rpc.Metric{metric("input_received", 1, at("root.input.broker.inputs.2")...)},
			`{"input": {"broker": {"inputs": [{}, {}, {"label": "", "path": "root.input.broker.inputs.2", "received": 1}]}}}`,
		},
		{
			"arrays in arrays, as of fallback and switch",
			[]rpc.Metric{metric("processor_sent", 1, at("root.pipeline.processors.0.switch.1.processors.0")...)},
			`{"pipeline": {"processors": [{"switch": [{}, {"processors": [
				{"label": "", "path": "root.pipeline.processors.0.switch.1.processors.0", "sent": 1}]}]}]}}`,
		},
		{
			"an index that no array should have",
			[]rpc.Metric{
				metric("input_received", 1, at("root.input.dynamic.inputs.0")...),
				metric("input_received", 2, at("root.input.dynamic.inputs.1000000000")...),
			},
			`{"input": {"dynamic": {"inputs": {
				"0": {"label": "", "path": "root.input.dynamic.inputs.0", "received": 1},
				"1000000000": {"label": "", "path": "root.input.dynamic.inputs.1000000000", "received": 2}}}}}`,
		},
		{
			"numbers that are no indices",
			[]rpc.Metric{
				metric("a", 1, at("root.input.x.01")...),
				metric("a", 2, at("root.input.y.-1")...),
				metric("a", 3, at("root.input.z.99999999999999999999")...),
				metric("a", 4, at("root.input.0")...),
			},
			`{"input": {
				"x": {"01": {"label": "", "path": "root.input.x.01", "a": 1}},
				"y": {"-1": {"label": "", "path": "root.input.y.-1", "a": 2}},
				"z": {"99999999999999999999": {"label": "", "path": "root.input.z.99999999999999999999", "a": 3}},
				"0": {"label": "", "path": "root.input.0", "a": 4}}}`,
		},
		{
			"a list that also counts",
			[]rpc.Metric{
				metric("mine", 1, at("root.pipeline.processors")...),
				metric("processor_sent", 2, at("root.pipeline.processors.0")...),
			},
			`{"pipeline": {"processors": {"label": "", "path": "root.pipeline.processors", "mine": 1,
				"0": {"label": "", "path": "root.pipeline.processors.0", "sent": 2}}}}`,
		},
		{
			"escaped segments",
			[]rpc.Metric{metric("output_sent", 1, at("root.output.dynamic.outputs.a~1b~0c~01")...)},
			`{"output": {"dynamic": {"outputs": {"a.b~c~1": {
				"label": "", "path": "root.output.dynamic.outputs.a~1b~0c~01", "sent": 1}}}}}`,
		},
		{
			"labels of the user",
			[]rpc.Metric{
				metric("mine", 1, labelled("m", "root.pipeline.processors.0", "k", "v", "a", "é")...),
				metric("mine", 2, labelled("m", "root.pipeline.processors.0", "k", "w")...),
				metric("batch_created", 3, at("root.output.batching")...),
				metric("batch_created", 4, labelled("", "root.output.batching", "mechanism", "count")...),
			},
			`{
				"pipeline": {"processors": [{"label": "m", "path": "root.pipeline.processors.0",
					"mine{a=\"\\u00e9\",k=\"v\"}": 1, "mine{k=\"w\"}": 2}]},
				"output": {"batching": {"label": "", "path": "root.output.batching",
					"batch_created": 3, "batch_created{mechanism=\"count\"}": 4}}
			}`,
		},
		{
			"the prefix of another kind stays",
			[]rpc.Metric{
				metric("input_received", 1, at("root.pipeline.processors.0")...),
				metric("processor_", 2, at("root.pipeline.processors.0")...),
				metric("processor_received", 3, at("root.input.processors.0")...),
			},
			`{
				"pipeline": {"processors": [{"label": "", "path": "root.pipeline.processors.0", "input_received": 1, "processor_": 2}]},
				"input": {"processors": [{"label": "", "path": "root.input.processors.0", "received": 3}]}
			}`,
		},
		{
			"the user's label is not the component's",
			[]rpc.Metric{
				metric("mine", 1, labelled("foo", "root.input.processors.0")...),
				metric("processor_sent", 2, labelled("m", "root.input.processors.0")...),
			},
			`{"input": {"processors": [{"label": "m", "path": "root.input.processors.0", "sent": 2, "mine{label=\"foo\"}": 1}]}}`,
		},
		{
			"no path, or one that no config has",
			[]rpc.Metric{
				metric("a", 1),
				metric("a", 2, "label", ""),
				metric("a", 3, "label", "x", "k", "v"),
				metric("a", 4, at("root")...),
				metric("a", 5, at("root.process.pid")...),
				metric("a", 6, at("uptime_ns")...),
				metric("a", 7, at("root.other")...),
				metric("a", 8, at("root.")...),
				metric("a", 9, at(".")...),
			},
			`{"other": {
				"a": 1, "a{label=\"\"}": 2, "a{k=\"v\",label=\"x\"}": 3,
				"root": {"label": "", "path": "root", "a": 4},
				"process": {"pid": {"label": "", "path": "root.process.pid", "a": 5}},
				"uptime_ns": {"label": "", "path": "uptime_ns", "a": 6},
				"other": {"label": "", "path": "root.other", "a": 7},
				"": {"label": "", "path": "root.", "a": 8, "": {"label": "", "path": ".", "a": 9}}
			}}`,
		},
		{
			"resources",
			[]rpc.Metric{
				metric("cache_success", 1, labelled("foo", "root.cache_resources", "operation", "get")...),
				metric("rate_limit_checked", 2, labelled("0", "root.rate_limit_resources")...),
				metric("processor_sent", 3, labelled("p", "root.processor_resources")...),
				metric("processor_sent", 4, at("root.processor_resources.processors.0")...),
				metric("output_sent", 5, labelled("o", "root.output_resources.broker.outputs.0")...),
				metric("input_received", 6, at("root.input_resources")...),
			},
			`{"resources": {
				"cache": {"foo": {"label": "foo", "path": "root.cache_resources", "success{operation=\"get\"}": 1}},
				"rate_limit": {"0": {"label": "0", "path": "root.rate_limit_resources", "checked": 2}},
				"processor": {
					"p": {"label": "p", "path": "root.processor_resources", "sent": 3},
					"processors": [{"label": "", "path": "root.processor_resources.processors.0", "sent": 4}]},
				"output": {"o": {"broker": {"outputs": [
					{"label": "o", "path": "root.output_resources.broker.outputs.0", "sent": 5}]}}},
				"input": {"label": "", "path": "root.input_resources", "received": 6}
			}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assertTree(t, tt.want, tt.metrics) })
	}
}

func TestTreeKeepsWhatCollides(t *testing.T) {
	tests := []struct {
		name    string
		metrics []rpc.Metric
		want    string
	}{
		{
			"two names become one",
			[]rpc.Metric{
				metric("received", 1, "path", "root.input"),
				metric("input_received", 2, "path", "root.input"),
			},
			`{"received": 2, "received{path=\"root.input\"}": 1}`,
		},
		{
			"a child, label and path",
			[]rpc.Metric{
				metric("a", 1, "path", "root.input.broker"),
				metric("input_broker", 2, "path", "root.input"),
				metric("label", 3, "path", "root.input"),
				metric("input_path", 4, "path", "root.input"),
			},
			`{"broker": {"label": "", "path": "root.input.broker", "a": 1},
				"input_broker": 2, "label{path=\"root.input\"}": 3, "input_path": 4}`,
		},
		{
			"children named label and path",
			[]rpc.Metric{
				metric("a", 1, "path", "root.input"),
				metric("a", 2, "path", "root.input.label"),
				metric("a", 3, "path", "root.input.path"),
			},
			`{"a": 1, "label#2": {"label": "", "path": "root.input.label", "a": 2},
				"path#2": {"label": "", "path": "root.input.path", "a": 3}}`,
		},
		{
			"connection is a number",
			[]rpc.Metric{
				metric("input_connection", 1, "path", "root.input"),
				metric("input_connection_up", 2, "path", "root.input"),
			},
			`{"connection": 1, "connection_up": 2}`,
		},
		{
			"connection is a child",
			[]rpc.Metric{
				metric("a", 1, "path", "root.input.connection"),
				metric("input_connection_up", 2, "path", "root.input"),
			},
			`{"connection": {"label": "", "path": "root.input.connection", "a": 1}, "connection_up": 2}`,
		},
		{
			"connection is taken by its states, or one state twice",
			[]rpc.Metric{
				metric("input_connection_up", 1, "path", "root.input"),
				metric("input_connection_up", 2, "path", "root.input", "label", ""),
				metric("connection", 3, "path", "root.input"),
				metric("input_connection_up", 4, "path", "root.input", "k", "v"),
				metric("input_connection_odd", 5, "path", "root.input"),
			},
			`{"connection": {"up": 2, "up{k=\"v\"}": 4}, "connection_up": 1,
				"connection{path=\"root.input\"}": 3, "connection_odd": 5}`,
		},
		{
			"labels that differ by being there",
			[]rpc.Metric{
				metric("input_sent", 1, "path", "root.input"),
				metric("input_sent", 2, "path", "root.input", "label", ""),
				metric("sent", 3, "path", "root.input"),
				metric("sent", 4, "path", "root.input", "label", ""),
			},
			`{"sent": 2, "input_sent": 1, "sent{path=\"root.input\"}": 3, "sent{label=\"\",path=\"root.input\"}": 4}`,
		},
		{
			"a counter, a timer and a name like its labels",
			[]rpc.Metric{
				metric("a", 1, "path", "root.input"),
				timer("a", 2, 3, 4, "path", "root.input"),
				metric(`a{path="root.input"}`, 5, "path", "root.input"),
				metric("a", 6, "path", "root.input"),
			},
			`{"a": 1, "a{path=\"root.input\"}": 6, "a{path=\"root.input\"}#2": {"p50": 2, "p90": 3, "p99": 4},
				"a{path=\"root.input\"}{path=\"root.input\"}": 5}`,
		},
		{
			"names that JSON cannot tell apart",
			[]rpc.Metric{
				metric("a\xff", 1, "path", "root.input"),
				metric("a\xfe", 2, "path", "root.input"),
			},
			"{\"a\uFFFD\": 2, \"a\uFFFD{path=\\\"root.input\\\"}\": 1}",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			want = `{"label": "", "path": "root.input", ` + strings.TrimPrefix(want, "{")
			assertTree(t, `{"input": `+want+`}`, tt.metrics)
		})
	}
}

// assertTree compares all of a tree but the uptime.
func assertTree(t *testing.T, want string, metrics []rpc.Metric) {
	t.Helper()
	for seed := range uint64(5) {
		tree := stats.Report{Stream: "foo", Metrics: shuffled(metrics, seed)}.Tree()
		delete(tree, "uptime_ns")
		require.JSONEq(t, want, string(marshalled(t, tree)))
	}
}

func TestTreeOfARealStream(t *testing.T) {
	metrics := recorded(t)
	started := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	tree := decoded(t, stats.Report{
		Stream: "s", Metrics: metrics, Uptime: time.Minute,
		Process: &stats.Process{PID: 7, CPUSeconds: 0.5, RSSBytes: 1, Threads: 9, StartedAt: started},
	}.Tree())

	keys := func(path ...any) []string {
		var out []string
		for key := range find(t, tree, path...).(map[string]any) {
			out = append(out, key)
		}
		return out
	}
	assert.ElementsMatch(t, []string{"input", "buffer", "pipeline", "output", "resources", "process", "uptime_ns"}, keys())
	assert.ElementsMatch(t, []string{"label", "path", "received", "connection", "latency_ns", "processors"},
		keys("input", "broker", "inputs", 1))
	assert.ElementsMatch(t, []string{"up", "failed", "lost"}, keys("input", "broker", "inputs", 1, "connection"))
	assert.Equal(t, "sub", find(t, tree, "input", "broker", "inputs", 1, "label"))
	assert.Len(t, find(t, tree, "pipeline", "processors"), 4)
	assert.ElementsMatch(t, []string{"label", "path", `mine{k="v\u00e9\""}`},
		keys("pipeline", "processors", 1, "switch", 0, "processors", 1))
	assert.Equal(t, map[string]any{}, find(t, tree, "pipeline", "processors", 2, "branch", "processors", 0))
	assert.ElementsMatch(t, []string{"label", "path", "received", "batch_received", "sent", "batch_sent", "error", "latency_ns", "processors"},
		keys("pipeline", "processors", 3, "workflow", "branches", "ab"))
	assert.ElementsMatch(t, []string{"label", "path", "sent", "batch_sent", "rejected", "error", "latency_ns", "connection"},
		keys("output", "switch", "cases", 0, "output", "broker", "outputs", 1, "dynamic", "outputs", "a.b~c"))
	assert.Contains(t, keys("resources", "cache", "foo"), `success{operation="get"}`)
	assert.ElementsMatch(t, []string{"p1", "processors"}, keys("resources", "processor"))

	assert.Equal(t, map[string]any{
		"pid": 7.0, "cpu_seconds": 0.5, "rss_bytes": 1.0, "threads": 9.0, "started_at": "2026-05-04T03:02:01Z",
	}, tree["process"])
	assert.EqualValues(t, time.Minute, tree["uptime_ns"])
	delete(tree, "process")
	assert.Equal(t, len(metrics)+1, leaves(tree), "each metric once, and the uptime")
}

func find(t *testing.T, value any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			require.Contains(t, value, step)
			value = value.(map[string]any)[step]
		case int:
			require.Greater(t, len(value.([]any)), step)
			value = value.([]any)[step]
		}
	}
	return value
}

// leaves counts numbers, those of a timer once.
func leaves(value any) int {
	n := 0
	switch value := value.(type) {
	case float64:
		return 1
	case []any:
		for _, v := range value {
			n += leaves(v)
		}
	case map[string]any:
		if _, ok := value["p50"].(float64); ok && len(value) == 3 {
			return 1
		}
		for _, v := range value {
			n += leaves(v)
		}
	}
	return n
}

func TestTreeIsBounded(t *testing.T) {
	var metrics []rpc.Metric
	for _, index := range []string{"9999", "10000", "10001"} {
		path := "root.input." + index + strings.Repeat("."+index, 300)
		metrics = append(metrics, metric("a", 1, "path", path), metric("b", 1, "path", path+".c"))
	}
	content := marshalled(t, stats.Report{Metrics: metrics}.Tree())
	assert.Less(t, len(content), 200_000, "holes and depth cost next to nothing")
	assert.Equal(t, len(metrics)+1, leaves(decoded(t, stats.Report{Metrics: metrics}.Tree())))
}

func TestTreeOfManyOfTheSame(t *testing.T) {
	metrics := slices.Repeat([]rpc.Metric{metric("a", 1)}, 100_000)
	tree := stats.Report{Metrics: metrics}.Tree()
	assert.Len(t, tree["other"], len(metrics))
	assert.Contains(t, tree["other"], "a#100000")
}

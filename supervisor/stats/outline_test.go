package stats

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func metric(name, label, path string) rpc.Metric {
	return rpc.Metric{Name: name, Labels: map[string]string{"label": label, "path": path}, Number: 1}
}

func TestTreeFollowsTheConfig(t *testing.T) {
	var config any
	require.NoError(t, json.Unmarshal([]byte(`{
		"input": {"label": "fan", "broker": {"inputs": [{"generate": {}}, {"broker": {"inputs": [{"generate": {}}]}}]}},
		"pipeline": {"processors": [{"resource": "pr"}, {"log": {"fields": {"label": "no component"}}}]},
		"output": {"switch": {"cases": [{"output": {"label": "inner.one", "retry": {"output": {"drop": {}}}}}]}}
	}`), &config))
	report := Report{Config: config, Metrics: []rpc.Metric{
		metric("input_received", "", "root.input.broker.inputs.0"),
		metric("input_received", "", "root.input.broker.inputs.1.broker.inputs.0"),
		metric("output_sent", "", "root.output.switch.cases.0.output.retry.output"),
	}}
	got, err := json.Marshal(report.Tree())
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"input": {"label": "fan", "path": "root.input", "broker": {"inputs": [
			{"label": "", "path": "root.input.broker.inputs.0", "received": 1},
			{"label": "", "path": "root.input.broker.inputs.1", "broker": {"inputs": [
				{"label": "", "path": "root.input.broker.inputs.1.broker.inputs.0", "received": 1}]}}]}},
		"pipeline": {"processors": [
			{"label": "", "path": "root.pipeline.processors.0"},
			{"label": "", "path": "root.pipeline.processors.1"}]},
		"output": {"label": "", "path": "root.output", "switch": {"cases": [
			{"label": "", "path": "root.output.switch.cases.0", "output": {
				"label": "inner.one", "path": "root.output.switch.cases.0.output", "retry": {
					"output": {"label": "", "path": "root.output.switch.cases.0.output.retry.output", "sent": 1}}}}]}},
		"uptime_ns": 0
	}`, string(got))
}

func TestTreeOfAConfigWithoutMetrics(t *testing.T) {
	for _, config := range []any{nil, "text", []any{1}, map[string]any{"input": 1, "pipeline": []any{}, "output": nil}} {
		got, err := json.Marshal(Report{Config: config}.Tree())
		require.NoError(t, err)
		assert.JSONEq(t, `{"uptime_ns": 0}`, string(got), "%v", config)
	}
}

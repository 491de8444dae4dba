package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scrape reads /metrics: the value of each series, by its name with its labels
// as they are written.
func scrape(t testing.TB, c *client) map[string]float64 {
	t.Helper()
	series, err := scraped(t.Context(), c)
	require.NoError(t, err)
	return series
}

func scraped(ctx context.Context, c *client) (map[string]float64, error) {
	a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/metrics"})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("GET /metrics answered %s", a)
	}
	series := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(a.Body))
	lines.Buffer(nil, len(a.Body)+1)
	for lines.Scan() {
		text := lines.Text()
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		cut := strings.LastIndexByte(text, ' ')
		if cut < 0 {
			return nil, fmt.Errorf("a line of /metrics has no value: %q", text)
		}
		value, err := strconv.ParseFloat(text[cut+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("a line of /metrics: %w: %q", err, text)
		}
		if _, twice := series[text[:cut]]; twice {
			return nil, fmt.Errorf("/metrics has a series twice: %q", text)
		}
		series[text[:cut]] = value
	}
	return series, lines.Err()
}

// TestMetricsOfALife: what befalls streams is counted, and what /metrics says
// is what Prometheus reads.
func TestMetricsOfALife(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", strings.NewReplacer(
		"http_server:", "label: in, http_server:",
		"processors: [", "processors: [{metric: {type: gauge, name: depth, value: '7'}}, ",
	).Replace(echo("a")))
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
	awaitEcho(t, p.client, "/a/post", "a")
	awaitEcho(t, p.client, "/a/post", "a")
	series := scrape(t, p.client)
	assert.EqualValues(t, 2, series[`input_received{label="in",path="root.input",stream="a"}`])
	assert.EqualValues(t, 2, series[`input_latency_ns_count{label="in",path="root.input",stream="a"}`])
	assert.Positive(t, series[`input_latency_ns{label="in",path="root.input",stream="a",quantile="0.99"}`])
	assert.EqualValues(t, 2, series[`penstock_create_duration_seconds_count`])
	assert.EqualValues(t, 2, series[`penstock_streams{state="running"}`])
	assert.Greater(t, series[`penstock_runner_resident_memory_bytes{stream="a"}`], 1e6)

	a := p.expect(t, 200, "GET", "/metrics", "")
	assert.Equal(t, "text/plain", a.MediaType())
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(a.Body))
	require.NoError(t, err)
	// Those of the gateway, of the engine, and what a stream counts itself.
	for name, kind := range map[string]dto.MetricType{
		"input_received": dto.MetricType_COUNTER, "input_latency_ns": dto.MetricType_SUMMARY,
		"depth": dto.MetricType_GAUGE, "penstock_rpc_duration_seconds": dto.MetricType_HISTOGRAM,
		"go_goroutines": dto.MetricType_GAUGE, "process_open_fds": dto.MetricType_GAUGE,
	} {
		if assert.Contains(t, families, name) {
			assert.Equal(t, kind, families[name].GetType(), name)
			assert.NotEmpty(t, families[name].GetHelp(), name)
		}
	}

	pid := mustStatus(t, p.client, "a").PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitPID(t, p.client, "a", pid)
	p.expect(t, 200, "POST", "/streams/b/pause", "")
	p.expect(t, 200, "POST", "/streams/short", `
input: {generate: {count: 3, interval: "", mapping: 'root = "x"'}}
output: {drop: {}}
`)
	awaitState(t, p.client, "short", "finished")
	series = scrape(t, p.client)
	for name, want := range map[string]float64{
		`penstock_restarts_total{reason="signaled"}`:                      1,
		`penstock_stream_restarts_total{stream="a"}`:                      1,
		`penstock_stream_restarts_total{stream="b"}`:                      0,
		`penstock_runner_exits_total{reason="signaled"}`:                  1,
		`penstock_streams{state="running"}`:                               1,
		`penstock_streams{state="paused"}`:                                1,
		`penstock_streams{state="finished"}`:                              1,
		`penstock_oom_kills_total`:                                        0,
		`penstock_stop_duration_seconds_count`:                            1,
		`input_received{label="",path="root.input",stream="short"}`:       3,
		`output_sent{label="",path="root.output",stream="short"}`:         3,
		`penstock_scrape_error{stream="a"}`:                               0,
		`penstock_rpc_duration_seconds_count{code="OK",method="Prepare"}`: 4,
	} {
		got, found := series[name]
		assert.True(t, found, name)
		assert.InDelta(t, want, got, 0, name)
	}
	for name := range series {
		if strings.Contains(name, `stream="b"`) {
			assert.True(t, strings.HasPrefix(name, "penstock_"), "a paused stream has no runner to ask: %s", name)
		}
	}

	for _, id := range []string{"a", "b", "short"} {
		p.expect(t, 200, "DELETE", "/streams/"+id, "")
	}
	for name := range scrape(t, p.client) {
		assert.NotContains(t, name, "stream=", "what is gone has no series")
	}
}

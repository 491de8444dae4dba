package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"penstock/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scraped is what a scrape gave, by the families' names.
type scraped map[string]*dto.MetricFamily

// scrape asks a handler as Prometheus does, and parses what it says.
func scrape(t testing.TB, h http.Handler) scraped {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	return parse(t, w.Body)
}

func parse(t testing.TB, text io.Reader) scraped {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	require.NoError(t, err)
	return families
}

// find returns the one metric with these labels (name, value, …), or nil.
func (s scraped) find(t testing.TB, name string, labels ...string) *dto.Metric {
	t.Helper()
	var found *dto.Metric
	for _, m := range s[name].GetMetric() {
		match := len(m.Label) == len(labels)/2
		for i := 0; match && i < len(labels); i += 2 {
			match = false
			for _, p := range m.Label {
				match = match || p.GetName() == labels[i] && p.GetValue() == labels[i+1]
			}
		}
		if match {
			require.Nil(t, found, "%s is given twice with the labels %v", name, labels)
			found = m
		}
	}
	return found
}

// value returns a counter's or gauge's value.
func (s scraped) value(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	m := s.find(t, name, labels...)
	require.NotNil(t, m, "%s%v is missing; there is %v", name, labels, s[name])
	if s[name].GetType() == dto.MetricType_COUNTER {
		return m.GetCounter().GetValue()
	}
	require.Equal(t, dto.MetricType_GAUGE, s[name].GetType())
	return m.GetGauge().GetValue()
}

// stats answers at once.
func stats(metrics ...rpc.Metric) func(context.Context) ([]rpc.Metric, error) {
	return func(context.Context) ([]rpc.Metric, error) { return metrics, nil }
}

func targets(list ...Target) func() []Target { return func() []Target { return list } }

func counterOf(name string, n int64, labels ...string) rpc.Metric {
	m := rpc.Metric{Name: name, Kind: rpc.KindCounter, Number: n, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	return m
}

func gaugeOf(name string, n int64, labels ...string) rpc.Metric {
	m := counterOf(name, n, labels...)
	m.Kind = rpc.KindGauge
	return m
}

func timerOf(name string, timing rpc.Timing, labels ...string) rpc.Metric {
	m := counterOf(name, 0, labels...)
	m.Kind, m.Timing = rpc.KindTimer, &timing
	return m
}

func TestEngineMetricsHaveUpstreamsNames(t *testing.T) {
	got := scrape(t, New().Handler(targets(
		Target{Stream: "a", State: "running", Stats: stats(
			counterOf("input_received", 12, "label", "in", "path", "root.input"),
			gaugeOf("input_connection_up", 1, "label", "in", "path", "root.input"),
			timerOf("input_latency_ns", rpc.Timing{P50: 1, P90: 2, P99: 3, Count: 12, Sum: 24}, "label", "", "path", "root.input"),
			timerOf("output_latency_ns", rpc.Timing{}, "label", "", "path", "root.output"),
		)},
		Target{Stream: "b", State: "running", Stats: stats(counterOf("input_received", 7, "label", "in", "path", "root.input"))},
	), time.Second))

	assert.Equal(t, dto.MetricType_COUNTER, got["input_received"].GetType())
	assert.Equal(t, "Benthos Counter metric", got["input_received"].GetHelp())
	assert.EqualValues(t, 12, got.value(t, "input_received", "label", "in", "path", "root.input", "stream", "a"))
	assert.EqualValues(t, 7, got.value(t, "input_received", "label", "in", "path", "root.input", "stream", "b"))
	assert.Equal(t, dto.MetricType_GAUGE, got["input_connection_up"].GetType())
	assert.EqualValues(t, 1, got.value(t, "input_connection_up", "label", "in", "path", "root.input", "stream", "a"))

	assert.Equal(t, dto.MetricType_SUMMARY, got["input_latency_ns"].GetType())
	summary := got.find(t, "input_latency_ns", "label", "", "path", "root.input", "stream", "a").GetSummary()
	assert.EqualValues(t, 12, summary.GetSampleCount())
	assert.EqualValues(t, 24, summary.GetSampleSum())
	for i, want := range []float64{0.5, 0.9, 0.99} {
		assert.Equal(t, want, summary.Quantile[i].GetQuantile())
		assert.EqualValues(t, i+1, summary.Quantile[i].GetValue())
	}
	unused := got.find(t, "output_latency_ns", "label", "", "path", "root.output", "stream", "a").GetSummary()
	assert.Zero(t, unused.GetSampleCount())
	assert.True(t, math.IsNaN(unused.Quantile[0].GetValue()))
}

func TestTheGatewaysOwnMetrics(t *testing.T) {
	tel := New()
	handler := tel.Handler(targets(
		Target{Stream: "a", State: "running", Restarts: 3, PID: os.Getpid(), Stats: stats()},
		Target{Stream: "b", State: "running", Stats: stats()},
		Target{Stream: "c", State: "paused"},
		Target{Stream: "d", State: "thinking"},
	), time.Second)

	got := scrape(t, handler)
	for state, want := range map[string]float64{
		"pending": 0, "starting": 0, "running": 2, "backoff": 0, "finished": 0, "failed": 0, "paused": 1, "idle": 0, "stopping": 0, "thinking": 1,
	} {
		assert.Equal(t, want, got.value(t, "penstock_streams", "state", state), state)
	}
	assert.EqualValues(t, 3, got.value(t, "penstock_stream_restarts_total", "stream", "a"))
	assert.Zero(t, got.value(t, "penstock_scrape_error", "stream", "a"))
	assert.Nil(t, got.find(t, "penstock_scrape_error", "stream", "c"), "nobody was asked")
	assert.Positive(t, got.value(t, "penstock_runner_resident_memory_bytes", "stream", "a"))
	assert.Equal(t, dto.MetricType_COUNTER, got["penstock_runner_cpu_seconds_total"].GetType())
	assert.Positive(t, got.value(t, "penstock_runner_cpu_seconds_total", "stream", "a"))
	assert.Nil(t, got.find(t, "penstock_runner_resident_memory_bytes", "stream", "b"))
	assert.GreaterOrEqual(t, got.value(t, "penstock_scrape_duration_seconds"), 0.0)
	assert.Positive(t, got.value(t, "go_goroutines"))
	assert.Positive(t, got.value(t, "process_resident_memory_bytes"))
	assert.Zero(t, got.value(t, "penstock_runner_exits_total", "reason", "oom"))
	assert.Zero(t, got.value(t, "penstock_runner_exits_total", "reason", "disk"))
	assert.Zero(t, got.value(t, "penstock_adoptions_total", "result", "adopted"))

	tel.Created(20 * time.Millisecond)
	tel.Stopped(3 * time.Second)
	tel.Restarted("exited")
	tel.Restarted("exited")
	tel.Exited("oom")
	tel.Exited("signaled")
	tel.Adopted("adopted")
	tel.RPC("/penstock.runner.v1.RunnerService/Stats", 2*time.Millisecond, nil)
	tel.RPC("/penstock.runner.v1.RunnerService/Stats", time.Second, status.Error(codes.Unavailable, "gone"))
	tel.RPC("/penstock.runner.v1.RunnerService/Stop", time.Second, fmt.Errorf("stopping: %w", context.DeadlineExceeded))
	tel.RPC("/penstock.runner.v1.RunnerService/Stop", time.Second, errors.New("odd"))

	got = scrape(t, handler)
	assert.EqualValues(t, 2, got.value(t, "penstock_restarts_total", "reason", "exited"))
	assert.EqualValues(t, 1, got.value(t, "penstock_runner_exits_total", "reason", "oom"))
	assert.EqualValues(t, 1, got.value(t, "penstock_runner_exits_total", "reason", "signaled"))
	assert.EqualValues(t, 1, got.value(t, "penstock_oom_kills_total"))
	assert.EqualValues(t, 1, got.value(t, "penstock_adoptions_total", "result", "adopted"))
	assert.InDelta(t, 0.02, got.find(t, "penstock_create_duration_seconds").GetHistogram().GetSampleSum(), 1e-9)
	assert.InDelta(t, 3, got.find(t, "penstock_stop_duration_seconds").GetHistogram().GetSampleSum(), 1e-9)
	for _, labels := range [][]string{{"Stats", "OK"}, {"Stats", "Unavailable"}, {"Stop", "DeadlineExceeded"}, {"Stop", "Unknown"}} {
		m := got.find(t, "penstock_rpc_duration_seconds", "method", labels[0], "code", labels[1])
		assert.EqualValues(t, 1, m.GetHistogram().GetSampleCount(), "%v", labels)
	}
}

func TestAStreamThatIsGoneLeavesNothing(t *testing.T) {
	list := []Target{
		{Stream: "stays", Restarts: 1, Stats: stats(counterOf("input_received", 1))},
		{Stream: "goes", PID: os.Getpid(), Restarts: 1, Stats: stats(counterOf("input_received", 1), counterOf("its_own", 1))},
	}
	handler := New().Handler(func() []Target { return list }, time.Second)
	assert.Contains(t, scrape(t, handler), "its_own")

	list = list[:1]
	got := scrape(t, handler)
	assert.Contains(t, got, "input_received")
	for name, family := range got {
		for _, m := range family.Metric {
			for _, p := range m.Label {
				assert.NotEqual(t, "goes", p.GetValue(), name)
			}
		}
	}
}

func TestAProcessThatIsGoneHasNoFigures(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	got := scrape(t, New().Handler(targets(Target{Stream: "a", PID: cmd.Process.Pid, Stats: stats()}), time.Second))
	assert.Nil(t, got.find(t, "penstock_runner_resident_memory_bytes", "stream", "a"))
	assert.Nil(t, got.find(t, "penstock_runner_cpu_seconds_total", "stream", "a"))
	assert.Zero(t, got.value(t, "penstock_scrape_error", "stream", "a"))
}

// Three times as many runners hang as may be asked at the same time; the
// others, which are asked after them, are not kept from answering.
func TestRunnersThatHangCostTheirOwnSeriesOnly(t *testing.T) {
	const hung, healthy, timeout = 3 * maxAsked, 40, 2 * time.Second
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	var list []Target
	for i := range hung {
		stuck := func(ctx context.Context) ([]rpc.Metric, error) { <-ctx.Done(); return nil, ctx.Err() }
		if i%10 == 0 {
			// Not even the end of the context reaches it.
			stuck = func(context.Context) ([]rpc.Metric, error) { <-forever; return nil, nil }
		}
		list = append(list, Target{Stream: fmt.Sprintf("a%03d", i), PID: os.Getpid(), Stats: stuck})
	}
	for i := range healthy {
		list = append(list, Target{Stream: fmt.Sprintf("b%03d", i), Stats: stats(counterOf("input_received", 1))})
	}
	list = append(list, Target{Stream: "c", Stats: func(context.Context) ([]rpc.Metric, error) {
		return []rpc.Metric{counterOf("input_received", 1)}, errors.New("refused")
	}})

	began := time.Now()
	got := scrape(t, New().Handler(targets(list...), timeout))
	assert.Less(t, time.Since(began), 2*timeout)
	for i := range hung {
		id := fmt.Sprintf("a%03d", i)
		assert.EqualValues(t, 1, got.value(t, "penstock_scrape_error", "stream", id))
		assert.Positive(t, got.value(t, "penstock_runner_resident_memory_bytes", "stream", id))
		assert.Nil(t, got.find(t, "input_received", "stream", id))
	}
	for i := range healthy {
		id := fmt.Sprintf("b%03d", i)
		assert.Zero(t, got.value(t, "penstock_scrape_error", "stream", id))
		assert.EqualValues(t, 1, got.value(t, "input_received", "stream", id))
	}
	assert.EqualValues(t, 1, got.value(t, "penstock_scrape_error", "stream", "c"))
	assert.GreaterOrEqual(t, got.value(t, "penstock_scrape_duration_seconds"), timeout.Seconds()*0.9)
}

// Prometheus gives up after its own timeout, and then all series are missing.
func TestAScrapeEndsBeforePrometheusGivesUp(t *testing.T) {
	var deadline time.Time
	handler := New().Handler(targets(Target{Stream: "a", Stats: func(ctx context.Context) ([]rpc.Metric, error) {
		deadline, _ = ctx.Deadline()
		return nil, nil
	}}), 10*time.Second)
	for header, want := range map[string]time.Duration{"": 10 * time.Second, "5": 4 * time.Second, "60": 10 * time.Second, "odd": 10 * time.Second, "-1": 10 * time.Second} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
		handler.ServeHTTP(httptest.NewRecorder(), r)
		assert.InDelta(t, want.Seconds(), time.Until(deadline).Seconds(), 1, "header %q", header)
	}
}

func TestOverHTTP(t *testing.T) {
	server := httptest.NewServer(New().Handler(targets(Target{Stream: "a", Stats: stats(counterOf("input_received", 1))}), time.Second))
	defer server.Close()
	for _, accept := range []string{"", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0", "text/plain;version=1.0.0;escaping=allow-utf-8"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Accept", accept)
		resp, err := server.Client().Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Contains(t, resp.Header.Get("Content-Type"), "text/plain")
		assert.EqualValues(t, 1, parse(t, bytes.NewReader(body)).value(t, "input_received", "stream", "a"))
	}
}

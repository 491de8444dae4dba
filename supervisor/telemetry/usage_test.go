package telemetry

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

// usage answers at once.
func usage(u cgroup.Usage) func() (cgroup.Usage, bool) {
	return func() (cgroup.Usage, bool) { return u, true }
}

// counted has another number everywhere.
var counted = cgroup.Usage{
	MemoryBytes: 1, MemoryPeakBytes: 2, OOMKills: 3, CPUSeconds: 4.5, ThrottledSeconds: 5.5, Periods: 6, ThrottledPeriods: 7, PIDs: 8, PIDsRefused: 9,
	IOReadBytes: 10, IOWriteBytes: 11, IOReads: 12, IOWrites: 13, IOWaitSeconds: 14.5,
	Pressure: &cgroup.Pressure{
		CPU:    cgroup.PressureLine{SomeAvg10: 99, SomeTotal: 1_500_000, FullTotal: 2_500_000},
		Memory: cgroup.PressureLine{SomeTotal: 3_500_000, FullTotal: 4_500_000},
		IO:     cgroup.PressureLine{SomeTotal: 5_500_000, FullTotal: 6_500_000},
	},
}

func TestWhatAStreamHasUsed(t *testing.T) {
	got := scrape(t, New().Handler(targets(
		Target{Stream: "a", State: "running", Stats: stats(), Usage: usage(counted), MemoryLimit: 64, DiskBytes: 65, DiskLimit: 66},
		Target{Stream: "b", State: "running", Stats: stats(), MemoryLimit: 67},
		Target{Stream: "c", State: "running", Stats: stats(), Usage: usage(cgroup.Usage{ThrottledSeconds: math.NaN()})},
		Target{Stream: "d", State: "paused", Usage: func() (cgroup.Usage, bool) { return counted, false }},
	), time.Second))

	for name, want := range map[string]float64{
		"penstock_runner_memory_bytes": 1, "penstock_runner_memory_peak_bytes": 2, "penstock_runner_memory_limit_bytes": 64,
		"penstock_runner_oom_kills_total": 3, "penstock_runner_cpu_throttled_seconds_total": 5.5, "penstock_runner_cpu_periods_total": 6,
		"penstock_runner_cpu_throttled_periods_total": 7, "penstock_runner_pids": 8, "penstock_runner_pids_refused_total": 9,
		"penstock_runner_io_read_bytes_total": 10, "penstock_runner_io_write_bytes_total": 11, "penstock_runner_io_reads_total": 12,
		"penstock_runner_io_writes_total": 13, "penstock_runner_io_wait_seconds_total": 14.5,
		"penstock_runner_disk_bytes": 65, "penstock_runner_disk_limit_bytes": 66,
	} {
		assert.Equal(t, want, got.value(t, name, "stream", "a"), name)
		isCounter := got[name].GetType() == dto.MetricType_COUNTER
		assert.Equal(t, strings.HasSuffix(name, "_total"), isCounter, name)
		isLimit := strings.HasSuffix(name, "limit_bytes") || strings.Contains(name, "_disk_")
		assert.Equal(t, isLimit, got.find(t, name, "stream", "c") == nil, "%s: what is not known is left out", name)
		assert.Nil(t, got.find(t, name, "stream", "d"), name)
	}
	for resource, want := range map[string]float64{"cpu": 1.5, "memory": 3.5, "io": 5.5} {
		some := got.value(t, "penstock_runner_pressure_seconds_total", "stream", "a", "resource", resource, "kind", "some")
		full := got.value(t, "penstock_runner_pressure_seconds_total", "stream", "a", "resource", resource, "kind", "full")
		assert.Equal(t, []float64{want, want + 1}, []float64{some, full}, resource)
	}
	assert.Len(t, got["penstock_runner_pressure_seconds_total"].Metric, 6, "the others have none")
	assert.EqualValues(t, 67, got.value(t, "penstock_runner_memory_limit_bytes", "stream", "b"))
	assert.Len(t, got["penstock_runner_memory_limit_bytes"].Metric, 2)
	assert.Zero(t, got.value(t, "penstock_runner_cpu_throttled_seconds_total", "stream", "c"))
}

// A runner that hangs is held back by its limits more often than not: that is
// when the figures matter.
func TestTheUsageOfARunnerThatHangsIsTold(t *testing.T) {
	stuck := func(ctx context.Context) ([]rpc.Metric, error) { <-ctx.Done(); return nil, ctx.Err() }
	got := scrape(t, New().Handler(targets(Target{Stream: "a", Stats: stuck, Usage: usage(counted)}), 50*time.Millisecond))
	assert.EqualValues(t, 1, got.value(t, "penstock_scrape_error", "stream", "a"))
	assert.EqualValues(t, 3, got.value(t, "penstock_runner_oom_kills_total", "stream", "a"))
}

// The names, the units and the help texts of the gateway's own are as
// Prometheus has them.
func TestTheGatewaysNamesAreClean(t *testing.T) {
	tel := New()
	tel.Exited("oom")
	tel.Restarted("exited")
	tel.RPC("Stats", time.Second, nil)
	w := httptest.NewRecorder()
	tel.Handler(targets(
		Target{Stream: "a", State: "running", Stats: stats(), Usage: usage(counted), MemoryLimit: 64, DiskBytes: 65, DiskLimit: 66},
	), time.Second).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	problems, err := promlint.New(w.Body).Lint()
	require.NoError(t, err)
	problems = slices.DeleteFunc(problems, func(p promlint.Problem) bool { return !strings.HasPrefix(p.Metric, ownPrefix) })
	assert.Empty(t, problems)
}

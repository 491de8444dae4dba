package stats_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/stats"
)

func counted(name string, timing rpc.Timing, labels ...string) rpc.Metric {
	m := metric(name, 0, labels...)
	m.Timing = &timing
	return m
}

// found is the one metric of that name with that path.
func found(t *testing.T, r stats.Report, name, path string) rpc.Metric {
	t.Helper()
	var out []rpc.Metric
	for _, m := range r.Metrics {
		if m.Name == name && m.Labels["path"] == path {
			out = append(out, m)
		}
	}
	require.Len(t, out, 1, "%s at %q", name, path)
	return out[0]
}

func TestSumOfOneIsItself(t *testing.T) {
	r := stats.Report{Stream: "a", Metrics: []rpc.Metric{metric("m", 1)}, Process: &stats.Process{PID: 1}, Usage: &stats.Usage{}, Uptime: time.Second}
	assert.Equal(t, r, stats.Sum([]stats.Report{r}))
}

func TestSum(t *testing.T) {
	nan := math.NaN()
	reports := []stats.Report{
		{Stream: "a", Config: "config", Uptime: time.Hour, Metrics: []rpc.Metric{
			metric("received", 1, "path", "in"), metric("received", 10, "path", "out"), metric("first", 7),
			counted("latency", rpc.Timing{Count: 1, Sum: 10, P50: 10, P90: 20, P99: 30}),
			counted("quiet", rpc.Timing{P50: nan, P90: nan, P99: nan}),
		}},
		{Stream: "a", Uptime: time.Second, Metrics: []rpc.Metric{
			counted("latency", rpc.Timing{Count: 3, Sum: 150, P50: 50, P90: 60, P99: 70}),
			metric("received", 20, "path", "out"), metric("received", 2, "path", "in"), metric("second", 8, "path", "new"),
			counted("quiet", rpc.Timing{Count: 2, Sum: 4, P50: 2, P90: 3, P99: 4}),
		}},
		{Stream: "a", Metrics: []rpc.Metric{
			counted("latency", rpc.Timing{Count: 4, Sum: 400, P50: 100, P90: 100, P99: 100}), metric("received", 3, "path", "in"),
		}},
	}
	before, err := json.Marshal(slices.Collect(func(yield func(rpc.Metric) bool) {
		for _, r := range reports {
			for _, m := range r.Metrics {
				if m.Name != "quiet" && !yield(m) {
					return
				}
			}
		}
	}))
	require.NoError(t, err)
	kept := *reports[0].Metrics[3].Timing

	got := stats.Sum(reports)
	assert.Equal(t, "config", got.Config)
	assert.Equal(t, time.Hour, got.Uptime, "of the first")
	assert.Len(t, got.Metrics, 6)
	assert.EqualValues(t, 6, found(t, got, "received", "in").Number)
	assert.EqualValues(t, 30, found(t, got, "received", "out").Number)
	assert.EqualValues(t, 7, found(t, got, "first", "").Number, "only one has it")
	assert.EqualValues(t, 8, found(t, got, "second", "new").Number, "only one has it")
	assert.Equal(t, rpc.Timing{Count: 8, Sum: 560, P50: 70, P90: 75, P99: 80}, *found(t, got, "latency", "").Timing, "weighted by their counts")
	assert.Equal(t, rpc.Timing{Count: 2, Sum: 4, P50: 2, P90: 3, P99: 4}, *found(t, got, "quiet", "").Timing, "one has counted nothing")

	// What was added up is as it was: it is shown elsewhere, too.
	assert.Equal(t, kept, *reports[0].Metrics[3].Timing)
	again := stats.Sum(reports)
	assert.EqualValues(t, 6, found(t, again, "received", "in").Number)
	after, err := json.Marshal(slices.Collect(func(yield func(rpc.Metric) bool) {
		for _, r := range reports {
			for _, m := range r.Metrics {
				if m.Name != "quiet" && !yield(m) {
					return
				}
			}
		}
	}))
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
}

// A counter and a gauge of one name, and labels that run into each other, are
// not the same.
func TestSumKeepsApart(t *testing.T) {
	gauge := metric("m", 1)
	gauge.Kind = rpc.KindGauge
	metrics := []rpc.Metric{metric("m", 1), gauge, metric("m", 1, "a", "bc"), metric("m", 1, "ab", "c"), metric("m", 1, "a", "b", "c", "d")}
	got := stats.Sum([]stats.Report{{Metrics: metrics}, {Metrics: shuffled(metrics, 1)}})
	require.Len(t, got.Metrics, len(metrics))
	for _, m := range got.Metrics {
		assert.EqualValues(t, 2, m.Number, "%v", m)
	}
}

func TestSumOfProcesses(t *testing.T) {
	early := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	first := stats.Process{PID: 1, CPUSeconds: 0.5, RSSBytes: 10, PSSBytes: 5, FDs: 3, Threads: 4, StartedAt: early.Add(time.Minute)}
	second := stats.Process{PID: 2, CPUSeconds: 1, RSSBytes: 20, PSSBytes: 6, FDs: 7, Threads: 8, StartedAt: early}
	kept := first
	got := stats.Sum([]stats.Report{{Process: &first}, {}, {Process: &second}})
	assert.Equal(t, &stats.Process{PID: 1, CPUSeconds: 1.5, RSSBytes: 30, PSSBytes: 11, FDs: 10, Threads: 12, StartedAt: early}, got.Process)
	assert.Equal(t, kept, first)
	assert.Equal(t, &second, stats.Sum([]stats.Report{{}, {Process: &second}}).Process, "the first is down")
	assert.Nil(t, stats.Sum([]stats.Report{{}, {}}).Process)
}

func TestSumOfUsage(t *testing.T) {
	usage := stats.Usage{
		Cgroup: &cgroup.Usage{
			MemoryBytes: 1, MemoryPeakBytes: 2, OOMKills: 3, CPUSeconds: 4, ThrottledSeconds: 5, Periods: 6, ThrottledPeriods: 7,
			PIDs: 8, PIDsRefused: 9, IOReadBytes: 10, IOWriteBytes: 11, IOReads: 12, IOWrites: 13, IOWaitSeconds: 14, Pressure: &cgroup.Pressure{},
		},
		Limits: cgroup.Limits{Memory: 1, Swap: 2, CPU: 0.5, CPUWeight: 300, PIDs: 64, IO: cgroup.IO{ReadBPS: 4, WriteBPS: 5, ReadIOPS: 6, WriteIOPS: 7}},

		DiskBytes: 15, DiskLimitBytes: 16,
	}
	before, err := json.Marshal(&usage)
	require.NoError(t, err)
	got := stats.Sum([]stats.Report{{Usage: &usage}, {}, {Usage: &usage}}).Usage
	assert.Equal(t, &stats.Usage{
		Cgroup: &cgroup.Usage{
			MemoryBytes: 2, MemoryPeakBytes: 4, OOMKills: 6, CPUSeconds: 8, ThrottledSeconds: 10, Periods: 12, ThrottledPeriods: 14,
			PIDs: 16, PIDsRefused: 18, IOReadBytes: 20, IOWriteBytes: 22, IOReads: 24, IOWrites: 26, IOWaitSeconds: 28,
		},
		Limits: cgroup.Limits{Memory: 2, Swap: 4, CPU: 1, CPUWeight: 300, PIDs: 128, IO: cgroup.IO{ReadBPS: 8, WriteBPS: 10, ReadIOPS: 12, WriteIOPS: 14}},

		DiskBytes: 30, DiskLimitBytes: 32,
	}, got, "a weight and pressure have no sum")
	after, err := json.Marshal(&usage)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))

	// What is not counted of one is not known of all.
	watched := stats.Usage{Limits: cgroup.Limits{Memory: 1}}
	got = stats.Sum([]stats.Report{{Usage: &usage}, {Usage: &watched}}).Usage
	assert.Nil(t, got.Cgroup)
	assert.EqualValues(t, 2, got.Limits.Memory)
}

package stats_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/stats"
)

func TestUsageInTheTree(t *testing.T) {
	limits := cgroup.Limits{
		Memory: 1, Swap: 2, CPU: 0.5, CPUWeight: 3, PIDs: 64,
		IO: cgroup.IO{ReadBPS: 4, WriteBPS: 5, ReadIOPS: 6, WriteIOPS: 7},
	}
	counted := cgroup.Usage{
		MemoryBytes: 10, MemoryPeakBytes: 11, OOMKills: 12, CPUSeconds: 1.5, ThrottledSeconds: 2.5, Periods: 13, ThrottledPeriods: 14,
		PIDs: 15, PIDsRefused: 16, IOReadBytes: 17, IOWriteBytes: 18, IOReads: 19, IOWrites: 20, IOWaitSeconds: 3.5,
	}
	withPressure := counted
	line := func(n uint64) cgroup.PressureLine {
		return cgroup.PressureLine{SomeAvg10: 1.5, SomeAvg60: 2.5, FullAvg10: 3.5, FullAvg60: 4.5, SomeTotal: n, FullTotal: n + 1}
	}
	withPressure.Pressure = &cgroup.Pressure{CPU: line(100), Memory: line(200), IO: line(300)}

	for name, c := range map[string]struct {
		usage *stats.Usage
		want  string
	}{
		"no usage": {nil, `null`},
		"nothing":  {&stats.Usage{}, `null`},
		"limits that no cgroup enforces": {
			&stats.Usage{Limits: cgroup.Limits{Memory: 5}, DiskBytes: 6, DiskLimitBytes: 7},
			`{"memory": {"limit_bytes": 5}, "disk": {"bytes": 6, "limit_bytes": 7}}`,
		},
		"a cgroup without limits": {
			&stats.Usage{Cgroup: &counted},
			`{
				"memory": {"bytes": 10, "peak_bytes": 11, "oom_kills": 12},
				"cpu": {"seconds": 1.5, "throttled_seconds": 2.5, "periods": 13, "throttled_periods": 14},
				"pids": {"current": 15, "refused": 16},
				"io": {"read_bytes": 17, "write_bytes": 18, "reads": 19, "writes": 20, "wait_seconds": 3.5}
			}`,
		},
		"all": {
			&stats.Usage{Cgroup: &withPressure, Limits: limits, DiskBytes: 8, DiskLimitBytes: 9},
			`{
				"memory": {"bytes": 10, "peak_bytes": 11, "oom_kills": 12, "limit_bytes": 1, "swap_limit_bytes": 2, "pressure":
					{"some_avg10": 1.5, "some_avg60": 2.5, "full_avg10": 3.5, "full_avg60": 4.5, "some_total": 200, "full_total": 201}},
				"cpu": {"seconds": 1.5, "throttled_seconds": 2.5, "periods": 13, "throttled_periods": 14, "limit_cores": 0.5, "weight": 3, "pressure":
					{"some_avg10": 1.5, "some_avg60": 2.5, "full_avg10": 3.5, "full_avg60": 4.5, "some_total": 100, "full_total": 101}},
				"pids": {"current": 15, "refused": 16, "limit": 64},
				"io": {"read_bytes": 17, "write_bytes": 18, "reads": 19, "writes": 20, "wait_seconds": 3.5,
					"read_bps_limit": 4, "write_bps_limit": 5, "read_iops_limit": 6, "write_iops_limit": 7, "pressure":
					{"some_avg10": 1.5, "some_avg60": 2.5, "full_avg10": 3.5, "full_avg60": 4.5, "some_total": 300, "full_total": 301}},
				"disk": {"bytes": 8, "limit_bytes": 9}
			}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			report := stats.Report{Stream: "foo", Usage: c.usage}
			assert.JSONEq(t, c.want, string(marshalled(t, report.Tree()["limits"])))
			assert.Equal(t, map[string]any{"uptime_ns": int64(0)}, report.Flat(), "upstream has no such keys")
		})
	}
}

// Whatever a file of the kernel says, and whatever a stream calls its metrics.
func TestUsageIsAlwaysToldAndHidesNothing(t *testing.T) {
	report := stats.Report{
		Metrics: []rpc.Metric{metric("limits", 7), metric("a", 1, "path", "root.limits.memory")},
		Usage:   &stats.Usage{Cgroup: &cgroup.Usage{CPUSeconds: math.NaN(), IOWaitSeconds: math.Inf(1)}},
	}
	tree := decoded(t, report.Tree())
	require.Contains(t, tree, "limits")
	assert.Zero(t, find(t, tree, "limits", "cpu", "seconds"))
	assert.EqualValues(t, 7, find(t, tree, "other", "limits#2"))
	assert.EqualValues(t, 1, find(t, tree, "other", "limits", "memory", "a"))
}

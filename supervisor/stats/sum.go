package stats

import (
	"maps"
	"slices"
	"strings"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

// Sum is the report of a stream that several runners carry out: their counts
// and what they use are added up. A timer's percentiles are the mean of the
// runners', each weighted by how often it has counted. It is of the first
// runner how long the stream has run. There is one report at least.
func Sum(reports []Report) Report {
	out := reports[0]
	if len(reports) == 1 {
		return out
	}
	out.Process, out.Usage = nil, nil
	byKey := map[string]int{}
	out.Metrics = nil
	for _, r := range reports {
		for _, m := range r.Metrics {
			key := keyOf(m)
			at, found := byKey[key]
			if !found {
				byKey[key] = len(out.Metrics)
				out.Metrics = append(out.Metrics, m)
				continue
			}
			out.Metrics[at] = add(out.Metrics[at], m)
		}
		out.Process = addProcess(out.Process, r.Process)
		out.Usage = addUsage(out.Usage, r.Usage)
	}
	return out
}

// keyOf is the same for what is counted in the same place.
func keyOf(m rpc.Metric) string {
	var b strings.Builder
	b.WriteString(m.Name)
	b.WriteByte(0)
	b.WriteString(string(rune('0' + int(m.Kind))))
	for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
		b.WriteByte(0)
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(m.Labels[name])
	}
	return b.String()
}

// add does not change what its arguments point to.
func add(a, b rpc.Metric) rpc.Metric {
	a.Number += b.Number
	if a.Timing == nil || b.Timing == nil {
		return a
	}
	sum := rpc.Timing{Count: a.Timing.Count + b.Timing.Count, Sum: a.Timing.Sum + b.Timing.Sum}
	if sum.Count > 0 {
		share := float64(a.Timing.Count) / float64(sum.Count)
		mean := func(x, y float64) float64 { return finite(x)*share + finite(y)*(1-share) }
		sum.P50, sum.P90, sum.P99 = mean(a.Timing.P50, b.Timing.P50), mean(a.Timing.P90, b.Timing.P90), mean(a.Timing.P99, b.Timing.P99)
	}
	a.Timing = &sum
	return a
}

// addProcess keeps the first one's id, and the earliest start.
func addProcess(a, b *Process) *Process {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	sum := *a
	sum.CPUSeconds += b.CPUSeconds
	sum.RSSBytes += b.RSSBytes
	sum.PSSBytes += b.PSSBytes
	sum.FDs += b.FDs
	sum.Threads += b.Threads
	if b.StartedAt.Before(sum.StartedAt) {
		sum.StartedAt = b.StartedAt
	}
	return &sum
}

// addUsage adds limits up as well: they are each runner's own. A weight and
// pressure have no sum.
func addUsage(a, b *Usage) *Usage {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	sum := *a
	sum.DiskBytes += b.DiskBytes
	sum.DiskLimitBytes += b.DiskLimitBytes
	sum.Limits.Memory += b.Limits.Memory
	sum.Limits.Swap += b.Limits.Swap
	sum.Limits.CPU += b.Limits.CPU
	sum.Limits.PIDs += b.Limits.PIDs
	sum.Limits.IO.ReadBPS += b.Limits.IO.ReadBPS
	sum.Limits.IO.WriteBPS += b.Limits.IO.WriteBPS
	sum.Limits.IO.ReadIOPS += b.Limits.IO.ReadIOPS
	sum.Limits.IO.WriteIOPS += b.Limits.IO.WriteIOPS
	if a.Cgroup == nil || b.Cgroup == nil {
		sum.Cgroup = nil
		return &sum
	}
	x, y := a.Cgroup, b.Cgroup
	sum.Cgroup = &cgroup.Usage{
		MemoryBytes: x.MemoryBytes + y.MemoryBytes, MemoryPeakBytes: x.MemoryPeakBytes + y.MemoryPeakBytes, OOMKills: x.OOMKills + y.OOMKills,
		CPUSeconds: x.CPUSeconds + y.CPUSeconds, ThrottledSeconds: x.ThrottledSeconds + y.ThrottledSeconds,
		Periods: x.Periods + y.Periods, ThrottledPeriods: x.ThrottledPeriods + y.ThrottledPeriods,
		PIDs: x.PIDs + y.PIDs, PIDsRefused: x.PIDsRefused + y.PIDsRefused,
		IOReadBytes: x.IOReadBytes + y.IOReadBytes, IOWriteBytes: x.IOWriteBytes + y.IOWriteBytes,
		IOReads: x.IOReads + y.IOReads, IOWrites: x.IOWrites + y.IOWrites, IOWaitSeconds: x.IOWaitSeconds + y.IOWaitSeconds,
	}
	return &sum
}

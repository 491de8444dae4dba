package telemetry

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"penstock/supervisor/cgroup"
)

// usageMetric is one of the gateway's metrics of what a stream's cgroup counts.
type usageMetric struct {
	name, help string
	kind       dto.MetricType
	value      func(u *cgroup.Usage) float64
}

var usageMetrics = []usageMetric{
	{"penstock_runner_memory_bytes", "Memory that the stream's runner takes up, with the files that the system caches for it.", dto.MetricType_GAUGE, func(u *cgroup.Usage) float64 { return float64(u.MemoryBytes) }},
	{"penstock_runner_memory_peak_bytes", "The most memory that the stream's runner has taken up.", dto.MetricType_GAUGE, func(u *cgroup.Usage) float64 { return float64(u.MemoryPeakBytes) }},
	{"penstock_runner_oom_kills_total", "Processes of the stream's runner that were killed at its memory limit.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.OOMKills) }},
	{"penstock_runner_cpu_periods_total", "Periods of the CPU limit in which the stream's runner ran.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.Periods) }},
	{"penstock_runner_cpu_throttled_periods_total", "Periods in which the stream's runner was held back by its CPU limit.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.ThrottledPeriods) }},
	{"penstock_runner_cpu_throttled_seconds_total", "How long the stream's runner was held back by its CPU limit.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return u.ThrottledSeconds }},
	{"penstock_runner_pids", "Processes and threads of the stream's runner.", dto.MetricType_GAUGE, func(u *cgroup.Usage) float64 { return float64(u.PIDs) }},
	{"penstock_runner_pids_refused_total", "Processes and threads that the limit has refused to the stream's runner.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.PIDsRefused) }},
	{"penstock_runner_io_read_bytes_total", "Bytes that the stream's runner has read from disks.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.IOReadBytes) }},
	{"penstock_runner_io_write_bytes_total", "Bytes that the stream's runner has written to disks.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.IOWriteBytes) }},
	{"penstock_runner_io_reads_total", "Times that the stream's runner has read from disks.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.IOReads) }},
	{"penstock_runner_io_writes_total", "Times that the stream's runner has written to disks.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return float64(u.IOWrites) }},
	{"penstock_runner_io_wait_seconds_total", "How long disk operations of the stream's runner waited for its limit, where the kernel tells.", dto.MetricType_COUNTER, func(u *cgroup.Usage) float64 { return u.IOWaitSeconds }},
}

// usageFamilies are what the streams have used of what they may. A figure that
// is not known is left out, and so is a limit that there is not.
func usageFamilies(answers []answer) []*dto.MetricFamily {
	memoryLimit := newFamily("penstock_runner_memory_limit_bytes", "Memory that the stream's runner may take up.", dto.MetricType_GAUGE)
	disk := newFamily("penstock_runner_disk_bytes", "Space on the disk that the stream's folders took up when they were measured last.", dto.MetricType_GAUGE)
	diskLimit := newFamily("penstock_runner_disk_limit_bytes", "Space on the disk that the stream's folders may take up.", dto.MetricType_GAUGE)
	pressure := newFamily("penstock_runner_pressure_seconds_total", "How long some or all of the stream's runner (kind) waited for cpu, memory or io (resource).", dto.MetricType_COUNTER)
	counted := make([]*family, len(usageMetrics))
	for i, m := range usageMetrics {
		counted[i] = newFamily(m.name, m.help, m.kind)
	}

	for i := range answers {
		a := &answers[i]
		memoryLimit.ifKnown(a, a.MemoryLimit)
		disk.ifKnown(a, a.DiskBytes)
		diskLimit.ifKnown(a, a.DiskLimit)
		if a.usage == nil {
			continue
		}
		for j, m := range usageMetrics {
			counted[j].ofStream(a, finite(m.value(a.usage)))
		}
		if p := a.usage.Pressure; p != nil {
			pressure.ofPressure(a, "cpu", p.CPU)
			pressure.ofPressure(a, "io", p.IO)
			pressure.ofPressure(a, "memory", p.Memory)
		}
	}
	var out []*dto.MetricFamily
	for _, f := range slices.Concat([]*family{memoryLimit, disk, diskLimit, pressure}, counted) {
		out = f.appendTo(out)
	}
	return out
}

// ifKnown leaves out a number that is zero, which stands for none.
func (f *family) ifKnown(a *answer, number int64) {
	if number > 0 {
		f.ofStream(a, float64(number))
	}
}

func (f *family) ofPressure(a *answer, resource string, line cgroup.PressureLine) {
	for _, kind := range []struct {
		name         string
		microseconds uint64
	}{{"full", line.FullTotal}, {"some", line.SomeTotal}} {
		f.add(float64(kind.microseconds)/1e6, a.labelled("kind", kind.name, "resource", resource)...)
	}
}

// finite replaces what no counter can be.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

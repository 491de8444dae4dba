package stats

import (
	"encoding/json"

	"cmp"

	"penstock/supervisor/cgroup"
)

// Usage is what a stream has used of what it may, at one moment.
type Usage struct {
	// Cgroup is what the kernel has counted for the stream's runner; nil when it
	// has no cgroup.
	Cgroup *cgroup.Usage
	// Limits are those in force, whoever enforces them.
	Limits cgroup.Limits
	// DiskBytes is what the stream's folders took up when they were measured
	// last, 0 when they were not. DiskLimitBytes is 0 for no limit.
	DiskBytes, DiskLimitBytes int64
}

// MarshalJSON writes it as it is in the tree of statistics.
func (u *Usage) MarshalJSON() ([]byte, error) { return json.Marshal(u.tree()) }

// tree is what a client reads, by what is limited. What is not known, and a
// limit that there is not, is left out.
func (u *Usage) tree() map[string]any {
	memory, cpu, pids, io, disk := section{}, section{}, section{}, section{}, section{}
	if c := u.Cgroup; c != nil {
		memory["bytes"], memory["peak_bytes"], memory["oom_kills"] = c.MemoryBytes, c.MemoryPeakBytes, c.OOMKills
		cpu["seconds"], cpu["throttled_seconds"] = finite(c.CPUSeconds), finite(c.ThrottledSeconds)
		cpu["periods"], cpu["throttled_periods"] = c.Periods, c.ThrottledPeriods
		pids["current"], pids["refused"] = c.PIDs, c.PIDsRefused
		io["read_bytes"], io["write_bytes"] = c.IOReadBytes, c.IOWriteBytes
		io["reads"], io["writes"], io["wait_seconds"] = c.IOReads, c.IOWrites, finite(c.IOWaitSeconds)
		if p := c.Pressure; p != nil {
			memory["pressure"], cpu["pressure"], io["pressure"] = newPressure(p.Memory), newPressure(p.CPU), newPressure(p.IO)
		}
	}
	limit(memory, "limit_bytes", u.Limits.Memory)
	limit(memory, "swap_limit_bytes", u.Limits.Swap)
	limit(cpu, "limit_cores", finite(u.Limits.CPU))
	limit(cpu, "weight", u.Limits.CPUWeight)
	limit(pids, "limit", u.Limits.PIDs)
	limit(io, "read_bps_limit", u.Limits.IO.ReadBPS)
	limit(io, "write_bps_limit", u.Limits.IO.WriteBPS)
	limit(io, "read_iops_limit", u.Limits.IO.ReadIOPS)
	limit(io, "write_iops_limit", u.Limits.IO.WriteIOPS)
	limit(disk, "bytes", u.DiskBytes)
	limit(disk, "limit_bytes", u.DiskLimitBytes)

	out := map[string]any{}
	for name, s := range map[string]section{"memory": memory, "cpu": cpu, "pids": pids, "io": io, "disk": disk} {
		if len(s) > 0 {
			out[name] = s
		}
	}
	return out
}

// section is what is told of one kind of limit.
type section map[string]any

// limit adds a number unless it is zero, which stands for none.
func limit[T cmp.Ordered](s section, key string, number T) {
	var zero T
	if number != zero {
		s[key] = number
	}
}

// pressure is a line of the kernel's pressure stall information.
type pressure struct {
	SomeAvg10 float64 `json:"some_avg10"`
	SomeAvg60 float64 `json:"some_avg60"`
	FullAvg10 float64 `json:"full_avg10"`
	FullAvg60 float64 `json:"full_avg60"`
	// The totals are in microseconds.
	SomeTotal uint64 `json:"some_total"`
	FullTotal uint64 `json:"full_total"`
}

func newPressure(line cgroup.PressureLine) pressure {
	return pressure{
		SomeAvg10: finite(line.SomeAvg10), SomeAvg60: finite(line.SomeAvg60),
		FullAvg10: finite(line.FullAvg10), FullAvg60: finite(line.FullAvg60),
		SomeTotal: line.SomeTotal, FullTotal: line.FullTotal,
	}
}

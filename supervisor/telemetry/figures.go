package telemetry

import (
	"context"
	"math"

	"github.com/shirou/gopsutil/v3/process"

	"penstock/supervisor/cgroup"
)

// figures are what the system says of a runner's process. They are the cheap
// ones: supervisor/stats tells more, and takes longer.
type figures struct {
	cpuSeconds float64
	rssBytes   uint64
}

// readFigures returns nil when there is no such process, or the system does
// not tell.
func readFigures(ctx context.Context, pid int) *figures {
	if pid <= 0 || pid > math.MaxInt32 {
		return nil
	}
	p := process.Process{Pid: int32(pid)}
	times, err := p.TimesWithContext(ctx)
	if err != nil {
		return nil
	}
	memory, err := p.MemoryInfoWithContext(ctx)
	if err != nil {
		return nil
	}
	return &figures{cpuSeconds: times.User + times.System, rssBytes: memory.RSS}
}

// readUsage returns nil when there is nobody to ask, nothing to tell, or no time
// left.
func readUsage(ctx context.Context, usage func() (cgroup.Usage, bool)) *cgroup.Usage {
	if usage == nil || ctx.Err() != nil {
		return nil
	}
	u, ok := usage()
	if !ok {
		return nil
	}
	return &u
}

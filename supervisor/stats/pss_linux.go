package stats

import (
	"context"

	"github.com/shirou/gopsutil/v3/process"
)

// pssBytes is zero when the kernel does not tell.
func pssBytes(ctx context.Context, p *process.Process) uint64 {
	mapped, err := p.MemoryMapsWithContext(ctx, true)
	if err != nil || len(*mapped) == 0 {
		return 0
	}
	return (*mapped)[0].Pss * 1024
}

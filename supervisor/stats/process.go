package stats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v3/process"
)

// ErrNotRunning says that there is no such process, or that it has ended.
var ErrNotRunning = errors.New("process is not running")

// Process is what the system says of a process at one moment.
type Process struct {
	PID int `json:"pid"`
	// CPUSeconds is user and system time since the start.
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSBytes   uint64  `json:"rss_bytes"`
	// PSSBytes counts shared pages by their share. Zero, and left out of JSON,
	// where the kernel does not tell.
	PSSBytes uint64 `json:"pss_bytes,omitempty"`
	// FDs is the number of open file descriptors. Zero, and left out of JSON,
	// where the system does not tell.
	FDs     int `json:"fds,omitempty"`
	Threads int `json:"threads"`
	// StartedAt is in whole seconds, UTC.
	StartedAt time.Time `json:"started_at"`
}

// ReadProcess reads the figures of a process. The error is ErrNotRunning for
// one that has ended, also when nobody has waited for it yet.
func ReadProcess(ctx context.Context, pid int) (Process, error) {
	if pid <= 0 || pid > math.MaxInt32 {
		return Process{}, fmt.Errorf("reading figures of process %d: %w", pid, ErrNotRunning)
	}
	figures, err := readProcess(ctx, int32(pid))
	if err == nil {
		return figures, nil
	}
	// A process can end while it is read, and then any read may fail.
	if exists, existsErr := process.PidExistsWithContext(ctx, int32(pid)); existsErr == nil && !exists {
		err = ErrNotRunning
	}
	return Process{}, fmt.Errorf("reading figures of process %d: %w", pid, err)
}

func readProcess(ctx context.Context, pid int32) (Process, error) {
	// The library's constructor opens a pidfd and leaves it to the garbage
	// collector; the reads below find out as well whether there is a process.
	p := &process.Process{Pid: pid}
	out := Process{PID: int(pid), PSSBytes: pssBytes(ctx, p)}
	// Not every system tells this.
	if fds, err := p.NumFDsWithContext(ctx); err == nil {
		out.FDs = int(fds)
	}

	times, err := p.TimesWithContext(ctx)
	if err != nil {
		return Process{}, fmt.Errorf("CPU times: %w", err)
	}
	out.CPUSeconds = times.User + times.System
	memory, err := p.MemoryInfoWithContext(ctx)
	if err != nil {
		return Process{}, fmt.Errorf("memory: %w", err)
	}
	out.RSSBytes = memory.RSS
	threads, err := p.NumThreadsWithContext(ctx)
	if err != nil {
		return Process{}, fmt.Errorf("threads: %w", err)
	}
	out.Threads = int(threads)
	created, err := p.CreateTimeWithContext(ctx)
	if err != nil {
		return Process{}, fmt.Errorf("start time: %w", err)
	}
	out.StartedAt = time.UnixMilli(created).UTC().Truncate(time.Second)

	// Read last: a process that lives now lived while the rest was read, and
	// the figures of a dead one that nobody has waited for are all zero.
	status, err := p.StatusWithContext(ctx)
	if err != nil {
		return Process{}, fmt.Errorf("status: %w", err)
	}
	if slices.Contains(status, process.Zombie) {
		return Process{}, ErrNotRunning
	}
	return out, nil
}

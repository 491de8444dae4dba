package watchdog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shirou/gopsutil/v3/process"
)

// Interval is how often memory is measured.
const Interval = 250 * time.Millisecond

// Memory watches the memory of processes. Its zero value is ready; it looks at
// nothing while it has nothing to watch.
type Memory struct {
	mu      sync.Mutex
	watched map[*MemoryWatch]struct{}
	// stop ends the looks; nil while there are none.
	stop context.CancelFunc
}

// MemoryWatch is the watch over one process and its descendants.
type MemoryWatch struct {
	of     *Memory
	pid    int32
	limit  atomic.Uint64
	used   atomic.Uint64
	peak   atomic.Uint64
	exceed func(used, limit uint64)
}

// Watch calls exceeded, once for each look, while the resident memory of the
// process and its descendants is above limit, in bytes; 0 only measures. It
// goes on until Stop.
func (m *Memory) Watch(pid int, limit uint64, exceeded func(used, limit uint64)) *MemoryWatch {
	w := &MemoryWatch{of: m, pid: int32(pid), exceed: exceeded}
	w.limit.Store(limit)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watched == nil {
		m.watched = map[*MemoryWatch]struct{}{}
	}
	m.watched[w] = struct{}{}
	if m.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		m.stop = cancel
		go m.run(ctx)
	}
	return w
}

// SetLimit changes the limit, from the next look on.
func (w *MemoryWatch) SetLimit(limit uint64) { w.limit.Store(limit) }

// Peak is the most that any look has found, in bytes.
func (w *MemoryWatch) Peak() uint64 { return w.peak.Load() }

// Used is what the last look has found, in bytes.
func (w *MemoryWatch) Used() uint64 { return w.used.Load() }

// Stop ends the watch.
func (w *MemoryWatch) Stop() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	delete(w.of.watched, w)
	if len(w.of.watched) == 0 && w.of.stop != nil {
		w.of.stop()
		w.of.stop = nil
	}
}

func (m *Memory) run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.look(ctx)
		}
	}
}

// look measures everything that is watched.
func (m *Memory) look(ctx context.Context) {
	m.mu.Lock()
	watches := make([]*MemoryWatch, 0, len(m.watched))
	for w := range m.watched {
		watches = append(watches, w)
	}
	m.mu.Unlock()
	children := childrenOf(ctx)
	for _, w := range watches {
		used := residentOf(ctx, w.pid, children)
		w.used.Store(used)
		w.peak.Store(max(w.peak.Load(), used))
		if limit := w.limit.Load(); limit > 0 && used > limit {
			w.exceed(used, limit)
		}
	}
}

// childrenOf lists the children of every process; without a list only the
// processes themselves are measured.
func childrenOf(ctx context.Context) map[int32][]int32 {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil
	}
	children := make(map[int32][]int32, len(pids))
	for _, pid := range pids {
		p := &process.Process{Pid: pid}
		if parent, err := p.PpidWithContext(ctx); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	return children
}

// residentOf adds up the memory of a process and its descendants. One that has
// just ended has none.
func residentOf(ctx context.Context, pid int32, children map[int32][]int32) uint64 {
	var sum uint64
	p := &process.Process{Pid: pid}
	if info, err := p.MemoryInfoWithContext(ctx); err == nil {
		sum = info.RSS
	}
	for _, child := range children[pid] {
		sum += residentOf(ctx, child, children)
	}
	return sum
}

package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"penstock/supervisor/folder"
	"penstock/supervisor/options"
	"penstock/supervisor/process"
	"penstock/supervisor/watchdog"
)

// watches are over what the kernel does not hold a runner to. A nil field
// watches nothing.
type watches struct {
	mu      sync.Mutex
	stopped bool
	memory  *watchdog.MemoryWatch
	disk    *watchdog.Disk
}

// watch looks after the limits of a runner that nothing else enforces, from its
// first moment on. The id is empty for one that has no stream.
func (s *Supervisor) watch(proc *process.Process, id string, limits options.Limits) *watches {
	w := &watches{}
	s.rewatch(id, proc, w, limits)
	return w
}

func (s *Supervisor) watchMemory(proc *process.Process, limits options.Limits) *watchdog.MemoryWatch {
	return s.confiner.memory.Watch(proc.PID(), uint64(limits.Memory), func(used, limit uint64) {
		proc.Breach(process.OOM, process.Excess{Used: used, Limit: limit})
	})
}

func (s *Supervisor) watchDisk(proc *process.Process, id string, limits options.Limits) *watchdog.Disk {
	return watchdog.WatchDisk(int64(limits.Disk), func() int64 { return s.logsSize(id) }, func(used, limit int64) {
		proc.Breach(process.Disk, process.Excess{Used: uint64(used), Limit: uint64(limit)})
	}, s.streamDir(id), proc.Dir())
}

// blockSize is what blocks of files are counted in.
const blockSize = 512

// logFiles is how many files a stream's logs consist of at most: two kinds, each
// with one older file, of which one may be about to be rotated.
const logFiles = 4

// logsSize is what a stream's logs take, in bytes: they are in its folder, and
// have a limit of their own, above which they count as everything else does.
func (s *Supervisor) logsSize(id string) int64 {
	dir := s.streamDir(id)
	// Without the names nothing is spared.
	names, _, err := folder.Names(dir, 2*logFiles, func(name string) bool {
		return strings.HasSuffix(name, ".log") && (strings.HasPrefix(name, "stream") || strings.HasPrefix(name, "output"))
	})
	if err != nil {
		return 0
	}
	var sum int64
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		// Its blocks, as they are measured: a file may have holes.
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() {
			sum += stat.Blocks * blockSize
		}
	}
	return min(sum, logFiles*int64(s.cfg.StreamLogs.MaxMegabytes)<<20)
}

// logMegabytes is the size at which a file of logs is rotated: not above that
// which the stream's limit lets any file have.
func (s *Supervisor) logMegabytes(limits options.Limits) int {
	if limits.Disk == 0 {
		return s.cfg.StreamLogs.MaxMegabytes
	}
	return max(min(s.cfg.StreamLogs.MaxMegabytes, int(limits.Disk>>20)), 1)
}

// stop ends the watches.
func (w *watches) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.memory != nil {
		w.memory.Stop()
	}
	if w.disk != nil {
		w.disk.Stop()
	}
}

// diskUsed is what the last look at the stream's folder has found, in bytes.
func (w *watches) diskUsed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.disk == nil {
		return 0
	}
	return w.disk.Used()
}

// rewatch has the watches of a runner look for other limits.
func (s *Supervisor) rewatch(id string, proc *process.Process, w *watches, to options.Limits) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	switch {
	case w.memory != nil:
		w.memory.SetLimit(uint64(to.Memory))
	case !s.confiner.memoryInCgroup() && to.Memory > 0:
		w.memory = s.watchMemory(proc, to)
	}
	switch {
	case w.disk != nil:
		w.disk.SetLimit(int64(to.Disk))
	case id != "" && to.Disk > 0:
		w.disk = s.watchDisk(proc, id, to)
	}
}

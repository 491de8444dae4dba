package watchdog

import (
	"context"
	"sync/atomic"
	"time"

	"penstock/supervisor/folder"
)

const (
	// diskInterval is how often a folder is measured at most.
	diskInterval = 250 * time.Millisecond
	// diskShare bounds what measuring costs: it takes at most one part in so
	// many of the time.
	diskShare = 20
	// bytesPerFile is how much of a limit one file takes at least: names and
	// inodes are room on the disk as well, and there is no end to empty files.
	bytesPerFile = 4096
	// maxFailures is how often in a row a folder may fail to be measured: one
	// that a stream has made so that it cannot be, is over its limit.
	maxFailures = 4
)

// Disk watches the room that folders take together.
type Disk struct {
	dirs   []string
	spare  func() int64
	limit  atomic.Int64
	used   atomic.Int64
	cancel context.CancelFunc
	over   chan struct{}
}

// WatchDisk calls exceeded, once for each look, while the folders together hold
// more than limit, in bytes; 0 only measures. What spare tells at each look is
// in the folders and does not count. It goes on until Stop. Folders that
// cannot be measured time and again count as full.
func WatchDisk(limit int64, spare func() int64, exceeded func(used, limit int64), dirs ...string) *Disk {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Disk{dirs: dirs, spare: spare, cancel: cancel, over: make(chan struct{})}
	d.limit.Store(limit)
	go d.run(ctx, exceeded)
	return d
}

// MeasureDisk is one look at folders, in bytes. With an error, they hold at least
// that.
func MeasureDisk(ctx context.Context, spare func() int64, dirs ...string) (int64, error) {
	// What is spared may be removed while the folders are measured.
	before := spare()
	size, err := folder.Measure(ctx, dirs...)
	return max(size.Bytes-max(before, spare()), size.Files*bytesPerFile), err
}

// SetLimit changes the limit, from the next look on.
func (d *Disk) SetLimit(limit int64) { d.limit.Store(limit) }

// Used is what the last look has found, in bytes.
func (d *Disk) Used() int64 { return d.used.Load() }

// Stop ends the watch, and returns when it has ended.
func (d *Disk) Stop() {
	d.cancel()
	<-d.over
}

func (d *Disk) run(ctx context.Context, exceeded func(used, limit int64)) {
	defer close(d.over)
	failures := 0
	for {
		begun := time.Now()
		used, err := MeasureDisk(ctx, d.spare, d.dirs...)
		if ctx.Err() != nil {
			return
		}
		limit := d.limit.Load()
		if err == nil {
			failures = 0
			d.used.Store(used)
		} else {
			failures++
		}
		if limit > 0 && (err == nil && used > limit || failures >= maxFailures) {
			exceeded(used, limit)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(diskInterval, time.Since(begun)*diskShare)):
		}
	}
}

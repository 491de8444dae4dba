package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollEvery is how often a log is looked at that nothing is heard of: its
// folder does not exist yet, or the system gives no more watches.
const pollEvery = 500 * time.Millisecond

// wait returns when the log may have changed.
func (r *Reader) wait(ctx context.Context) error {
	if r.folder != nil {
		here, err := r.folderIsHere()
		if err != nil {
			return err
		}
		if !here {
			// What was written before the folder went is still to be read.
			r.ended = true
			return nil
		}
		if r.watch == nil {
			// The watch tells of what comes after it began: look once more. If there
			// is none to be had, the poll has to do.
			r.watch = newWatch(r.files.dir)
			return nil
		}
	}

	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	var changed <-chan struct{}
	if r.watch != nil {
		changed = r.watch.changed
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-timer.C:
	}
	return nil
}

// openFolder takes hold of the folder if it exists.
func (r *Reader) openFolder() error {
	f, err := os.Open(r.files.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the log folder: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("opening the log folder: %w", err)
	}
	r.folder = &file{File: f, info: info}
	return nil
}

// folderIsHere says whether the folder that is followed is still in its place.
func (r *Reader) folderIsHere() (bool, error) {
	info, err := os.Stat(r.files.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the log folder: %w", err)
	}
	return r.folder.is(info), nil
}

// watch tells of changes in a folder.
type watch struct {
	watcher *fsnotify.Watcher
	// changed holds at most one message, however many changes there were.
	changed chan struct{}
	done    sync.WaitGroup
}

// newWatch begins a watch. One that the system refuses, since there are too
// many already or the file system has none, never tells anything.
func newWatch(dir string) *watch {
	w := &watch{changed: make(chan struct{}, 1)}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return w
	}
	if err := watcher.Add(dir); err != nil {
		watcher.Close()
		return w
	}
	w.watcher = watcher
	w.done.Go(w.run)
	return w
}

// run ends when the watcher is closed.
func (w *watch) run() {
	for events, failures := w.watcher.Events, w.watcher.Errors; ; {
		var ok bool
		select {
		case _, ok = <-events:
		case _, ok = <-failures:
			// Events may have been lost: that is a reason to look as well.
		}
		if !ok {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		w.watcher.Close()
		w.done.Wait()
	}
}

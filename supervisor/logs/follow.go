package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollEvery is how often a log is looked at that nothing is heard of: its
// folder does not exist yet, or the system gives no more watches.
const pollEvery = 500 * time.Millisecond

// The stream can make any number of changes in the folder, which must not cost
// the supervisor any amount of time: what is heard of is looked at every so
// often only, and other files' changes are heard of in bursts.
const (
	pause = 10 * time.Millisecond
	burst = 128
)

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
			r.watch = newWatch(r.files)
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
	f, err := os.OpenFile(r.files.dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
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

// watch tells of changes of a log's files.
type watch struct {
	files   rotation
	watcher *fsnotify.Watcher
	// changed holds at most one message, however many changes there were.
	changed chan struct{}
	closed  chan struct{}
	done    sync.WaitGroup
}

// newWatch begins a watch. One that the system refuses, since there are too
// many already or the file system has none, never tells anything.
func newWatch(files rotation) *watch {
	w := &watch{files: files, changed: make(chan struct{}, 1), closed: make(chan struct{})}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return w
	}
	if err := watcher.Add(files.dir); err != nil {
		watcher.Close()
		return w
	}
	w.watcher = watcher
	w.done.Go(w.run)
	return w
}

// run ends when the watch is closed.
func (w *watch) run() {
	others := 0
	for {
		select {
		case event, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if w.isOther(event) {
				if others++; others < burst {
					continue
				}
				break
			}
			w.tell()
		case _, ok := <-w.watcher.Errors:
			if !ok {
				return
			}
			// Events may have been lost: that is a reason to look as well.
			w.tell()
		}
		others = 0
		select {
		case <-w.closed:
			return
		case <-time.After(pause):
		}
	}
}

// isOther says whether an event is about another file than this log's.
func (w *watch) isOther(event fsnotify.Event) bool {
	return event.Name != w.files.dir && !w.files.isOurs(filepath.Base(event.Name))
}

func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		close(w.closed)
		w.watcher.Close()
		w.done.Wait()
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"penstock/supervisor"
)

const (
	// watchQuiet is how long nothing may happen to the files before they are
	// read: whoever writes one may not be done at the first event.
	watchQuiet = 200 * time.Millisecond
	// watchPatience is how long to wait for that at most.
	watchPatience = 2 * time.Second
	// armRounds bounds how often new folders are looked for before the files
	// are read. Further ones bring events of their own.
	armRounds = 5
)

// watcher puts the files of a source into force whenever they change.
type watcher struct {
	src     source
	declare func(context.Context, supervisor.Declarations) error
	log     *zap.Logger
	notify  *fsnotify.Watcher

	// last is what was read last, and complete says that all of it is in force.
	last     supervisor.Declarations
	complete bool
	watched  watched
	// armed are the folders that are being watched.
	armed map[string]os.FileInfo
	// told are the errors that were logged since they appeared.
	told map[string]bool
}

// newWatcher makes a watcher of files that are in force already.
func newWatcher(src source, inForce supervisor.Declarations, declare func(context.Context, supervisor.Declarations) error, log *zap.Logger) (*watcher, error) {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch files: %w: a limit such as fs.inotify.max_user_instances may be reached", err)
	}
	return &watcher{src: src, declare: declare, log: log, notify: notify, last: inForce, complete: true}, nil
}

// run watches until the context ends.
func (w *watcher) run(ctx context.Context) {
	defer w.notify.Close()
	// At once, since something may have changed before it was watched.
	w.refresh(ctx)
	timer := time.NewTimer(0)
	timer.Stop()
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-w.notify.Events:
			if !w.watched.matters(event.Name) {
				continue
			}
		case err := <-w.notify.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn("watching files", zap.Error(err))
			}
			// Whatever it was, an event may have been lost.
		case <-timer.C:
			since = time.Time{}
			w.refresh(ctx)
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		timer.Reset(min(watchQuiet, time.Until(since.Add(watchPatience))))
	}
}

// refresh reads the files and puts them into force. What cannot be read stays
// as it is.
func (w *watcher) refresh(ctx context.Context) {
	var errs []error
	for range armRounds {
		added, failed := w.arm()
		errs = append(errs, failed...)
		if !added {
			break
		}
	}
	declared, failures := w.src.read(zap.NewNop())
	for _, f := range failures {
		errs = append(errs, f.err)
	}
	declared = keep(declared, w.last, failures)
	if !same(declared, w.last) || !w.complete {
		err := w.declare(ctx, declared)
		if ctx.Err() != nil {
			return
		}
		w.last, w.complete = declared, err == nil
		errs = append(errs, each(err)...)
		w.log.Info("files were read again", zap.Int("streams", len(declared.Streams)), zap.Int("resources", len(declared.Resources)))
	}
	w.tell(errs)
}

// arm watches the folders that are to be watched now, and says whether there
// are new ones: what came into these before has brought no event.
func (w *watcher) arm() (added bool, errs []error) {
	w.watched = w.src.folders()
	armed := map[string]os.FileInfo{}
	alive := w.notify.WatchList()
	for dir := range w.watched {
		info, err := os.Stat(dir)
		if err != nil {
			continue // It has just gone, which is an event of its parent.
		}
		before, is := w.armed[dir]
		// Where a folder was deleted and made again it can have its number again.
		if is && os.SameFile(before, info) && slices.Contains(alive, dir) {
			armed[dir] = info
			continue
		}
		if is {
			_ = w.notify.Remove(dir) // It fails where the old folder is deleted.
		}
		if err := w.notify.Add(dir); err != nil {
			errs = append(errs, fmt.Errorf("cannot watch folder %s: %w: its changes are seen when another one changes", dir, err))
			continue
		}
		armed[dir] = info
		added = true
	}
	for dir := range w.armed {
		if _, still := armed[dir]; !still {
			_ = w.notify.Remove(dir)
		}
	}
	w.armed = armed
	return added, errs
}

// tell logs the errors that were not there the last time.
func (w *watcher) tell(errs []error) {
	told := map[string]bool{}
	for _, err := range errs {
		text := err.Error()
		if !w.told[text] && !told[text] {
			w.log.Error("what the files define is not wholly in force", zap.Error(err))
		}
		told[text] = true
	}
	w.told = told
}

// each are the errors that one joins.
func each(err error) []error {
	var many interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &many):
		return many.Unwrap()
	}
	return []error{err}
}

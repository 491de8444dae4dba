package store

import (
	"errors"
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// request is an Update that waits for its turn.
type request struct {
	fn       func(*Tx) error
	err      error
	panicked any
	done     chan struct{} // closed once err and panicked are final
}

var errAbandoned = errors.New("the transaction was abandoned: a function given to Update ended its goroutine")

// Update runs fn in a transaction and returns once what it did is synced. An
// error of fn is returned as it is; nothing that fn did holds then.
//
// Updates that come while another is being synced share the next transaction:
// one that comes alone waits for nobody, many at once share the price of a
// sync. They run one after another, each sees what those before it did, and
// each runs exactly once, but perhaps in the goroutine of another caller. fn
// must not call Update or Close, and should not block.
//
// Errors: those of fn; ErrFull, after which nothing was changed and the store
// works on; ErrUnwritable, ErrCorrupt and ErrClosed, which last.
func (s *Store) Update(fn func(*Tx) error) error {
	r := &request{fn: fn, done: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, r)
	s.mu.Unlock()

	select {
	case <-r.done:
	case s.turn <- struct{}{}:
		s.commitWaiting()
		// Its own request was among those, or was answered before.
		<-r.done
	}
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// commitWaiting answers all that wait. The caller has the turn and loses it.
func (s *Store) commitWaiting() {
	defer func() { <-s.turn }()
	s.mu.Lock()
	batch := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	if len(batch) == 0 {
		return
	}

	outcome := errAbandoned
	defer func() {
		for _, r := range batch {
			if r.err == nil {
				r.err = outcome
			}
			close(r.done)
		}
	}()
	outcome = s.commit(batch)
}

// commit runs a batch in one transaction. What it returns is the outcome of
// those whose function went well.
func (s *Store) commit(batch []*request) error {
	if s.failed != nil {
		return s.failed
	}
	number := 0
	err := write(s.db, s.path, func(t *transaction) error {
		number = t.bolt.ID()
		for _, r := range batch {
			r.run(t)
			if t.broken != nil {
				return t.broken
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	explained := explain(s.path, err)
	switch {
	case errors.Is(explained, ErrClosed):
		return explained
	case errors.Is(explained, ErrFull) && newest(s.db) < number:
		return explained
	case errors.Is(explained, ErrCorrupt):
		s.failed = explained
	default:
		// The kernel may have dropped what it could not write and yet show it
		// as written, so that nothing read from now on proves what is on the disk.
		s.failed = fmt.Errorf("%w: %s: whether the last change holds is not known: %w; check the disk, then restart Penstock", ErrUnwritable, s.path, err)
	}
	return s.failed
}

// newest returns the number of the newest transaction that the file shows.
func newest(db *bolt.DB) (number int) {
	err := guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			number = tx.ID()
			return nil
		})
	})
	if err != nil {
		// Not to be told: as if the failed one were it.
		return int(^uint(0) >> 1)
	}
	return number
}

// run runs the function of r within t.
func (r *request) run(t *transaction) {
	tx := &Tx{in: t}
	defer func() {
		tx.over = true
		if cause := recover(); cause != nil {
			r.panicked = fmt.Sprintf("in a function given to Update: %v\n%s", cause, debug.Stack())
			tx.revert()
		}
	}()
	if r.err = r.fn(tx); r.err != nil {
		tx.revert()
		return
	}
	t.changed = t.changed || len(tx.undo) > 0
}

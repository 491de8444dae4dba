package calls

import (
	"errors"
	"sync"

	bolt "go.etcd.io/bbolt"

	"penstock/supervisor/store"
)

// committer has those who come while a transaction is being synced share the
// next one: a call that comes alone waits for nobody, many at once share the
// price of a sync.
type committer struct {
	file *store.File
	// turn is taken by whoever commits.
	turn chan struct{}

	mu      sync.Mutex
	waiting []*change
}

// change is a commit that waits for its turn.
type change struct {
	fn   func(transaction) error
	err  error
	done chan struct{} // closed once err is final
}

// mostShared bounds how many share a transaction, so that none is too large.
const mostShared = 256

// commit runs fn in a transaction and returns once what it did is synced. The
// functions of a transaction run one after another and hold, or fail, together:
// they fail only as the file does.
func (c *committer) commit(fn func(transaction) error) error {
	ch := &change{fn: fn, done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, ch)
	c.mu.Unlock()
	for {
		select {
		case <-ch.done:
			return ch.err
		case c.turn <- struct{}{}:
			c.commitWaiting()
		}
	}
}

// commitWaiting commits for those that wait. The caller has the turn and loses it.
func (c *committer) commitWaiting() {
	defer func() { <-c.turn }()
	c.mu.Lock()
	count := min(len(c.waiting), mostShared)
	batch := c.waiting[:count:count]
	c.waiting = c.waiting[count:]
	c.mu.Unlock()
	if count == 0 {
		return
	}
	err := c.file.Write(func(tx *bolt.Tx) error {
		for _, ch := range batch {
			if err := ch.fn(transaction{tx}); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrClosed) {
		err = ErrClosed
	}
	for _, ch := range batch {
		ch.err = err
		close(ch.done)
	}
}

package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// together runs every fn in one transaction of the library: the first Update
// holds the turn until the others have queued up.
func together(t *testing.T, s *Store, fns ...func(*Tx) error) []error {
	t.Helper()
	begun, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.Update(func(*Tx) error {
			close(begun)
			<-release
			return nil
		})
	}()
	<-begun
	errs := make([]error, len(fns))
	var group sync.WaitGroup
	for i, fn := range fns {
		group.Go(func() { errs[i] = s.Update(fn) })
		for queued := 0; queued <= i; runtime.Gosched() {
			s.mu.Lock()
			queued = len(s.waiting)
			s.mu.Unlock()
		}
	}
	close(release)
	group.Wait()
	require.NoError(t, <-first)
	return errs
}

func TestAnErrorOfOneUndoesOnlyItsOwn(t *testing.T) {
	path := statePath(t)
	s := mustOpen(t, path)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutStream(stream("shared", 1, "before")), tx.PutRunner("shared", runner(1)),
			tx.PutResource(Resource{Type: "cache", ID: "c", Generation: 1}), tx.PutDeclaration("stream/shared", Declaration{Hash: "1"}))
	})
	refusal := errors.New("no")
	errs := together(t, s,
		func(tx *Tx) error { return tx.PutStream(stream("shared", 2, "first")) },
		func(tx *Tx) error {
			st, _, err := tx.Stream("shared")
			assert.NoError(t, err)
			assert.Equal(t, uint64(2), st.Revision, "what the one before it put is seen")
			assert.NoError(t, errors.Join(
				tx.PutStream(stream("shared", 3, "second")), tx.DeleteStream("shared"), tx.PutStream(stream("shared", 1, "third")),
				tx.PutStream(stream("its own", 1, "x")), tx.PutRunner("its own", runner(2)),
				tx.DeleteResource("c", 5), tx.PutDeclaration("stream/its own", Declaration{}), tx.DeleteDeclaration("stream/shared"),
			))
			return refusal
		},
		func(tx *Tx) error {
			st, _, err := tx.Stream("shared")
			assert.NoError(t, err)
			assert.Equal(t, "first", string(st.Config), "what failed is not seen")
			return tx.PutRunner("shared", runner(3))
		},
	)
	assert.Equal(t, []error{nil, refusal, nil}, errs)

	check := func(s *Store) {
		state := load(t, s)
		assert.Equal(t, map[string]Stream{"shared": stream("shared", 2, "first")}, state.Streams)
		assert.Equal(t, map[string]Runner{"shared": runner(3)}, state.Runners)
		assert.Equal(t, uint64(1), state.Generation)
		assert.Contains(t, state.Resources, "c")
		assert.Equal(t, map[string]Declaration{"stream/shared": {Hash: "1"}}, state.Declared)
		revisions, err := s.Revisions("shared")
		require.NoError(t, err)
		require.Len(t, revisions, 2)
		assert.Equal(t, "before", string(revisions[1].Config))
	}
	check(s)
	require.NoError(t, s.Close())
	// The tally that the undoing left is true.
	check(mustOpen(t, path))
}

func TestAPanicIsItsOwnCallers(t *testing.T) {
	s := mustOpen(t, statePath(t))
	errs := together(t, s,
		func(tx *Tx) error { return tx.PutStream(stream("before", 1, "x")) },
		func(tx *Tx) error { return tx.PutStream(stream("after", 1, "x")) },
	)
	assert.Equal(t, []error{nil, nil}, errs)

	assert.PanicsWithError(t, "see below", func() {
		defer func() {
			assert.Contains(t, recover(), "in a function given to Update: oops")
			panic(errors.New("see below"))
		}()
		_ = s.Update(func(tx *Tx) error {
			assert.NoError(t, tx.PutStream(stream("never", 1, "x")))
			panic("oops")
		})
	})
	update(t, s, func(tx *Tx) error { return tx.PutStream(stream("later", 1, "x")) })
	state := load(t, s)
	assert.Len(t, state.Streams, 3)
	assert.NotContains(t, state.Streams, "never")
}

func TestAGoroutineThatEndsInItsFunctionBlocksNobody(t *testing.T) {
	s := mustOpen(t, statePath(t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Update(func(tx *Tx) error {
			assert.NoError(t, tx.PutStream(stream("never", 1, "x")))
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	update(t, s, func(tx *Tx) error { return tx.PutStream(stream("later", 1, "x")) })
	assert.Len(t, load(t, s).Streams, 1)
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	path := memoryPath(t)
	s := mustOpen(t, path)
	const workers, each = 32, 50
	var refused atomic.Int64
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := range each {
				err := s.Update(func(tx *Tx) error {
					// Compare and set on one stream that all share.
					st, _, err := tx.Stream("counter")
					if err != nil {
						return err
					}
					if err := tx.PutStream(stream("counter", st.Revision+1, "x")); err != nil {
						return err
					}
					if i%5 == 0 {
						return errors.New("refused")
					}
					return tx.PutRunner(fmt.Sprintf("%d-%d", worker, i), runner(i))
				})
				if err != nil {
					refused.Add(1)
				}
				_, err = s.Revisions("counter")
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	require.NoError(t, s.Close())
	state := load(t, mustOpen(t, path))
	assert.EqualValues(t, workers*each/5, refused.Load())
	assert.EqualValues(t, workers*each*4/5, state.Streams["counter"].Revision)
	assert.Len(t, state.Runners, workers*each*4/5)
}

func TestNothingToChangeIsNotWritten(t *testing.T) {
	path := statePath(t)
	s := mustOpen(t, path)
	fill(t, s, 3, 2, "x")
	before := hashOf(t, path)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutRunner("stream-0001", runner(1)), tx.DeleteStream("absent"))
	})
	assert.Equal(t, before, hashOf(t, path))
}

package supervisor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/supervisor/store"
)

// Close stops every stream, all at once, and gives the data folder back.
// Runners that have not drained when the context ends are killed; none is
// left when Close returns. The store keeps the streams for the next supervisor.
func (s *Supervisor) Close(ctx context.Context) error {
	all := s.closing()
	timeout := s.cfg.Timeouts.Shutdown
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	hostLast(all, func(st *stream) {
		stop := context.AfterFunc(ctx, st.killCurrent)
		defer stop()
		// It does not fail: only its context could end it early.
		_ = st.end(context.WithoutCancel(ctx), timeout, false)
	})
	return errors.Join(s.keepFinals(all), s.endCalls(ctx, 0), s.handBack(ctx, s.leaving(false)))
}

// hostLast ends streams all at once, and then the resource host, which they may
// need until they have drained.
func hostLast(all []*stream, end func(*stream)) {
	var wg sync.WaitGroup
	for _, st := range all {
		if !st.isHost() {
			wg.Go(func() { end(st) })
		}
	}
	wg.Wait()
	for _, st := range all {
		if st.isHost() {
			end(st)
		}
	}
}

// callsGrace is how long calls that are being carried out may take to be answered
// by streams that go on.
const callsGrace = 5 * time.Second

// endCalls ends asynchronous calls, of which none is begun any more, within the grace. Those that were not answered
// are carried out by the next supervisor.
func (s *Supervisor) endCalls(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return s.calls.Close(ctx)
}

// Detach ends the supervisor and leaves every runner running, for the next
// supervisor of the data folder to adopt.
func (s *Supervisor) Detach(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	all := s.closing()
	// Before the streams are let go of, whose answers would find nobody.
	ended := s.endCalls(ctx, callsGrace)
	for _, st := range all {
		wg.Go(func() {
			if err := st.release(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		// Somebody still works on these streams: the end of the process ends that.
		return errors.Join(errs...)
	}
	// Only now none is about to start any more.
	goOn := slices.ContainsFunc(all, func(st *stream) bool {
		v := st.seen.Load()
		return v != nil && v.current != nil
	})
	return errors.Join(ended, s.handBack(ctx, s.leaving(goOn)))
}

// Abandon is the end of a supervisor that could not begin to serve: runners
// that it adopted go on for the next one, and those it started are stopped.
func (s *Supervisor) Abandon(ctx context.Context) error {
	all := s.closing()
	var goOn atomic.Bool
	hostLast(all, func(st *stream) {
		// Streams that go on may use the host, whoever has started it.
		if v := st.seen.Load(); v != nil && v.current != nil && (v.ranBefore || st.isHost() && goOn.Load()) {
			goOn.Store(true)
			_ = st.release(context.WithoutCancel(ctx))
			return
		}
		stop := context.AfterFunc(ctx, st.killCurrent)
		defer stop()
		_ = st.end(context.WithoutCancel(ctx), s.cfg.Timeouts.Shutdown, false)
	})
	return errors.Join(s.keepFinals(all), s.endCalls(ctx, 0), s.handBack(ctx, s.leaving(goOn.Load())))
}

// leaving is how what the supervisor has made on the host is left, when runners
// of its own go on without it or when none do. Those of an earlier supervisor do
// as long as they have not been found and adopted or ended, and what they are
// bound by is not taken from them.
func (s *Supervisor) leaving(goOn bool) func() error {
	select {
	case <-s.cleared:
	default:
		goOn = true
	}
	if goOn {
		return s.confiner.unguide
	}
	return s.confiner.close
}

// keepFinals has the next supervisor know how the streams were left that have
// ended.
func (s *Supervisor) keepFinals(all []*stream) error {
	return s.store.Update(func(tx *store.Tx) error {
		for _, st := range all {
			if err := st.keepFinal(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// closing lets no change in any more and returns all streams.
func (s *Supervisor) closing() []*stream {
	s.endRoot()
	s.thrift.end()
	s.calls.Quit()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return slices.Collect(maps.Values(s.streams))
}

// handBack waits for what is still under way and gives the data folder back.
// What the supervisor holds on the host is released before another may come.
func (s *Supervisor) handBack(ctx context.Context, release func() error) error {
	// A change of many streams may hold runners that are no stream's yet.
	if err := s.bulk.Acquire(context.WithoutCancel(ctx), 1); err != nil {
		return err
	}
	s.watchers.Wait()
	s.installed.Close()
	s.hub.Close()
	return errors.Join(s.store.Close(), release(), s.dataDirLock.Close())
}

// keepFinal has the next supervisor know how a stream was left. One that was
// released is not touched.
func (s *stream) keepFinal(tx *store.Tx) error {
	rec, found, err := tx.Stream(s.id)
	if err != nil || !found || s.final == nil {
		return err
	}
	switch {
	case s.unreverted != 0 && rec.Revision == s.unreverted:
		if err := tx.PutStream(s.record()); err != nil {
			return err
		}
	case s.outcome != nil && rec.Outcome == nil && rec.Revision == s.revision:
		rec.Outcome = s.outcome
		if err := tx.PutStream(rec); err != nil {
			return err
		}
	}
	return tx.PutRunner(s.id, *s.final)
}

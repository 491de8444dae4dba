package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// update gives the stream the spec that revise makes of its present one.
func (s *stream) update(ctx context.Context, revise func(spec) (spec, error), timeout time.Duration) error {
	sp, err := revise(s.spec)
	if err != nil {
		return err
	}
	s.coming.Store(&sp)
	defer s.coming.Store(nil)
	var inst *instance
	s.meanwhile(func() { inst, err = s.sup.prepare(ctx, s.id, sp, s.sup.resources.all()) })
	var busy *addressInUseError
	if errors.As(err, &busy) {
		return s.updateInPlace(ctx, sp, busy, timeout)
	}
	if err != nil {
		return err
	}
	return s.replace(ctx, inst, timeout)
}

// updateInPlace is for a spec that binds an address which is in use. Where the
// stream's own runner holds it that one has to stop before the new one can be
// built; but not before the rest of the config was found to build, with
// another address in that place.
func (s *stream) updateInPlace(ctx context.Context, sp spec, busy *addressInUseError, timeout time.Duration) error {
	if s.current == nil || !s.current.proc.Listens(ctx, busy.address) {
		return busy
	}
	var err error
	s.meanwhile(func() { err = s.sup.tryElsewhere(ctx, s.id, sp, busy) })
	if err != nil {
		return err
	}
	if s.current == nil {
		// It has died meanwhile, and its address is free.
		return s.update(ctx, func(spec) (spec, error) { return sp, nil }, timeout)
	}
	return s.replaceInPlace(ctx, sp, timeout)
}

// replace stops the current instance and runs the prepared one. When that
// does not start, the old spec runs again.
func (s *stream) replace(ctx context.Context, inst *instance, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		inst.discard()
		return err
	}
	old, oldRevision := s.spec, s.revision
	s.retire(timeout)
	if err := ctx.Err(); err != nil {
		inst.discard()
		return err
	}
	s.spec, s.revision = inst.spec, s.revision+1
	s.move(eventStart)
	err := s.launch(ctx, inst)
	if err == nil {
		s.forgive()
		return nil
	}
	s.spec, s.revision = old, oldRevision
	return s.restore(ctx, err)
}

// replaceInPlace stops the current instance before the new one is prepared.
func (s *stream) replaceInPlace(ctx context.Context, sp spec, timeout time.Duration) error {
	s.retire(timeout)
	inst, err := s.sup.prepare(ctx, s.id, sp, s.sup.resources.all())
	s.move(eventStart)
	if err != nil {
		return s.restore(ctx, err)
	}
	old, oldRevision := s.spec, s.revision
	s.spec, s.revision = sp, s.revision+1
	if err := s.launch(ctx, inst); err != nil {
		s.spec, s.revision = old, oldRevision
		return s.restore(ctx, err)
	}
	s.forgive()
	return nil
}

// restore runs the old spec again after its replacement failed with cause.
func (s *stream) restore(ctx context.Context, cause error) error {
	if err := s.startSpec(ctx); err != nil {
		s.failed(err)
		return fmt.Errorf("%w (the old stream was stopped for it and cannot be started again yet: %s)", cause, err.Error())
	}
	s.log.Info("restored stream after a failed change", zap.Error(cause))
	return cause
}

// forgive lets the next failure be the first one again.
func (s *stream) forgive() {
	s.failures = 0
	s.delays.Reset()
	s.retry = nil
}

// retire ends the current instance, if there is one, and leaves the stream
// stopping.
func (s *stream) retire(timeout time.Duration) {
	s.retry = nil
	s.move(eventStop)
	inst := s.current
	if inst == nil {
		return
	}
	inst.end(timeout, s.log)
	s.current = nil
	s.ranFor = time.Since(inst.startedAt)
	s.publish()
}

// remove is the end of the stream and of its actor.
func (s *stream) remove(timeout time.Duration) {
	s.retire(timeout)
	s.move(eventStopped)
	s.sup.forget(s)
	s.log.Info("deleted stream")
}

// delete ends the stream within timeout, whatever its actor is doing. The
// context bounds the wait only: a stream whose deletion has begun is deleted.
func (s *stream) delete(ctx context.Context, timeout time.Duration) error {
	begun := time.Now()
	s.endLife()
	// Should the actor be waiting for a runner to stop in somebody else's
	// time, that has to end in this one's.
	hurry := time.AfterFunc(timeout*3/4, s.killCurrent)
	go s.tell(func() {
		hurry.Stop()
		s.remove(max(timeout-time.Since(begun), time.Millisecond))
	})
	select {
	case <-s.gone:
		hurry.Stop()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killCurrent kills the stream's runner without asking its actor.
func (s *stream) killCurrent() {
	if v := s.seen.Load(); v != nil && v.current != nil {
		v.current.proc.Kill()
	}
}

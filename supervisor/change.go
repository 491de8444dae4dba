package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"penstock/supervisor/store"
)

// quietTime bounds the wait for the requests that a runner is answering before
// it is told to stop.
const quietTime = time.Second

// revised is what a change makes of a stream.
type revised struct {
	spec   spec
	origin store.Origin
}

// update gives the stream the spec that revise makes of its present one.
func (s *stream) update(ctx context.Context, revise func(spec) (revised, error), timeout time.Duration) error {
	if err := s.revert(); err != nil {
		return err
	}
	to, err := revise(s.spec)
	if err != nil {
		return err
	}
	if err := s.admit(to.spec); err != nil {
		return err
	}
	defer s.settle()
	if s.current != nil && !to.spec.equal(s.spec) && to.spec.sameForEngine(s.spec) {
		if err := s.updateOptions(ctx, to); !errors.Is(err, errNeedsNewRunner) {
			return err
		}
	}
	s.coming.Store(&to.spec)
	defer s.coming.Store(nil)
	var inst *instance
	s.meanwhile(func() { inst, err = s.sup.prepare(ctx, s.id, to.spec, s.sup.resources.all(), s.logLevel) })
	var busy *addressInUseError
	if errors.As(err, &busy) {
		return s.updateInPlace(ctx, to, busy, timeout)
	}
	if err != nil {
		return err
	}
	return s.replace(ctx, inst, &to, timeout)
}

// updateOptions is for a spec whose runner can take the change while it runs. It
// fails with errNeedsNewRunner, and has changed nothing, when it cannot.
func (s *stream) updateOptions(ctx context.Context, to revised) error {
	inst := s.current
	if err := inst.suits(ctx, to.spec.options); err != nil {
		return err
	}
	var limits *relimit
	var err error
	s.meanwhile(func() { limits, err = s.relimit(ctx, inst, s.sup.confiner.of(to.spec.options.Limits)) })
	switch {
	case s.current != inst:
		// It has ended meanwhile.
		return errNeedsNewRunner
	case err != nil:
		return err
	}
	back := s.take(to)
	if err := s.sup.keep(s.revision-1, s.record(), s.runnerWith(inst, limits.to)); err != nil {
		back()
		limits.takeBack(ctx)
		return err
	}
	limits.finish()
	s.forgive()
	s.lookForIdleness()
	s.publish()
	return nil
}

// updateInPlace is for a spec that binds an address which is in use. Where the
// stream's own runner holds it that one has to stop before the new one can be
// built; but not before the rest of the config was found to build, with
// another address in that place.
func (s *stream) updateInPlace(ctx context.Context, to revised, busy *addressInUseError, timeout time.Duration) error {
	if s.current == nil || s.sup.sockets.holds(busy.address) || !s.current.proc.Listens(ctx, busy.address) {
		return busy
	}
	var err error
	s.meanwhile(func() { err = s.sup.tryElsewhere(ctx, s.id, to.spec, busy) })
	if err != nil {
		return err
	}
	if s.current == nil {
		// It has died meanwhile, and its address is free.
		return s.update(ctx, func(spec) (revised, error) { return to, nil }, timeout)
	}
	return s.replaceInPlace(ctx, &to, timeout)
}

// take makes to the stream's own. It returns how to undo that. Nobody sees it
// before the next publish.
func (s *stream) take(to revised) (back func()) {
	old := s.view
	s.spec, s.origin, s.outcome = to.spec, to.origin, nil
	s.revision, s.changedAt = old.revision+1, time.Now()
	return func() {
		s.spec, s.origin, s.outcome = old.spec, old.origin, old.outcome
		s.revision, s.changedAt = old.revision, old.changedAt
	}
}

// replace stops the current instance and runs the prepared one. to is the new
// revision that it makes; nil means that it is only a new runner. A paused
// stream gets the revision alone. When the new instance does not start, the
// old spec runs again.
func (s *stream) replace(ctx context.Context, inst *instance, to *revised, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		inst.discard()
		return err
	}
	back := func() {}
	if to != nil {
		back = s.take(*to)
		run := s.runnerOf(inst)
		if s.paused {
			run = nil
		}
		if err := s.sup.keep(s.revision-1, s.record(), run); err != nil {
			inst.discard()
			back()
			return err
		}
	}
	if s.paused {
		inst.discard()
		s.publish()
		return nil
	}
	if to == nil {
		switch err := s.keepRunner(inst); {
		case err == nil:
		case s.outcome != nil || s.state == StateFailed:
			// The next supervisor would not run it.
			inst.discard()
			return err
		default:
			s.log.Warn("the store does not know of the runner: a later supervisor will start another", zap.Error(err))
		}
	}
	return s.swap(ctx, inst, back, to != nil, timeout)
}

// swap puts an instance that the store knows of in the place of the current
// one; back undoes in memory what kept says the store has to undo as well.
func (s *stream) swap(ctx context.Context, inst *instance, back func(), kept bool, timeout time.Duration) error {
	s.makeWay(ctx, timeout)
	if err := ctx.Err(); err != nil {
		inst.discard()
		// The next supervisor is not to take it for one that died.
		s.keepExit()
		return err
	}
	s.move(eventStart)
	if err := s.launch(ctx, inst); err != nil {
		return s.restore(ctx, back, kept, err)
	}
	s.forgive()
	return nil
}

// replaceInPlace stops the current instance before the new one is prepared. A
// nil to means the spec that the stream has.
func (s *stream) replaceInPlace(ctx context.Context, to *revised, timeout time.Duration) error {
	back := func() {}
	if to != nil {
		back = s.take(*to)
		if err := s.sup.keep(s.revision-1, s.record(), nil); err != nil {
			back()
			return err
		}
	}
	return s.swapInPlace(ctx, back, to != nil, timeout)
}

// swapInPlace is swap for a spec that can be prepared only once the current
// instance has stopped.
func (s *stream) swapInPlace(ctx context.Context, back func(), kept bool, timeout time.Duration) error {
	s.makeWay(ctx, timeout)
	inst, err := s.sup.prepare(ctx, s.id, s.spec, s.sup.resources.all(), s.logLevel)
	s.move(eventStart)
	if err != nil {
		return s.restore(ctx, back, kept, err)
	}
	s.tryKeepRunner(inst)
	if err := s.launch(ctx, inst); err != nil {
		return s.restore(ctx, back, kept, err)
	}
	s.forgive()
	return nil
}

// makeWay stops the current instance for the next one. What is sent to the
// stream from now on waits for that one.
func (s *stream) makeWay(ctx context.Context, timeout time.Duration) {
	s.switching = true
	s.publish()
	if s.current != nil {
		s.current.traffic.quiet(ctx, min(quietTime, timeout/4))
	}
	s.retire(timeout)
}

// restore runs the old spec again after its replacement failed with cause.
func (s *stream) restore(ctx context.Context, back func(), kept bool, cause error) error {
	if kept {
		s.undo(back)
	}
	if s.outcome != nil {
		// What has finished is not run again for a change that was not made.
		s.switching = false
		s.keepOutcome()
		s.closeSocket()
		s.move(eventFinish)
		return cause
	}
	if err := s.startSpec(ctx); err != nil {
		s.startFailed(err)
		return fmt.Errorf("%w (the old stream was stopped for it and cannot be started again yet: %s)", cause, err.Error())
	}
	s.log.Info("restored stream after a failed change", zap.Uint64("revision", s.revision), zap.Error(cause))
	return cause
}

// renew gives the stream a new runner with the spec that it has.
func (s *stream) renew(ctx context.Context, timeout time.Duration) error {
	if err := s.revert(); err != nil {
		return err
	}
	defer s.settleSocket()
	var inst *instance
	var err error
	s.meanwhile(func() { inst, err = s.sup.prepare(ctx, s.id, s.spec, s.sup.resources.all(), s.logLevel) })
	var busy *addressInUseError
	switch {
	case errors.As(err, &busy):
		if s.current == nil || s.sup.sockets.holds(busy.address) || !s.current.proc.Listens(ctx, busy.address) {
			return busy
		}
		return s.replaceInPlace(ctx, nil, timeout)
	case err != nil:
		return err
	}
	return s.replace(ctx, inst, nil, timeout)
}

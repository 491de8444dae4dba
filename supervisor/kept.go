package supervisor

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"penstock/supervisor/store"
)

// applyKept puts a revision into force that the store has already: one member
// of a set that was kept as a whole.
func (s *stream) applyKept(ctx context.Context, m *member, timeout time.Duration) error {
	to := revised{m.spec, store.OriginAPI}
	defer s.settle()
	if m.sameForEngine && s.current != nil {
		inst := s.current
		var limits *relimit
		var err error
		s.meanwhile(func() { limits, err = s.relimit(ctx, inst, s.sup.confiner.of(m.spec.options.Limits)) })
		switch {
		case s.current != inst:
		case err == nil:
			limits.finish()
			s.takeKept(to, m)
			s.tryKeepRunner(inst)
			s.forgive()
			s.lookForIdleness()
			s.publish()
			return nil
		case !errors.Is(err, errNeedsNewRunner):
			s.undo(s.takeKept(to, m))
			return err
		}
	}
	inst := m.inst
	if inst == nil {
		var err error
		s.meanwhile(func() { inst, err = s.sup.prepare(ctx, s.id, m.spec, s.sup.resources.all(), s.logLevel) })
		var busy *addressInUseError
		if errors.As(err, &busy) && s.current != nil && s.current.proc.Listens(ctx, busy.address) {
			return s.swapInPlace(ctx, s.takeKept(to, m), true, timeout)
		}
		if err != nil {
			s.undo(s.takeKept(to, m))
			return err
		}
	}
	back := s.takeKept(to, m)
	if s.paused {
		inst.discard()
		s.publish()
		return nil
	}
	s.tryKeepRunner(inst)
	return s.swap(ctx, inst, back, true, timeout)
}

// takeKept is take for a member whose revision the store has.
func (s *stream) takeKept(to revised, m *member) (back func()) {
	back = s.take(to)
	s.revision, s.unreverted = m.kept, 0
	return back
}

// undo takes a revision back that the store has.
func (s *stream) undo(back func()) {
	failed := s.revision
	back()
	s.unreverted = failed
	if err := s.revert(); err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Error("the store keeps a revision that did not start, until the next change", zap.Uint64("revision", s.unreverted), zap.Error(err))
		s.publish()
	}
}

// revert takes the revision back that an earlier undo could not.
func (s *stream) revert() error {
	if s.unreverted == 0 {
		return nil
	}
	err := s.sup.keep(s.unreverted, s.record(), s.runnerOf(s.current))
	if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
		return err
	}
	// Or somebody has put another in its place.
	s.unreverted = 0
	s.publish()
	return nil
}

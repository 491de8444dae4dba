package supervisor

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// retire ends the current instance, if there is one, and leaves the stream
// stopping.
func (s *stream) retire(timeout time.Duration) {
	s.retry = nil
	s.move(eventStop)
	inst := s.current
	if inst == nil {
		return
	}
	began := time.Now()
	inst.end(timeout, s.log.With(zap.Uint64("revision", s.revision)), func() { s.keepOutput(inst.proc.Stderr()) })
	s.sup.telemetry.Stopped(time.Since(began))
	s.lastExit = lastExit(inst.proc.Exit())
	s.sup.telemetry.Exited(s.lastExit.Reason)
	s.current = nil
	s.ranFor = time.Since(inst.startedAt)
	s.publish()
}

// remove is the end of the stream and of its actor. With purge its files go
// as well.
func (s *stream) remove(timeout time.Duration, purge bool) {
	gaveUp, idle := s.state == StateFailed, s.state == StateIdle
	s.retire(timeout)
	if !purge {
		final := s.noRunner()
		if idle {
			final = s.idleRunner()
		}
		final.GaveUp = gaveUp
		s.final = &final
	}
	s.move(eventStopped)
	s.sup.forget(s, purge)
	if purge {
		s.log.Info("deleted stream", zap.Int("pid", s.lastPID), zap.Uint64("revision", s.revision))
	}
}

// end ends the stream within timeout, whatever its actor is doing. The
// context bounds the wait only: a stream whose end has begun ends.
func (s *stream) end(ctx context.Context, timeout time.Duration, purge bool) error {
	begun := time.Now()
	s.endLife()
	// Should the actor be waiting for a runner to stop in somebody else's
	// time, that has to end in this one's.
	hurry := time.AfterFunc(timeout*3/4, s.killCurrent)
	go s.tell(func() {
		hurry.Stop()
		s.remove(max(timeout-time.Since(begun), time.Millisecond), purge)
	})
	select {
	case <-s.gone:
		hurry.Stop()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release ends the actor and leaves its runner running.
func (s *stream) release(ctx context.Context) error {
	s.endLife()
	go s.tell(func() {
		s.retry = nil
		if inst := s.current; inst != nil {
			inst.unwatch()
			inst.hangUp()
			inst.proc.Release()
		}
		if s.unwatchSocket != nil {
			s.unwatchSocket()
		}
		s.state = StateStopped
		s.sup.forget(s, false)
	})
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("letting go of stream %s: %w", s.id, ctx.Err())
	}
}

// killCurrent kills the stream's runner without asking its actor.
func (s *stream) killCurrent() {
	if v := s.seen.Load(); v != nil && v.current != nil {
		v.current.proc.Kill()
	}
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/logs"
	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// create is the first thing the actor of a new stream does: it prepares sp,
// unless somebody has done so, keeps it and runs it. With kept the store has
// it already.
func (s *stream) create(ctx context.Context, sp spec, origin store.Origin, ready *instance, kept bool) (err error) {
	defer close(s.born)
	if err = s.sup.confiner.admit(s.id, sp); err != nil && ready != nil {
		ready.discard()
	}
	defer func() {
		if err == nil {
			s.settle()
			return
		}
		if kept {
			s.sup.unkeep(s.id)
		}
		s.state = StateStopped
		s.sup.forget(s, true)
	}()
	if err != nil {
		return err
	}
	if ready == nil {
		s.coming.Store(&sp)
		defer s.coming.Store(nil)
		if ready, err = s.sup.prepare(ctx, s.id, sp, s.sup.resources.all(), s.logLevel); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		ready.discard()
		return err
	}
	s.spec, s.revision, s.changedAt, s.origin = sp, 1, time.Now(), origin
	if !kept {
		if err := s.sup.clearStray(s.id); err != nil {
			ready.discard()
			return err
		}
		if err := s.sup.keep(0, s.record(), s.runnerOf(ready)); err != nil {
			ready.discard()
			return err
		}
		kept = true
	} else {
		s.tryKeepRunner(ready)
	}
	if s.state, err = next(s.state, eventStart); err != nil {
		ready.discard()
		return err
	}
	return s.launch(ctx, ready)
}

// launch runs a prepared instance, which the store knows of, and makes it the
// current one. On an error the instance is gone. A stream whose first message
// kills its runner has started all the same: when exactly it died is no ground
// to answer otherwise.
func (s *stream) launch(ctx context.Context, inst *instance) error {
	if !inst.alive() {
		inst.discard()
		return fmt.Errorf("its runner %s before the stream was started", inst.proc.Exit())
	}
	limited, cancel := context.WithTimeout(ctx, s.sup.cfg.Timeouts.Start)
	defer cancel()
	if inst.logLevel != s.logLevel {
		// It was set while the instance was being prepared.
		if err := inst.proc.SetLogLevel(limited, s.logLevel); err != nil {
			s.log.Warn("the new runner does not take the log level", zap.String("level", s.logLevel), zap.Error(err))
		}
	}
	if err := s.handSocket(limited, inst); err != nil {
		inst.discard()
		return err
	}
	if err := inst.proc.Run(limited); err != nil && !diedSoon(inst.proc, err) {
		inst.discard()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%w: the stream has not started within %s: where it or the host has too little processor time, raise its limits.cpu or the server's timeouts.start",
				ErrUnavailable, s.sup.cfg.Timeouts.Start)
		}
		return fmt.Errorf("starting the stream: %w", err)
	}
	s.current, s.lastPID = inst, inst.proc.PID()
	s.reason = ""
	s.switching = false
	s.last, s.lastProcess, s.outcome, s.endpoints = nil, nil, nil, inst.endpoints
	s.gate.begin()
	s.lookForIdleness()
	s.move(eventStarted)
	s.sup.watchers.Go(func() { s.watch(inst) })
	if s.isHost() {
		s.sup.watchers.Go(func() { s.sup.reshare(s.life) })
	}
	s.log.Info("started stream", zap.Int("pid", inst.proc.PID()), zap.Uint64("revision", s.revision))
	return nil
}

// watch waits until a runner's stream has ended or the runner has died. Every
// runner dies some day: it is closed, or its supervisor leaves it.
func (s *stream) watch(inst *instance) {
	select {
	case <-inst.over:
	case <-inst.wants:
		s.sup.watchers.Go(func() { s.sup.keepConnected(inst) })
		<-inst.over
	}
	if inst.finished == nil {
		select {
		case <-inst.proc.Exited():
		case <-s.gone:
			return
		}
	}
	select {
	case s.ends <- func() { s.ended(inst) }:
	case <-s.gone:
	}
}

// ended takes note that an instance's stream is over. Only the current one's
// end matters.
func (s *stream) ended(inst *instance) {
	if s.current != inst {
		return
	}
	s.current = nil
	s.ranFor = time.Since(inst.startedAt)
	s.keepOutput(inst.proc.Stderr())
	// The end is told before the process is: nobody is to see a dead process
	// and not know why.
	defer func() {
		inst.hangUp()
		ctx, cancel := context.WithTimeout(context.Background(), s.sup.cfg.Timeouts.RPC)
		defer cancel()
		inst.proc.Close(ctx)
		inst.unwatch()
	}()

	if finished := inst.finished; finished != nil {
		s.last = finished.Metrics
		s.lastProcess = s.sup.figures(inst)
		s.lastExit = &LastExit{Reason: "exited", At: time.Now(), Message: finished.Error}
		s.finish(finished.Error)
		return
	}
	exit := inst.proc.Exit()
	s.lastExit = s.explained(lastExit(exit))
	s.sup.telemetry.Exited(s.lastExit.Reason)
	s.reason = "its runner " + s.lastExit.String()
	s.log.Warn("runner died", zap.Int("pid", inst.proc.PID()), zap.Uint64("revision", s.revision), zap.String("reason", s.reason))
	if inst.adopted && exit.Record != nil && (exit.Record.Reason == rpc.ExitStopped || exit.Record.Reason == rpc.ExitOrphaned) {
		// The supervisor before had told it to go, or left it alone too long.
		s.move(eventDie)
		s.startAnew()
		return
	}
	s.died()
}

// startAnew starts a stream whose runner's end was not its own failure, in
// backoff, as soon as runners may be started.
func (s *stream) startAnew() {
	select {
	case <-s.sup.cleared:
		s.start()
	default:
		s.owed = true
	}
}

// explained adds to an exit that says nothing what the stream logged last: a
// component may end the process with an error in the log.
func (s *stream) explained(exit *LastExit) *LastExit {
	if exit.Message != "" || exit.Code <= 0 {
		return exit
	}
	reader, err := logs.Open(s.sup.streamDir(s.id), logs.Query{Tail: 1, Level: "error", Source: logs.SourceLog})
	if err != nil {
		return exit
	}
	defer reader.Close()
	if line, err := reader.Next(s.life); err == nil {
		exit.Message = "the last error in its log: " + line.Text()
	}
	return exit
}

// finish is the end of a stream that has ended by itself.
func (s *stream) finish(failure string) {
	s.reason = failure
	s.log.Info("stream finished", zap.Int("pid", s.lastPID), zap.Uint64("revision", s.revision), zap.Duration("ran_for", s.ranFor), zap.String("error", failure))
	if s.spec.options.Restart.Policy == options.PolicyAlways {
		s.reason = "it finished, and its restart policy is always"
		s.died()
		return
	}
	s.outcome = s.newOutcome(failure)
	s.keepOutcome()
	s.closeSocket()
	s.move(eventFinish)
}

// died decides what follows the end of a runner that was to go on.
func (s *stream) died() {
	if s.ranFor >= s.sup.cfg.Restart.StableAfter {
		s.forgive()
	}
	s.move(eventDie)
	select {
	case <-s.sup.cleared:
		s.afterDeath()
	default:
		// The stream goes on once the supervisor has cleared its data folder.
	}
}

// afterDeath starts a stream again whose runner has died or whose input has
// ended, if its policy says so.
func (s *stream) afterDeath() {
	if s.spec.options.Restart.Policy == options.PolicyNever {
		s.giveUp("its restart policy is never")
		return
	}
	s.scheduleRestart()
}

// scheduleRestart waits before the next start: not at all the first time, and
// longer each time after, until the attempts are used up.
func (s *stream) scheduleRestart() {
	if limit := s.spec.options.Restart.MaxAttempts; limit > 0 && s.failures >= limit {
		s.giveUp(fmt.Sprintf("it was started again %d times in a row", s.failures))
		return
	}
	var wait time.Duration
	if s.failures > 0 {
		if s.delays == nil {
			s.delays = s.sup.newDelays(s.spec.options.Restart.Backoff)
		}
		wait = s.delays.NextBackOff()
	}
	s.failures++
	s.retry = time.After(wait)
}

// giveUp leaves the stream failed until somebody restarts or changes it.
func (s *stream) giveUp(why string) {
	s.reason += "; " + why
	s.closeSocket()
	s.move(eventGiveUp)
	s.keepExit()
	s.log.Error("stream failed", zap.Int("pid", s.lastPID), zap.Uint64("revision", s.revision), zap.String("reason", s.reason))
}

// newDelays are the waits between attempts, by the stream's own figures where
// it has any.
func (s *Supervisor) newDelays(own options.Backoff) *backoff.ExponentialBackOff {
	initial, limit := s.cfg.Restart.Initial, s.cfg.Restart.Max
	// Where only one is its own, the other gives way.
	if own.Max > 0 {
		limit = own.Max
		initial = min(initial, limit)
	}
	if own.Initial > 0 {
		initial = own.Initial
		limit = max(initial, limit)
	}
	return &backoff.ExponentialBackOff{
		InitialInterval:     initial,
		MaxInterval:         limit,
		Multiplier:          2,
		RandomizationFactor: 0.25,
	}
}

// forgive lets the next failure be the first one again.
func (s *stream) forgive() {
	s.failures = 0
	s.delays = nil
	s.retry = nil
}

// restart starts the stream's own spec again.
func (s *stream) restart() {
	s.restarts++
	reason := "unknown"
	if s.lastExit != nil {
		reason = s.lastExit.Reason
	}
	s.sup.telemetry.Restarted(reason)
	s.start()
}

// start starts the stream's own spec, and goes into backoff when it does not
// start.
func (s *stream) start() {
	s.move(eventStart)
	if err := s.startSpec(s.life); err != nil {
		if s.life.Err() != nil {
			// The deletion that ended the life is next in the inbox.
			s.move(eventFail)
			return
		}
		s.startFailed(err)
	}
}

// startFailed goes into backoff after a start that did not succeed.
func (s *stream) startFailed(err error) {
	s.reason = "it cannot be started: " + err.Error()
	s.switching = false
	s.move(eventFail)
	s.log.Warn("stream cannot be started", zap.Uint64("revision", s.revision), zap.Error(err))
	s.scheduleRestart()
}

// startSpec prepares and runs the stream's spec.
func (s *stream) startSpec(ctx context.Context) error {
	inst, err := s.sup.prepare(ctx, s.id, s.spec, s.sup.resources.all(), s.logLevel)
	if err != nil {
		return err
	}
	s.tryKeepRunner(inst)
	return s.launch(ctx, inst)
}

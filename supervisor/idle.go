package supervisor

import (
	"context"
	"time"

	"go.uber.org/zap"

	"penstock/supervisor/store"
)

// lookForIdleness has the actor look again when the stream may have become idle.
func (s *stream) lookForIdleness() { s.lookAfter(0) }

// lookAfter is lookForIdleness when it is known that the stream will not be
// idle for so long.
func (s *stream) lookAfter(wait time.Duration) {
	s.idle = nil
	if timeout := s.spec.options.IdleTimeout; timeout > 0 && s.current != nil {
		s.idle = time.After(max(s.gate.quietFor(timeout), wait))
	}
}

// giveBack ends the runner of a stream that nobody calls, if that is so still.
// A call that comes meanwhile starts it again.
func (s *stream) giveBack() {
	timeout := s.spec.options.IdleTimeout
	if wait := s.ownCallsWithin(timeout); wait > 0 {
		s.lookAfter(wait)
		return
	}
	if timeout == 0 || s.state != StateRunning || s.current == nil || s.gate.quietFor(timeout) > 0 || !s.current.traffic.shut() {
		s.lookForIdleness()
		return
	}
	inst := s.current
	s.switching, s.endpoints = true, inst.endpoints
	s.publish()
	s.secureSocket()
	s.retireKnown(s.sup.cfg.Timeouts.Stop)
	s.reason = "nobody has called it for " + timeout.String()
	s.bindIdle()
	// Before anybody can see that it is idle: whoever has seen it may rely on
	// the next supervisor to know.
	s.keepIdle()
	s.move(eventIdled)
	s.log.Info("gave the process of an idle stream back", zap.Int("pid", s.lastPID), zap.Duration("idle_timeout", timeout))
}

// retireKnown ends the current instance and keeps what it has counted, for those
// who ask while there is none.
func (s *stream) retireKnown(timeout time.Duration) {
	inst := s.current
	s.endpoints = inst.endpoints
	// One that hangs has nothing to tell, and is ended all the same.
	ctx, cancel := context.WithTimeout(s.life, s.sup.cfg.Timeouts.RPC)
	s.last, _ = inst.proc.Stats(ctx)
	cancel()
	s.lastProcess = s.sup.figures(inst)
	s.retire(timeout)
	s.switching = false
}

// keepIdle has the next supervisor leave the stream idle.
func (s *stream) keepIdle() {
	err := s.amendRun(func(tx *store.Tx, _ *store.Stream) error {
		return tx.PutRunner(s.id, s.idleRunner())
	})
	if err != nil {
		s.log.Warn("the store does not know that the stream is idle: a later supervisor will start it", zap.Error(err))
	}
}

// idleRunner is what the next supervisor is to know of an idle stream.
func (s *stream) idleRunner() store.Runner {
	run := s.noRunner()
	run.Idle, run.Endpoints, run.Prefix = true, s.endpoints, s.sup.cfg.PrefixStreamEndpoints
	return run
}

// recallIdle leaves a stream idle that was so under the last supervisor.
func (s *stream) recallIdle(run store.Runner) {
	s.endpoints, s.reason = run.Endpoints, "nobody has called it"
	if s.of != nil {
		s.reason = "it was not needed when the server was started"
	}
	s.bindIdle()
	s.move(eventIdled)
}

// secureSocket asks a runner that is about to be ended for its socket, where it
// was not given back so far: nobody is refused between its end and bindIdle.
func (s *stream) secureSocket() {
	address := s.spec.options.HTTP.Listen
	if address == "" || s.sup.sockets.open(s.id, address) {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, s.sup.cfg.Timeouts.RPC)
	defer cancel()
	// Where it fails bindIdle tells.
	_ = s.sup.claimSocket(ctx, s.id, address)
}

// bindIdle has a stream that is about to be idle have its own listener, which
// an adopted runner may have kept for itself.
func (s *stream) bindIdle() {
	if s.of != nil {
		// It has none of its own.
		return
	}
	if err := s.sup.bindSocket(s.id, s.spec.options.HTTP.Listen); err != nil {
		s.reason += "; " + err.Error()
		s.log.Warn("callers of the stream's own listener do not wake it before it is called otherwise", zap.Error(err))
	}
}

// wake starts an idle stream for a call. It does not wait.
func (s *stream) wake() {
	if s.waking.Swap(true) {
		return
	}
	go s.tell(func() {
		s.waking.Store(false)
		if s.state != StateIdle {
			return
		}
		s.startRested()
	})
}

// startRested starts a stream that is idle. What is sent to it meanwhile waits.
func (s *stream) startRested() {
	s.switching = true
	s.start()
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/stats"
)

// stream is the actor that owns one stream's life. All fields below the line
// belong to its goroutine.
type stream struct {
	id  string
	sup *Supervisor
	log *zap.Logger

	// inbox takes what the actor is to do next. gone is closed when there is
	// no actor any more. life ends when the stream is to be deleted, and with
	// it whatever the actor is doing.
	inbox   chan func()
	gone    chan struct{}
	life    context.Context
	endLife context.CancelFunc
	// born is closed when the first start has succeeded or failed.
	born chan struct{}
	// seen is what everybody else may look at; nil until the stream exists.
	seen atomic.Pointer[view]
	// coming is the spec that is being prepared, nil when none is.
	coming atomic.Pointer[spec]
	// ends takes the news of runners that have ended, which are heard while a
	// change is being prepared as well.
	ends chan func()

	// ---- the actor's own ----
	// view is the present, of which publish shows a copy.
	view
	failures int
	delays   *backoff.ExponentialBackOff
	retry    <-chan time.Time
}

// view is what there is to see of a stream. One that is shown never changes.
type view struct {
	state    State
	spec     spec
	revision uint64
	current  *instance
	// reason says why the stream does not run.
	reason string
	// last are the statistics of a stream without a runner, and lastProcess
	// the figures of the process that it had.
	last        []rpc.Metric
	lastProcess *stats.Process
	// ranFor is how long the last instance ran, once it has ended.
	ranFor time.Duration
}

// errDeleted is what becomes of a change whose stream is being deleted.
var errDeleted = fmt.Errorf("%w: the stream is being deleted", ErrNotFound)

func (s *Supervisor) newStream(id string) *stream {
	life, endLife := context.WithCancel(context.Background())
	st := &stream{
		id:      id,
		sup:     s,
		log:     s.log.With(zap.String("stream", id)),
		inbox:   make(chan func()),
		ends:    make(chan func()),
		gone:    make(chan struct{}),
		born:    make(chan struct{}),
		life:    life,
		endLife: endLife,
		view:    view{state: StatePending},
		delays: &backoff.ExponentialBackOff{
			InitialInterval:     s.cfg.Restart.Initial,
			MaxInterval:         s.cfg.Restart.Max,
			Multiplier:          2,
			RandomizationFactor: 0.25,
		},
	}
	go st.run()
	return st
}

// run is the actor.
func (s *stream) run() {
	defer close(s.gone)
	for s.state != StateStopped {
		select {
		case do := <-s.inbox:
			do()
		case end := <-s.ends:
			end()
		case <-s.retry:
			s.retry = nil
			s.restart()
		}
	}
}

// meanwhile runs work that takes its time, and goes on looking after the
// stream's runner until it has returned.
func (s *stream) meanwhile(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	for {
		select {
		case <-done:
			return
		case end := <-s.ends:
			end()
		case <-s.retry:
			s.retry = nil
			s.restart()
		}
	}
}

// do has the actor run op and waits for its result, for as long as the
// caller's context lasts; op itself is bounded by the stream's life.
func (s *stream) do(ctx context.Context, op func(ctx context.Context) error) error {
	wait, err := s.submit(ctx, op)
	if err != nil {
		return err
	}
	return wait(ctx)
}

// submit has the actor take op. An error means that it has not and never will;
// else the function that is returned waits for the result.
func (s *stream) submit(ctx context.Context, op func(ctx context.Context) error) (func(context.Context) error, error) {
	result := make(chan error, 1)
	select {
	case s.inbox <- func() { result <- op(s.life) }:
	case <-s.gone:
		return nil, ErrNotFound
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return func(ctx context.Context) error {
		select {
		case err := <-result:
			return s.whyEnded(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

// whyEnded names the reason of a change that the end of the stream's life cut
// short.
func (s *stream) whyEnded(err error) error {
	switch {
	case !errors.Is(err, context.Canceled) || s.life.Err() == nil:
		return err
	case s.sup.root.Err() != nil:
		return ErrClosed
	}
	return errDeleted
}

// tell has the actor run op and does not wait.
func (s *stream) tell(op func()) {
	select {
	case s.inbox <- op:
	case <-s.gone:
	}
}

// move takes an event and shows the result to everybody.
func (s *stream) move(e event) {
	to, err := next(s.state, e)
	if err != nil {
		s.log.DPanic("stream state", zap.Error(err))
		return
	}
	s.state = to
	s.publish()
}

func (s *stream) publish() {
	shown := s.view
	s.seen.Store(&shown)
}

// create is the first thing an actor does: it prepares sp, unless somebody
// has done so, and runs it.
func (s *stream) create(ctx context.Context, sp spec, ready *instance) (err error) {
	defer close(s.born)
	defer func() {
		if err != nil {
			s.state = StateStopped
			s.sup.forget(s)
		}
	}()
	if ready == nil {
		s.coming.Store(&sp)
		defer s.coming.Store(nil)
		if ready, err = s.sup.prepare(ctx, s.id, sp, s.sup.resources.all()); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		ready.discard()
		return err
	}
	s.spec = sp
	s.revision = 1
	s.state, err = next(s.state, eventStart)
	if err != nil {
		ready.discard()
		return err
	}
	return s.launch(ctx, ready)
}

// launch runs a prepared instance and makes it the current one. On an error
// the instance is gone. A stream whose first message kills its runner has
// started all the same: when exactly it died is no ground to answer otherwise.
func (s *stream) launch(ctx context.Context, inst *instance) error {
	if !inst.alive() {
		inst.discard()
		return fmt.Errorf("its runner %s before the stream was started", inst.proc.Exit())
	}
	ctx, cancel := context.WithTimeout(ctx, s.sup.cfg.Timeouts.RPC)
	defer cancel()
	if err := inst.proc.Run(ctx); err != nil && !diedSoon(inst.proc, err) {
		inst.discard()
		return fmt.Errorf("starting the stream: %w", err)
	}
	inst.startedAt = time.Now()
	s.current = inst
	s.reason = ""
	s.last, s.lastProcess = nil, nil
	s.move(eventStarted)
	s.sup.watchers.Go(func() { s.watch(inst) })
	s.log.Info("started stream", zap.Int("pid", inst.proc.PID()), zap.Uint64("revision", s.revision))
	return nil
}

// watch waits until a runner's stream has ended or the runner has died. Every
// runner dies some day: it is closed, or its supervisor leaves it.
func (s *stream) watch(inst *instance) {
	<-inst.over
	if inst.finished == nil {
		<-inst.proc.Exited()
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
	// The end is told before the process is: nobody is to see a dead process
	// and not know why.
	defer func() {
		inst.transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), s.sup.cfg.Timeouts.RPC)
		defer cancel()
		inst.proc.Close(ctx)
		inst.unwatch()
	}()

	if finished := inst.finished; finished != nil {
		s.last = finished.Metrics
		s.lastProcess = s.sup.figures(inst)
		s.reason = finished.Error
		s.move(eventFinish)
		s.log.Info("stream finished", zap.Duration("ran_for", s.ranFor), zap.String("error", finished.Error))
		return
	}
	s.reason = "its runner " + inst.proc.Exit().String()
	if s.ranFor >= s.sup.cfg.Restart.StableAfter {
		s.failures = 0
		s.delays.Reset()
	}
	s.move(eventDie)
	s.log.Warn("runner died", zap.Int("pid", inst.proc.PID()), zap.String("reason", s.reason))
	s.scheduleRestart()
}

// scheduleRestart waits before the next start: not at all the first time, and
// longer each time after.
func (s *stream) scheduleRestart() {
	var wait time.Duration
	if s.failures > 0 {
		wait = s.delays.NextBackOff()
	}
	s.failures++
	s.retry = time.After(wait)
}

// restart starts the stream's own spec again.
func (s *stream) restart() {
	s.move(eventStart)
	if err := s.startSpec(s.life); err != nil {
		if s.life.Err() != nil {
			// The deletion that ended the life is next in the inbox.
			s.move(eventFail)
			return
		}
		s.failed(err)
	}
}

// failed goes into backoff after a start that did not succeed.
func (s *stream) failed(err error) {
	s.reason = "it cannot be started: " + err.Error()
	s.move(eventFail)
	s.log.Warn("stream cannot be started", zap.Error(err))
	s.scheduleRestart()
}

// startSpec prepares and runs the stream's spec.
func (s *stream) startSpec(ctx context.Context) error {
	inst, err := s.sup.prepare(ctx, s.id, s.spec, s.sup.resources.all())
	if err != nil {
		return err
	}
	return s.launch(ctx, inst)
}

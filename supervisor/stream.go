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
	"penstock/supervisor/events"
	"penstock/supervisor/options"
	"penstock/supervisor/stats"
	"penstock/supervisor/store"
)

// stream is the actor that owns one stream's life. All fields below the line
// belong to its goroutine.
type stream struct {
	id  string
	sup *Supervisor
	// of is the stream that this one is a replica of; nil for a stream itself,
	// and then replicas are those that it has.
	of       *stream
	replicas *replicas
	log      *zap.Logger

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
	// gate counts the calls to the stream, and waking says that one of them is
	// about to start it.
	gate   gate
	waking atomic.Bool
	// ends takes the news of runners that have ended, which are heard while a
	// change is being prepared as well.
	ends chan func()

	// ---- the actor's own ----
	// view is the present, of which publish shows a copy.
	view
	failures int
	delays   *backoff.ExponentialBackOff
	retry    <-chan time.Time
	// idle says that it is time to look whether anybody calls the stream.
	idle <-chan time.Time
	// unwatchSocket ends the wait for callers of a stream that is idle; nil when
	// nobody waits.
	unwatchSocket func()
	// owed says that the stream is to start whatever its policy says, once
	// runners may be started: it was not its own failure that ended the last.
	owed bool
	// final is what the next supervisor is to know of a stream that was ended
	// with this one. It may be read once gone is closed.
	final *store.Runner
}

// view is what there is to see of a stream. One that is shown never changes.
type view struct {
	state State
	since time.Time
	// paused is what is desired.
	paused   bool
	spec     spec
	revision uint64
	// unreverted is the revision that the store has, where that could not be
	// taken back from it; else 0.
	unreverted uint64
	changedAt  time.Time
	origin     store.Origin
	logLevel   string
	current    *instance
	// endpoints are those of the present runner, or of the last.
	endpoints []string
	// lastPID is the process id of the runner that it had last.
	lastPID int
	// ranBefore says that it ran when the supervisor started.
	ranBefore bool
	// switching is true while the runner is being replaced by the next one:
	// what is sent to the stream had better wait for that.
	switching bool
	// reason says why the stream does not run.
	reason string
	// last are the statistics of a stream without a runner, and lastProcess
	// the figures of the process that it had.
	last        []rpc.Metric
	lastProcess *stats.Process
	lastExit    *LastExit
	// outcome is set once the stream has finished.
	outcome *store.Outcome
	// ranFor is how long the last instance ran, once it has ended.
	ranFor   time.Duration
	restarts uint64
	// superseded is closed when there is a newer view.
	superseded chan struct{}
	// limits are those of the current instance, set when it is shown.
	limits options.Limits
}

// errDeleted is what becomes of a change whose stream is being deleted.
var errDeleted = fmt.Errorf("%w: the stream is being deleted", ErrNotFound)

// defaultLogLevel is the level of a stream whose level nobody has set.
const defaultLogLevel = "info"

// newStream makes the actor of a stream, or of a replica of one.
func (s *Supervisor) newStream(id string, of *stream) *stream {
	life, endLife := context.WithCancel(context.Background())
	st := &stream{
		id:      id,
		sup:     s,
		of:      of,
		log:     s.log.With(logFields(id)...),
		inbox:   make(chan func()),
		ends:    make(chan func()),
		gone:    make(chan struct{}),
		born:    make(chan struct{}),
		life:    life,
		endLife: endLife,
		view:    view{state: StatePending, since: time.Now(), logLevel: defaultLogLevel, origin: store.OriginAPI},
	}
	st.replicas = newReplicas(st)
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
		case <-s.idle:
			s.giveBack()
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
		if s.sup.root.Err() != nil {
			return nil, ErrClosed
		}
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
func (s *stream) move(e event) { s.moveAt(e, time.Now()) }

// moveAt is move for what was so since an earlier time.
func (s *stream) moveAt(e event, since time.Time) {
	from := s.state
	to, err := next(from, e)
	if err != nil {
		s.log.DPanic("stream state", zap.Error(err))
		return
	}
	s.state, s.since = to, since
	s.publish()
	s.watchSocket()
	told := events.Event{
		At: time.Now(), Stream: publicID(s.id), Replica: s.shownNumber(), From: string(from), State: string(to), Revision: s.revision, Reason: s.reason,
	}
	if s.current != nil {
		told.PID = s.current.proc.PID()
	}
	s.sup.hub.Publish(told)
}

func (s *stream) publish() {
	shown := s.view
	shown.superseded = make(chan struct{})
	if s.current != nil {
		shown.limits = s.current.limits
	}
	s.gate.set(shown.spec.options.HTTP)
	defer s.told(&shown)
	if old := s.seen.Swap(&shown); old != nil {
		close(old.superseded)
	}
}

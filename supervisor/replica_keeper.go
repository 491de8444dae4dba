package supervisor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"penstock/supervisor/store"
)

// goal is what a replica is to be.
type goal struct {
	// view is the stream as it is, which says what to run.
	view *view
	// run says that it is to run now; else why says why not.
	run bool
	why string
	// gone says that there is to be no such replica any more.
	gone bool
}

// same says that who strives for one need not begin anew for the other.
func (g goal) same(other goal) bool {
	if g.run != other.run || g.why != other.why || g.gone != other.gone || (g.view == nil) != (other.view == nil) {
		return false
	}
	if g.view == nil {
		return true
	}
	a, b := g.view, other.view
	return a.spec.doc == b.spec.doc && a.spec.chilled == b.spec.chilled && a.logLevel == b.logLevel
}

// keeper makes one replica what it is to be. What it does is bounded by the life
// of the stream.
type keeper struct {
	replicas *replicas
	number   int
	// changed is told of another goal.
	changed chan struct{}

	// mu is held by whoever writes what follows, and by the keeper to read it. The
	// goal is given by the goroutine of the set, which reads it without.
	mu   sync.Mutex
	goal goal
	// given counts the goals, and tried is the last one that was tried.
	given, tried uint64
	err          error
	// over says that the replica is gone, and takes no goal any more.
	over bool
}

// keeper begins to look after a replica.
func (r *replicas) keeper(number int) *keeper {
	k := &keeper{replicas: r, number: number, changed: make(chan struct{}, 1)}
	r.keepers[number] = k
	r.of.sup.watchers.Go(k.run)
	return k
}

// set gives it another goal.
func (k *keeper) set(g goal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over || k.given > 0 && k.goal.same(g) {
		return
	}
	k.goal = g
	k.given++
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

func (k *keeper) hasTried() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tried == k.given
}

// failure is why it could not be made what it is to be, when it was tried last.
func (k *keeper) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// ended says that the replica is gone.
func (k *keeper) ended() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

func (k *keeper) run() {
	life := k.replicas.of.life
	var delays *backoff.ExponentialBackOff
	var retry <-chan time.Time
	for life.Err() == nil {
		select {
		case <-k.changed:
		case <-retry:
		case <-life.Done():
			return
		}
		k.mu.Lock()
		g, given := k.goal, k.given
		k.mu.Unlock()
		err := k.strive(life, g)
		if life.Err() != nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) {
			// It has gone meanwhile, or all have.
			err = nil
		}
		over := k.tell(given, g, err)
		retry = nil
		switch {
		case over:
			return
		case err == nil:
			delays = nil
		case !errors.Is(err, errSuperseded):
			if delays == nil {
				delays = k.replicas.of.sup.newDelays(g.view.spec.options.Restart.Backoff)
			}
			retry = time.After(max(delays.NextBackOff(), time.Millisecond))
		}
	}
}

// tell takes note of what has come of a goal. over says that the replica is gone,
// and that nobody wants another.
func (k *keeper) tell(given uint64, g goal, err error) (over bool) {
	k.mu.Lock()
	k.err = nil
	if !errors.Is(err, errSuperseded) {
		k.tried, k.err = given, err
	}
	k.over = g.gone && err == nil && given == k.given
	over = k.over
	k.mu.Unlock()
	select {
	case k.replicas.tried <- struct{}{}:
	default:
	}
	return over
}

// errSuperseded is that there is another goal before this one was reached.
var errSuperseded = errors.New("there is another goal")

// replica is the one that is kept; nil when there is none.
func (k *keeper) replica() *stream {
	for _, st := range k.replicas.all() {
		if replicaNumber(st.id) == k.number {
			return st
		}
	}
	return nil
}

// strive makes the replica what it is to be.
func (k *keeper) strive(ctx context.Context, g goal) error {
	replica := k.replica()
	switch {
	case replica == nil && g.run:
		return k.create(ctx, g)
	case replica == nil:
		return nil
	}
	select {
	case <-replica.born:
	case <-replica.gone:
		return ErrNotFound
	case <-ctx.Done():
		return ctx.Err()
	}
	v := replica.seen.Load()
	if v == nil {
		return ErrNotFound
	}
	defer k.replicas.settleSocket()
	switch {
	case g.gone:
		return k.end(replica)
	case !g.run:
		return replica.do(ctx, func(context.Context) error { return replica.rest(k.to(g), g.why) })
	case v.state == StateIdle:
		return k.resume(ctx, replica, g)
	case !v.spec.equal(g.view.spec):
		return k.change(ctx, replica, g)
	}
	k.replicas.takeIn(replica)
	if v.logLevel != g.view.logLevel {
		return replica.setLogLevel(ctx, g.view.logLevel)
	}
	return nil
}

// to is what the replica is to run.
func (k *keeper) to(g goal) revised {
	return revised{g.view.spec.ofReplica(), g.view.origin}
}

// create makes the replica.
func (k *keeper) create(ctx context.Context, g goal) error {
	if err := k.take(ctx, k.replicas.making); err != nil {
		return err
	}
	defer func() { <-k.replicas.making }()
	s := k.replicas.of.sup
	replica, err := s.reserveReplica(ctx, k.replicas.of, k.number)
	if err != nil {
		return err
	}
	replica.tell(func() { replica.logLevel = g.view.logLevel })
	return s.createIn(ctx, replica, k.to(g).spec, g.view.origin, nil, false)
}

// take waits for a place, unless there is another goal before.
func (k *keeper) take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-k.changed:
		// It is heard of once more.
		k.changed <- struct{}{}
		return errSuperseded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resume starts a replica that rests.
func (k *keeper) resume(ctx context.Context, replica *stream, g goal) error {
	if err := k.take(ctx, k.replicas.making); err != nil {
		return err
	}
	defer func() { <-k.replicas.making }()
	return replica.do(ctx, func(context.Context) error {
		if err := replica.rest(k.to(g), ""); err != nil {
			return err
		}
		replica.startRested()
		return nil
	})
}

// change has a replica run something else, when no other does so: the others go
// on meanwhile. One that cannot take the change is stopped and started with it,
// so that it does not go on with what the stream does not run any more.
func (k *keeper) change(ctx context.Context, replica *stream, g goal) error {
	if err := k.take(ctx, k.replicas.rolling); err != nil {
		return err
	}
	defer func() { <-k.replicas.rolling }()
	return replica.do(ctx, func(ctx context.Context) error {
		err := replica.update(ctx, func(spec) (revised, error) { return k.to(g), nil }, replica.sup.cfg.Timeouts.Stop)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrNotFound) {
			return err
		}
		replica.log.Warn("the replica is started anew for a change that it does not take", zap.Error(err))
		if err := replica.rest(k.to(g), "it does not take a change"); err != nil {
			return err
		}
		replica.startRested()
		return nil
	})
}

// end removes the replica, when it has answered the calls that it has.
func (k *keeper) end(replica *stream) error {
	s := k.replicas.of.sup
	if err := s.store.Update(func(tx *store.Tx) error { return tx.DeleteStream(replica.id) }); err != nil {
		return err
	}
	k.replicas.remove(replica)
	replica.drain(s.cfg.Timeouts.Stop / 2)
	return replica.end(s.root, s.cfg.Timeouts.Stop/2, true)
}

// drain waits for the calls of a runner that gets no more of them.
func (s *stream) drain(patience time.Duration) {
	v := s.seen.Load()
	if v == nil || v.current == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, patience)
	defer cancel()
	v.current.traffic.quiet(ctx, patience)
	// What only reads does not count there.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for v.current.load.Load() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// rest gives the process of a replica back, and has it run something else when
// it is started again. Its folder stays.
func (s *stream) rest(to revised, why string) error {
	if err := s.revert(); err != nil {
		return err
	}
	if s.current != nil {
		timeout := s.sup.cfg.Timeouts.Stop
		s.switching = true
		s.publish()
		s.drain(timeout / 2)
		s.retireKnown(timeout / 2)
	}
	s.retry = nil
	s.forgive()
	if !to.spec.equal(s.spec) {
		back := s.take(to)
		run := s.idleRunner()
		if err := s.sup.keep(s.revision-1, s.record(), &run); err != nil {
			back()
			return err
		}
	}
	s.reason = why
	if s.state == StateIdle {
		s.publish()
		return nil
	}
	if s.state != StateStopping {
		s.retire(0)
	}
	s.keepIdle()
	s.move(eventIdled)
	return nil
}

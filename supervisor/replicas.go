package supervisor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"

	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// replicas keeps as many replicas of a stream as its config asks for, with what
// the stream itself runs. It is a goroutine beside the stream's actor, which
// only looks at what that shows: a stream does not wait for its replicas.
type replicas struct {
	of *stream
	// begin starts the goroutine once there is something to do.
	begin sync.Once
	begun atomic.Bool
	// crowded is told of more calls than there are replicas for, and asked are
	// those who wait until all is as it is to be.
	crowded chan struct{}
	asked   chan chan struct{}

	// mu is held by whoever changes list, the replicas by their numbers, or counts
	// those that take calls.
	mu   sync.Mutex
	list atomic.Pointer[[]*stream]
	// news is closed when one of them shows something new.
	news atomic.Pointer[chan struct{}]
	// turn is whose turn it is among those with equally many calls.
	turn atomic.Uint32
	// aim is what the status shows.
	aim atomic.Pointer[aim]

	// ---- the goroutine's own ----
	scale  scale
	delays *backoff.ExponentialBackOff
}

// aim is what is being striven for.
type aim struct {
	// runners is how many there are to be, the stream's own among them. It is 1
	// until anybody has looked.
	runners int
	// failure is why they are not; empty when they are, or will be soon.
	failure string
}

func newReplicas(of *stream) *replicas {
	r := &replicas{of: of, crowded: make(chan struct{}, 1), asked: make(chan chan struct{})}
	news := make(chan struct{})
	r.news.Store(&news)
	r.list.Store(&[]*stream{})
	r.aim.Store(&aim{runners: 1})
	return r
}

// all are the replicas, those too that are being made.
func (r *replicas) all() []*stream { return *r.list.Load() }

func (r *replicas) add(replica *stream) {
	r.change(func(list []*stream) []*stream {
		list = append(list, replica)
		slices.SortFunc(list, func(a, b *stream) int { return replicaNumber(a.id) - replicaNumber(b.id) })
		return list
	})
	r.start()
}

func (r *replicas) remove(replica *stream) {
	r.change(func(list []*stream) []*stream {
		return slices.DeleteFunc(list, func(st *stream) bool { return st == replica })
	})
}

func (r *replicas) change(change func([]*stream) []*stream) {
	r.mu.Lock()
	list := change(slices.Clone(r.all()))
	r.list.Store(&list)
	r.mu.Unlock()
	r.tell()
}

// told has the others know that a stream, or a replica, shows something new.
func (s *stream) told(v *view) {
	if s.of != nil {
		s.of.replicas.tell()
		return
	}
	if v.spec.options.Replicas.Several() {
		s.replicas.start()
	}
	if s.replicas.begun.Load() {
		s.replicas.tell()
	}
}

// tell counts the runners that take calls, and wakes who waits for one.
func (r *replicas) tell() {
	// Of two at once, the one that counts last has the gate know.
	r.mu.Lock()
	running := 0
	for _, st := range append([]*stream{r.of}, r.all()...) {
		if v := st.seen.Load(); v != nil && v.serves() {
			running++
		}
	}
	r.of.gate.share(running)
	r.mu.Unlock()
	fresh := make(chan struct{})
	close(*r.news.Swap(&fresh))
}

func (r *replicas) start() {
	r.begin.Do(func() {
		r.begun.Store(true)
		r.of.sup.watchers.Go(r.run)
	})
}

// settled waits until the replicas are as the stream is now, or have been tried
// to be made so.
func (r *replicas) settled(ctx context.Context) error {
	if !r.begun.Load() {
		return nil
	}
	done, ask := make(chan struct{}), r.asked
	for {
		select {
		case ask <- done:
			ask = nil
		case <-done:
			return nil
		case <-r.of.life.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run is the goroutine.
func (r *replicas) run() {
	// It is in the store, or about to be.
	select {
	case <-r.of.born:
	case <-r.of.gone:
		return
	}
	var asked []chan struct{}
	for r.of.life.Err() == nil {
		v := r.of.seen.Load()
		if v == nil {
			return
		}
		var again <-chan time.Time
		if wait := r.reconcile(v); wait > 0 {
			again = time.After(wait)
		}
		if r.of.seen.Load() == v {
			for _, done := range asked {
				close(done)
			}
			asked = nil
		}
		select {
		case <-r.of.life.Done():
		case <-r.of.gone:
			return
		case <-v.superseded:
		case <-r.crowded:
		case <-again:
		case done := <-r.asked:
			asked = append(asked, done)
		}
	}
}

// reconcile makes the replicas what they are to be with the stream as v shows
// it. It returns after what time it wants to be called again, 0 for never.
func (r *replicas) reconcile(v *view) (again time.Duration) {
	want, again := r.wanted(v, time.Now())
	if want < 0 {
		return again
	}
	var failures []error
	fail := func(err error) {
		if err != nil && r.of.life.Err() == nil {
			failures = append(failures, err)
		}
	}
	var extra []*stream
	missing := map[int]bool{}
	for number := 2; number <= want; number++ {
		missing[number] = true
	}
	var stay []*stream
	for _, replica := range r.all() {
		number := replicaNumber(replica.id)
		if number > want {
			extra = append(extra, replica)
			continue
		}
		delete(missing, number)
		stay = append(stay, replica)
	}
	fail(r.end(extra))
	fail(r.make(missing, v))
	// One after the other, so that the others go on.
	for _, replica := range stay {
		fail(r.conform(replica, v))
	}
	next := &aim{runners: want}
	if v.paused || v.state == StateIdle {
		next.runners = 0
	}
	err := errors.Join(failures...)
	if err != nil {
		// One line, as every reason is.
		next.failure = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	// It is read from now on.
	r.aim.Store(next)
	if err == nil {
		r.delays = nil
		return again
	}
	r.of.log.Warn("the stream has not the replicas that it is to have", zap.Int("runners", want), zap.String("error", next.failure))
	if r.delays == nil {
		r.delays = r.of.sup.newDelays(v.spec.options.Restart.Backoff)
	}
	if wait := max(r.delays.NextBackOff(), time.Millisecond); again == 0 || wait < again {
		again = wait
	}
	return again
}

// wanted is how many runners the stream is to have; negative while nothing is
// to be changed.
func (r *replicas) wanted(v *view, now time.Time) (runners int, again time.Duration) {
	switch {
	case v.paused || v.state == StateIdle:
		r.scale = scale{}
		r.of.gate.watch(0, nil)
		return 1, 0
	case v.state != StateRunning || v.switching:
		// What has failed or is being replaced has nothing to say yet of how many
		// others there should be.
		return -1, 0
	}
	o := v.spec.options.Replicas
	if !o.Scales() {
		r.of.gate.watch(0, nil)
		return max(o.Max, 1), 0
	}
	inFlight, waiting := r.of.gate.load()
	runners = r.scale.next(o, inFlight+waiting, now)
	if runners < o.Max {
		r.of.gate.watch(runners*o.InFlight, r.crowded)
	} else {
		r.of.gate.watch(0, nil)
	}
	if runners > o.Min {
		again = max(min(o.Cooldown/4, time.Second), 10*time.Millisecond)
	}
	return runners, again
}

// scale follows how many runners the calls of a stream ask for: up at once,
// down when fewer have been enough for a while.
type scale struct {
	runners int
	// peak is the most that was asked for since a time.
	peak  int
	since time.Time
}

// next is how many there are to be for so many calls.
func (s *scale) next(o options.Replicas, calls int, now time.Time) int {
	needed := min(max((calls+o.InFlight-1)/o.InFlight, o.Min), o.Max)
	s.runners = min(s.runners, o.Max)
	if needed >= s.runners {
		*s = scale{runners: needed, since: now}
		return needed
	}
	s.peak = max(s.peak, needed)
	if now.Sub(s.since) >= o.Cooldown {
		*s = scale{runners: s.peak, since: now}
	}
	return s.runners
}

// make creates the replicas of these numbers, all at once.
func (r *replicas) make(numbers map[int]bool, v *view) error {
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for number := range numbers {
		wg.Go(func() {
			if err := r.makeOne(number, v); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *replicas) makeOne(number int, v *view) error {
	s := r.of.sup
	replica, err := s.reserveReplica(r.of.life, r.of, number)
	if err != nil {
		return err
	}
	replica.tell(func() { replica.logLevel = v.logLevel })
	return numbered(number, s.createIn(r.of.life, replica, v.spec.ofReplica(), v.origin, nil, false))
}

// conform has a replica run what the stream itself does. One that cannot take
// the change is ended, for another to be made in its place.
func (r *replicas) conform(replica *stream, v *view) error {
	select {
	case <-replica.born:
	case <-replica.gone:
		return nil
	case <-r.of.life.Done():
		return nil
	}
	now := replica.seen.Load()
	if now == nil {
		return nil
	}
	var err error
	if !now.spec.equal(v.spec) {
		err = replica.do(r.of.life, func(ctx context.Context) error {
			return replica.update(ctx, func(spec) (revised, error) { return revised{v.spec.ofReplica(), v.origin}, nil }, r.of.sup.cfg.Timeouts.Stop)
		})
	}
	if err == nil && now.logLevel != v.logLevel {
		err = replica.setLogLevel(r.of.life, v.logLevel)
	}
	if err == nil || errors.Is(err, ErrNotFound) || r.of.life.Err() != nil {
		return nil
	}
	return errors.Join(numbered(replicaNumber(replica.id), err), r.end([]*stream{replica}))
}

// end removes replicas, all at once, when they have answered the calls that
// they have.
func (r *replicas) end(leaving []*stream) error {
	if len(leaving) == 0 {
		return nil
	}
	s := r.of.sup
	err := s.store.Update(func(tx *store.Tx) error {
		for _, replica := range leaving {
			if err := tx.DeleteStream(replica.id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, replica := range leaving {
		r.remove(replica)
	}
	var wg sync.WaitGroup
	for _, replica := range leaving {
		wg.Go(func() {
			patience := s.cfg.Timeouts.Stop / 2
			if v := replica.seen.Load(); v != nil && v.current != nil {
				v.current.traffic.quiet(replica.life, patience)
			}
			_ = replica.end(s.root, patience, true)
		})
	}
	wg.Wait()
	return nil
}

package supervisor

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"penstock/supervisor/options"
)

// replicas keeps as many replicas of a stream as its config asks for, with what
// the stream itself runs. It is a goroutine beside the stream's actor, which
// only looks at what that shows, and one for each replica: a stream does not
// wait for its replicas, nor these for each other.
type replicas struct {
	of *stream
	// begin starts the goroutine once there is something to do.
	begin sync.Once
	begun atomic.Bool
	// crowded is told of more calls than there are replicas for, asked are those
	// who wait until all is as it is to be, and tried is told when a replica has
	// done something for that.
	crowded chan struct{}
	asked   chan chan struct{}
	tried   chan struct{}

	// mu is held by whoever changes list, the replicas by their numbers, counts
	// those that take calls, or chooses one of them.
	mu   sync.Mutex
	list atomic.Pointer[[]*stream]
	// news is closed when one of them shows something new.
	news atomic.Pointer[chan struct{}]
	// turn is whose turn it is among those with equally many calls.
	turn int
	// aim is what the status shows.
	aim atomic.Pointer[aim]

	// rolling is held by the replica that is being changed, one after the other.
	// making is held by those that are being made.
	rolling, making chan struct{}

	// ---- the goroutine's own ----
	scale   scale
	keepers map[int]*keeper
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
	r := &replicas{
		of: of, crowded: make(chan struct{}, 1), asked: make(chan chan struct{}), tried: make(chan struct{}, 1),
		rolling: make(chan struct{}, 1), keepers: map[int]*keeper{},
	}
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
		if v := st.seen.Load(); v != nil && v.serves() && !v.switching && !v.current.leaving {
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
		r.making = make(chan struct{}, r.of.sup.cfg.Concurrency)
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
		news := *r.news.Load()
		v := r.of.seen.Load()
		if v == nil {
			return
		}
		var again <-chan time.Time
		if wait := r.direct(v); wait > 0 {
			again = time.After(wait)
		}
		r.show(v)
		if len(asked) > 0 && r.of.seen.Load() == v && r.allTried() {
			for _, done := range asked {
				close(done)
			}
			asked = nil
		}
		r.closeUnused(v)
		select {
		case <-r.of.life.Done():
		case <-r.of.gone:
			return
		case <-v.superseded:
		case <-news:
		case <-r.tried:
		case <-r.crowded:
		case <-again:
		case done := <-r.asked:
			asked = append(asked, done)
		}
	}
}

// direct gives every replica its goal, as v shows the stream. It returns after
// what time it wants to be called again, 0 for never.
func (r *replicas) direct(v *view) (again time.Duration) {
	o := v.spec.options.Replicas
	switch {
	case v.paused || v.state == StateIdle:
		r.scale = scale{}
		r.of.gate.watch(0, nil)
		for _, k := range r.known(o) {
			k.set(goal{view: v, why: "the stream is " + string(v.state)})
		}
		return 0
	case v.switching, v.state == StatePending, v.state == StateStarting, v.state == StateStopping:
		// It is not known yet what there is to run.
		return 0
	}
	known := r.known(o)
	running := map[int]*keeper{}
	for number, k := range known {
		if k.goal.run {
			running[number] = k
		}
	}
	want, again := r.wanted(v, len(running))
	for number := o.Max; len(running) > want-1 && number > 1; number-- {
		// One that has nothing to do, so that no call is cut off.
		if k := running[number]; k != nil && r.takeOut(number) {
			delete(running, number)
			k.set(goal{view: v, why: "fewer are enough for the calls there are"})
		}
	}
	if len(running) > want-1 {
		again = soon
	}
	for number := 2; len(running) < want-1 && number <= o.Max; number++ {
		if running[number] != nil {
			continue
		}
		if known[number] == nil {
			known[number] = r.keeper(number)
		}
		running[number] = known[number]
	}
	for number, k := range known {
		switch {
		case running[number] != nil:
			k.set(goal{view: v, run: true})
		case !k.goal.run:
			k.set(goal{view: v, why: k.goal.why})
		}
	}
	return again
}

// soon is when to look again whether a runner has nothing to do.
const soon = 250 * time.Millisecond

// known are the keepers of replicas that the stream may have by its options. The
// others are told to go.
func (r *replicas) known(o options.Replicas) map[int]*keeper {
	for _, replica := range r.all() {
		number := replicaNumber(replica.id)
		if r.keepers[number] == nil {
			// An earlier supervisor has made it.
			k := r.keeper(number)
			v := replica.seen.Load()
			if k.goal.run = v == nil || v.state != StateIdle; !k.goal.run {
				k.goal.why = v.reason
			}
		}
	}
	out := map[int]*keeper{}
	for number, k := range r.keepers {
		switch {
		case k.ended():
			delete(r.keepers, number)
		case number > o.Max:
			k.set(goal{gone: true})
		default:
			out[number] = k
		}
	}
	return out
}

// wanted is how many runners the stream is to have, of which so many replicas
// run now.
func (r *replicas) wanted(v *view, replicas int) (runners int, again time.Duration) {
	o := v.spec.options.Replicas
	if !o.Scales() {
		r.scale = scale{}
		r.of.gate.watch(0, nil)
		return max(o.Max, 1), 0
	}
	now := time.Now()
	if r.scale.runners == 0 && replicas > 0 {
		// They had their reasons.
		r.scale = scale{runners: replicas + 1, since: now}
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

// takeOut has a replica get no more calls, if it has none.
func (r *replicas) takeOut(number int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, replica := range r.all() {
		v := replica.seen.Load()
		if replicaNumber(replica.id) != number || v == nil || v.current == nil {
			continue
		}
		if v.current.load.Load() > 0 {
			return false
		}
		v.current.leaving = true
	}
	return true
}

// show has the status tell what is striven for.
func (r *replicas) show(v *view) {
	next, last := &aim{runners: 1}, r.aim.Load()
	if v.paused || v.state == StateIdle {
		next.runners = 0
	}
	var failures []string
	for _, number := range slices.Sorted(maps.Keys(r.keepers)) {
		k := r.keepers[number]
		if k.goal.run {
			next.runners++
		}
		if err := k.failure(); err != nil {
			// One line, as every reason is.
			failures = append(failures, strings.ReplaceAll(numbered(number, err).Error(), "\n", "; "))
		}
	}
	next.failure = strings.Join(failures, "; ")
	r.aim.Store(next)
	if next.failure != "" && next.failure != last.failure {
		r.of.log.Warn("the stream has not the replicas that it is to have", zap.Int("runners", next.runners), zap.String("error", next.failure))
	}
}

// allTried says that every replica is what it is to be, or could not be made so.
func (r *replicas) allTried() bool {
	for _, k := range r.keepers {
		if !k.hasTried() {
			return false
		}
	}
	return true
}

// closeUnused closes the own listener of a stream of which no runner is left nor
// comes back.
func (r *replicas) closeUnused(v *view) {
	if v.state != StateFinished && v.state != StateFailed {
		return
	}
	for _, replica := range r.all() {
		if rv := replica.seen.Load(); rv == nil || rv.state != StateFinished && rv.state != StateFailed && rv.state != StateIdle {
			return
		}
	}
	r.of.sup.sockets.retain(r.of.id, "")
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

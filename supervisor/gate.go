package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"penstock/supervisor/options"
)

// gate lets no more calls to a stream at a time than it wants, and has others
// wait for their turn, in order. It is the stream's and not a runner's: a
// runner that is replaced leaves its calls to the next.
type gate struct {
	mu sync.Mutex
	// limit and queue are the stream's, of which set alone takes note: what a
	// caller has read of them may be of earlier. limit is for all runners that
	// take calls, and each for one of them.
	limit, queue  int
	each, runners int
	inFlight      int
	// above is how many calls there may be before crowded is told; 0 for any
	// number.
	above   int
	crowded chan<- struct{}
	// since is when the last call left.
	since time.Time
	// waiting are those who wait, the first first. Each is closed at its turn.
	waiting []chan struct{}
}

// errLate is that the time which a stream gives its calls has passed.
var errLate = errors.New("its time has passed")

// enter waits for a call's turn. The error wraps ErrBusy when too many wait
// already, is the context's, or errLate when late has come.
func (g *gate) enter(ctx context.Context, late <-chan time.Time) error {
	g.mu.Lock()
	if g.limit <= 0 || g.inFlight < g.limit && len(g.waiting) == 0 {
		g.inFlight++
		g.tell()
		g.mu.Unlock()
		return nil
	}
	if len(g.waiting) >= g.queue {
		defer g.mu.Unlock()
		return fmt.Errorf("%w: it answers %d calls, and %d wait (runtime.http.max_in_flight and queue): try again later",
			ErrBusy, g.inFlight, len(g.waiting))
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.tell()
	g.mu.Unlock()
	var err error
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-late:
		err = errLate
	}
	g.mu.Lock()
	i := slices.Index(g.waiting, turn)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		// Its turn has come just now, and goes to the next.
		g.leave()
	}
	return err
}

// leave ends a call that has entered.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	if g.inFlight == 0 {
		g.since = time.Now()
	}
	g.next()
}

// next lets in whose turn it is.
func (g *gate) next() {
	for len(g.waiting) > 0 && (g.limit <= 0 || g.inFlight < g.limit) {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.inFlight++
	}
}

// set takes a limit that was changed.
func (g *gate) set(http options.HTTP) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.each, g.queue = http.MaxInFlight, http.Queue
	g.limit = g.each * max(g.runners, 1)
	g.next()
}

// share takes note of how many runners take calls.
func (g *gate) share(runners int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runners = runners
	g.limit = g.each * max(g.runners, 1)
	g.next()
}

// watch has crowded told of calls once there are more than above at a time; 0
// ends that. It is told now if there are.
func (g *gate) watch(above int, crowded chan<- struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.above, g.crowded = above, crowded
	g.tell()
}

// tell tells who watches.
func (g *gate) tell() {
	if g.above == 0 || g.inFlight+len(g.waiting) <= g.above {
		return
	}
	select {
	case g.crowded <- struct{}{}:
	default:
	}
}

// begin counts the time without calls from now on.
func (g *gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = time.Now()
}

// quietFor is how long there have to be no calls from now on until there were
// none for so long; 0 when that is so.
func (g *gate) quietFor(timeout time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inFlight > 0 {
		return timeout
	}
	return max(timeout-time.Since(g.since), 0)
}

// load is how many calls there are, and how many wait.
func (g *gate) load() (inFlight, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inFlight, len(g.waiting)
}

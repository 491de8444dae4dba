package processors

import (
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// lookEvery is after how many calls the clock is looked at, and lookTime how
	// much of it a look is about.
	lookEvery = 64
	lookTime  = 100 * time.Millisecond
	// manyCalls is how many calls a second are worth it.
	manyCalls = 100
	// sparesOthers is how much of a processor the process may take to be left
	// one, and needsMore when one is not enough. With one it takes less for the
	// same calls, and must not change its mind for that.
	sparesOthers, needsMore = 0.75, 0.85
	// restless is how often its threads go to sleep for a call: where they have so
	// much to do that they hardly sleep, nothing is to be gained.
	restless = 0.25
	// lateAfter is for how long a goroutine that is ready may wait for a processor,
	// and mostLate how many may wait for longer, for a call; the runtime looks at
	// one in eight. They do where another one computes or waits for a disk, or the
	// process gets less of its processor than it wants: then it would never be
	// seen to take needsMore.
	lateAfter = 500 * time.Microsecond
	mostLate  = 0.01
	// otherTime is how long the process has all processors after it has done
	// something else than pass calls on, or after one was not enough.
	otherTime = 2 * time.Second
)

// Governor decides for the process how many processors it uses. The nil
// Governor leaves that as it is.
type Governor struct {
	// set takes one processor, or all.
	set func(one bool)
	now func() time.Time
	// used is what the process has used so far.
	used func() usage

	calls atomic.Int64

	mu   sync.Mutex
	one  bool
	last sample
	// until is before when all are needed, and fixed says that they always are.
	until time.Time
	fixed bool
	// again looks whether one is still enough, while there is one.
	again *time.Timer
}

// sample is what was counted until a time.
type sample struct {
	at    time.Time
	calls int64
	usage
}

// usage is CPU time, how often threads have gone to sleep, and how many
// goroutines have waited for longer than lateAfter.
type usage struct {
	cpu          time.Duration
	sleeps, late int64
}

// New is for a process that has so many processors. It returns nil where there
// is no choice, or where the operator has made it.
func New(processors int) *Governor {
	if processors < 2 || os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return &Governor{now: time.Now, used: meter(), set: func(one bool) {
		if one {
			runtime.GOMAXPROCS(1)
		} else {
			// As many as the cgroup gives by now.
			runtime.SetDefaultGOMAXPROCS()
		}
	}}
}

// meter returns Governor.used of this process.
func meter() func() usage {
	waits := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	return func() usage {
		var r syscall.Rusage
		if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
			return usage{}
		}
		metrics.Read(waits)
		return usage{cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano()), sleeps: r.Nvcsw, late: late(waits[0].Value)}
	}
}

// late counts the waits that were too long.
func late(waits metrics.Value) int64 {
	if waits.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	histogram, n := waits.Float64Histogram(), uint64(0)
	for i, count := range histogram.Counts {
		if histogram.Buckets[i] >= lateAfter.Seconds() {
			n += count
		}
	}
	return int64(n)
}

// Call takes note of a call that is passed on.
func (g *Governor) Call() {
	if g != nil && g.calls.Add(1)%lookEvery == 0 && g.mu.TryLock() {
		defer g.mu.Unlock()
		g.look()
	}
}

// Other takes note of anything else. It may wait for the disk, and must not have
// the calls wait with it: all processors are there once it returns.
func (g *Governor) Other() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all()
}

// Fix leaves the choice to somebody else from now on, who makes it after this.
func (g *Governor) Fix(fixed bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all()
	g.fixed = fixed
}

// all takes all processors, for some time at least.
func (g *Governor) all() {
	g.until = g.now().Add(otherTime)
	if g.one {
		g.one = false
		g.again.Stop()
		g.set(false)
	}
}

// look decides by what has happened since the last time.
func (g *Governor) look() {
	now := g.now()
	passed := now.Sub(g.last.at)
	if g.fixed || passed < lookTime {
		return
	}
	before := g.last
	g.last = sample{at: now, calls: g.calls.Load(), usage: g.used()}
	calls := float64(g.last.calls - before.calls)
	rate, cpu := calls/passed.Seconds(), float64(g.last.cpu-before.cpu)/float64(passed)
	late := float64(g.last.late-before.late) > mostLate*calls
	switch {
	case g.one:
		if rate < manyCalls/2 || cpu > needsMore || late {
			g.all()
		}
	case rate < manyCalls || cpu > sparesOthers || late || now.Before(g.until):
	case float64(g.last.sleeps-before.sleeps) >= restless*calls:
		g.one = true
		g.set(true)
		g.again = time.AfterFunc(lookTime, g.lookAgain)
	}
}

// lookAgain looks though no calls may come any more.
func (g *Governor) lookAgain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.one {
		g.look()
	}
	if g.one {
		g.again.Reset(lookTime)
	}
}

package supervisor

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v3/mem"
	"go.uber.org/zap"

	"penstock/supervisor/process"
	"penstock/supervisor/stats"
)

const (
	// quiet is how long after a start no runner is started ahead: a stream that
	// has just been made is called first.
	quiet = 5 * time.Millisecond
	// patrol is how often the pool is looked at when nothing happens.
	patrol = 10 * time.Second
	// The waits after runners that could not be started ahead, or taken.
	minWarmDelay, maxWarmDelay = time.Second, time.Minute
)

// pool has runners ready that were started ahead. They are confined as a
// stream's is, and have seen nobody's config. Each is taken once.
type pool struct {
	s    *Supervisor
	cfg  WarmPool
	wake chan struct{}
	// processors is how many the host, or its cgroup, gives.
	processors int

	mu   sync.Mutex
	warm []*warmRunner
	// shut is set at the end: nobody gets one any more.
	shut bool
	// busy counts the starts of streams that are under way; the last one ended
	// at lastBusy.
	busy     int
	lastBusy time.Time
	arrivals []time.Time
	// failures in a row have it wait until retry.
	failures int
	retry    time.Time
	// each is what one takes, in bytes.
	each int64
	// useless are the files, with a binary that knows nothing of being started
	// ahead.
	useless string
}

// warmRunner is a runner that is nobody's yet.
type warmRunner struct {
	started
	// in is what it was started in, with so many files at most.
	in    process.Confinement
	files uint64
	// of are the files of the host that it was started with.
	of string
	// taken is closed when it leaves the pool.
	taken chan struct{}
}

func newPool(s *Supervisor) *pool {
	return &pool{s: s, cfg: s.cfg.WarmPool, wake: make(chan struct{}, 1), processors: runtime.GOMAXPROCS(0), each: warmBytes}
}

// run keeps the pool filled until the context ends, and then ends what is in it.
func (p *pool) run(ctx context.Context) {
	if p.cfg.Size == 0 {
		return
	}
	for ctx.Err() == nil {
		pause := time.NewTimer(p.look(ctx))
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-pause.C:
		}
		pause.Stop()
	}
	p.mu.Lock()
	p.shut = true
	left := p.warm
	p.warm = nil
	p.mu.Unlock()
	p.end(left)
}

// nudge has the pool looked at soon.
func (p *pool) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// look ends what is of no use, starts a runner if one is missing and nobody is in
// its way, and says how long nothing else will have to be done.
func (p *pool) look(ctx context.Context) time.Duration {
	host := p.s.hostFiles()
	p.end(p.drop(func(w *warmRunner) bool { return w.of != host }))
	p.mu.Lock()
	wait := max(time.Until(p.lastBusy.Add(quiet)), time.Until(p.retry))
	free := p.spare()
	p.mu.Unlock()
	switch {
	case !free:
		return patrol // Whoever is in the way nudges when it is not any more.
	case wait > 0:
		return wait
	}
	size := p.size(ctx)
	p.end(p.surplus(size))
	p.mu.Lock()
	missing := len(p.warm) < size && p.useless != host
	p.mu.Unlock()
	if !missing {
		return patrol
	}
	w, err := p.s.startAhead(ctx, host)
	p.came(ctx, host, w, err)
	return 0
}

// came takes what a start ahead has come to.
func (p *pool) came(ctx context.Context, host string, w *warmRunner, err error) {
	switch {
	case ctx.Err() != nil:
		// The end of the supervisor came while it started: nobody else knows it.
		if w != nil {
			w.kill()
		}
	case err != nil:
		p.failed("a runner cannot be started ahead: streams are started without", err)
	case w == nil:
		p.mu.Lock()
		p.useless = host
		p.mu.Unlock()
		p.s.log.Info("the runner's binary cannot be started ahead, since it is of an older version")
	default:
		p.add(ctx, w)
	}
}

// size is how many runners there are to be.
func (p *pool) size(ctx context.Context) int {
	p.mu.Lock()
	size := int(p.cfg.Size)
	if p.cfg.Size == WarmAuto {
		size = wantedWarm(p.arrivals, time.Now(), p.cfg.Max)
	}
	m := warmMemory{each: p.each, have: len(p.warm), bound: p.cfg.Memory}
	p.mu.Unlock()
	host, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0
	}
	m.available = int64(host.Available)
	m.budget, m.total, m.promised = p.s.confiner.rooms.figures()
	return min(size, m.room())
}

// add puts a runner into the pool that has just been started.
func (p *pool) add(ctx context.Context, w *warmRunner) {
	// Those that share most of their memory count for their part of it.
	figures, err := stats.ReadProcess(ctx, w.proc.PID())
	p.mu.Lock()
	if bytes := max(figures.PSSBytes, figures.RSSBytes/2); err == nil && bytes > 0 {
		p.each = int64(bytes)
	}
	p.warm = append(p.warm, w)
	p.count()
	p.mu.Unlock()
	p.s.watchers.Go(func() {
		select {
		case <-w.taken:
		case <-w.proc.Exited():
			if gone := p.drop(func(other *warmRunner) bool { return other == w }); len(gone) > 0 {
				p.failed("a runner that was started ahead has ended", errString(w.proc.Exit().String()))
				p.end(gone)
			}
		}
	})
}

// take returns a runner that can become what the confinement says; nil when there
// is none. It is the caller's from then on.
func (p *pool) take(c process.Confinement) *warmRunner {
	host := p.s.hostFiles()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.warm {
		if w.alive() && w.of == host && process.Fits(w.in, c, w.files) {
			p.warm = slices.Delete(p.warm, i, i+1)
			close(w.taken)
			p.count()
			return w
		}
	}
	return nil
}

// empty says that there is nothing to take.
func (p *pool) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.warm) == 0
}

// begin takes note that a runner is needed for a stream; done is to be called
// when it has been started.
func (p *pool) begin() (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
	p.arrivals = arrived(p.arrivals, time.Now())
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy--
		p.lastBusy = time.Now()
		if p.spare() {
			p.nudge()
		}
	}
}

// spare says that streams which are being started leave a processor for one that
// is started ahead. The caller holds the lock.
func (p *pool) spare() bool { return p.busy < max(1, p.processors) }

// drop takes those out of the pool that are of no use.
func (p *pool) drop(useless func(*warmRunner) bool) (dropped []*warmRunner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warm = slices.DeleteFunc(p.warm, func(w *warmRunner) bool {
		if !useless(w) {
			return false
		}
		dropped = append(dropped, w)
		return true
	})
	p.count()
	return dropped
}

// surplus takes those out of the pool that are more than size.
func (p *pool) surplus(size int) []*warmRunner {
	keep := 0
	return p.drop(func(*warmRunner) bool {
		keep++
		return keep > size
	})
}

// end ends runners that are in the pool no more.
func (p *pool) end(runners []*warmRunner) {
	var wg sync.WaitGroup
	for _, w := range runners {
		wg.Go(w.kill)
	}
	wg.Wait()
}

// failed takes note of what went wrong, and has the pool wait for longer each
// time in a row.
func (p *pool) failed(what string, err error) {
	p.mu.Lock()
	delay := min(minWarmDelay<<min(p.failures, 6), maxWarmDelay)
	p.failures++
	p.retry = time.Now().Add(delay)
	first := p.failures == 1
	p.mu.Unlock()
	log := p.s.log.Debug
	if first {
		log = p.s.log.Warn
	}
	log(what, zap.Error(err), zap.Duration("next_attempt_in", delay))
	p.nudge()
}

// served takes note that a runner has become a stream's.
func (p *pool) served() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = 0
}

// count tells how many there are. The caller holds the lock.
func (p *pool) count() { p.s.telemetry.Warm(len(p.warm)) }

// errString is a text as an error.
type errString string

func (e errString) Error() string { return string(e) }

func (w *warmRunner) alive() bool {
	select {
	case <-w.proc.Exited():
		return false
	default:
		return true
	}
}

func (w *warmRunner) kill() {
	w.followed.unwatch()
	w.proc.Kill()
}

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// loadTimeout bounds one request of a load; a slower one has failed.
const loadTimeout = 5 * time.Second

// load is a set of loops that ask again and again, each from a warm connection
// of its own, until stop. Every request counts.
type load struct {
	// where the requests are sent from; to be set before the first loop, if it
	// is not the host.
	where    place
	stopping chan struct{}
	loops    sync.WaitGroup

	mu       sync.Mutex
	took     []time.Duration
	failures []string
}

func newLoad(t testing.TB) *load {
	l := &load{where: host{}, stopping: make(chan struct{})}
	t.Cleanup(l.stop)
	return l
}

// echo posts to an echo stream, every so often.
func (l *load) echo(base, id, tag string, every time.Duration) {
	l.loop(base, every, func(ctx context.Context, c *client, n int) error {
		return echoed(ctx, c, "/"+id+"/post", tag, strconv.Itoa(n))
	})
}

// loop calls ask every so often, with the number of the call.
func (l *load) loop(base string, every time.Duration, ask func(ctx context.Context, c *client, n int) error) {
	l.loops.Go(func() {
		c := newClientIn(l.where, base)
		defer c.close()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.stopping:
				return
			case <-tick.C:
			}
			ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
			began := time.Now()
			err := ask(ctx, c, n)
			took := time.Since(began)
			cancel()
			l.mu.Lock()
			l.took = append(l.took, took)
			if err != nil {
				l.failures = append(l.failures, fmt.Sprintf("request %d at %s: %v", n, began.Format("15:04:05.000"), err))
			}
			l.mu.Unlock()
		}
	})
}

// stop ends the loops after the requests they are at.
func (l *load) stop() {
	l.mu.Lock()
	select {
	case <-l.stopping:
	default:
		close(l.stopping)
	}
	l.mu.Unlock()
	l.loops.Wait()
}

// summary is what a load saw, once it was stopped.
type summary struct {
	Count     int
	P99, Max  time.Duration
	Failures  []string
	NFailures int
}

func (s summary) String() string {
	return fmt.Sprintf("%d requests, %d failed, p99 %s, max %s", s.Count, s.NFailures, s.P99, s.Max)
}

// sum stops the load and tells what it saw, with the first few failures.
func (l *load) sum() summary {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := summary{Count: len(l.took), NFailures: len(l.failures), Failures: l.failures[:min(5, len(l.failures))]}
	if s.Count > 0 {
		slices.Sort(l.took)
		s.P99 = l.took[(s.Count-1)*99/100].Round(10 * time.Microsecond)
		s.Max = l.took[s.Count-1].Round(10 * time.Microsecond)
	}
	return s
}

// cpuQueue tells how long processes were kept waiting for a CPU. On a machine
// that others use as well, latencies are theirs to that extent.
type cpuQueue struct {
	pids []int
	// waited is the sum of each thread so far, by process and thread.
	waited map[int]map[string]time.Duration
}

func newCPUQueue(pids ...int) *cpuQueue {
	q := &cpuQueue{pids: pids, waited: map[int]map[string]time.Duration{}}
	q.since()
	return q
}

// since tells how long it was since the last call, for the thread that waited
// longest: the least that can be said, since others may have waited before it
// or after.
func (q *cpuQueue) since() time.Duration {
	var longest time.Duration
	for _, pid := range q.pids {
		now := cpuWaits(pid)
		for thread, waited := range now {
			longest = max(longest, waited-q.waited[pid][thread])
		}
		q.waited[pid] = now
	}
	return longest
}

// cpuWaits reads how long each thread of a process has waited for a CPU. It is
// empty where the kernel does not count that.
func cpuWaits(pid int) map[string]time.Duration {
	files, _ := filepath.Glob(procFile(pid, "task/*/schedstat"))
	waits := map[string]time.Duration{}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if f := strings.Fields(string(stat)); err == nil && len(f) > 1 {
			ns, _ := strconv.ParseInt(f[1], 10, 64)
			waits[file] = time.Duration(ns)
		}
	}
	return waits
}

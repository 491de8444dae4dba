package processors

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// world is a process whose time is the test's.
type world struct {
	*Governor
	at    time.Time
	usage usage
	one   bool
	sets  int
}

func newWorld() *world {
	w := &world{at: time.Unix(1000, 0)}
	w.Governor = &Governor{
		now:  func() time.Time { return w.at },
		used: func() usage { return w.usage },
		set:  func(one bool) { w.one = one; w.sets++ },
	}
	return w
}

// pass lets a second pass with so many calls, so much of a processor, and so
// many times that a thread goes to sleep for each call.
func (w *world) pass(calls int, cpu, sleeps float64) {
	const steps = 10
	for range steps {
		w.at = w.at.Add(time.Second / steps)
		w.usage.cpu += time.Duration(cpu * float64(time.Second/steps))
		w.usage.sleeps += int64(sleeps * float64(calls/steps))
		for range calls / steps {
			w.Call()
		}
		w.mu.Lock()
		if w.Governor.one {
			w.look()
		}
		w.mu.Unlock()
	}
}

func (w *world) quit() { w.Fix(true) }

func TestOneProcessorForManyCalls(t *testing.T) {
	w := newWorld()
	defer w.quit()
	w.pass(5000, 0.5, 1)
	assert.True(t, w.one)
	w.pass(5000, 0.8, 0.1)
	assert.True(t, w.one, "it changed its mind for little")
	assert.Equal(t, 1, w.sets)
}

func TestAllProcessorsWhereOneDoesNotHelp(t *testing.T) {
	for name, c := range map[string]struct {
		calls       int
		cpu, sleeps float64
	}{
		"few calls":      {50, 0.1, 5},
		"much to do":     {20000, 0.8, 1},
		"nobody sleeps":  {20000, 0.5, 0.1},
		"nothing at all": {0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.pass(c.calls, c.cpu, c.sleeps)
			assert.Zero(t, w.sets)
		})
	}
}

func TestAllProcessorsAgain(t *testing.T) {
	for name, then := range map[string]func(*world){
		"more to do":     func(w *world) { w.pass(20000, 0.95, 0.1) },
		"fewer calls":    func(w *world) { w.pass(20, 0.1, 1) },
		"no calls":       func(w *world) { w.pass(0, 0, 0) },
		"some are late":  func(w *world) { w.usage.late += 100; w.pass(1000, 0.5, 1) },
		"something else": func(w *world) { w.Other() },
		"others decide":  func(w *world) { w.Fix(true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			defer w.quit()
			w.pass(5000, 0.5, 1)
			assert.True(t, w.one)
			then(w)
			assert.False(t, w.one)
			assert.Equal(t, 2, w.sets)
		})
	}
}

func TestAllProcessorsForAWhileAfterSomethingElse(t *testing.T) {
	w := newWorld()
	defer w.quit()
	for range 5 {
		w.Other()
		w.pass(5000, 0.5, 1)
		assert.False(t, w.one)
	}
	w.pass(5000, 0.5, 1)
	assert.True(t, w.one)
}

func TestFixed(t *testing.T) {
	w := newWorld()
	w.Fix(true)
	w.pass(5000, 0.5, 1)
	w.pass(5000, 0.5, 1)
	assert.Zero(t, w.sets)
	w.Fix(false)
	w.pass(5000, 0.5, 1)
	w.pass(5000, 0.5, 1)
	assert.True(t, w.one)
	w.quit()
}

func TestNoGovernorWhereTheOperatorHasChosen(t *testing.T) {
	t.Setenv("GOMAXPROCS", "4")
	g := New(2)
	assert.Nil(t, g)
	g.Call()
	g.Other()
	g.Fix(true)
}

// What it does to the process is undone by itself once nobody calls any more.
func TestOfThisProcess(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	// Two do on any machine: it is about how many are used.
	before := max(runtime.GOMAXPROCS(0), 2)
	t.Cleanup(func() { runtime.SetDefaultGOMAXPROCS() })
	runtime.GOMAXPROCS(before)
	g := New(before)
	at := time.Now()
	g.now = func() time.Time { return at }
	g.used = func() usage { return usage{sleeps: g.calls.Load()} }
	for range 2 * lookEvery {
		for range lookEvery {
			g.Call()
		}
		at = at.Add(lookTime / 10)
	}
	assert.Equal(t, 1, runtime.GOMAXPROCS(0))
	g.mu.Lock()
	g.now = time.Now
	g.mu.Unlock()
	assert.Eventually(t, func() bool { return runtime.GOMAXPROCS(0) == before }, 10*time.Second, 10*time.Millisecond)
}

// A goroutine that computes makes others late where there is one processor.
func TestLate(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	used := meter()
	before := used()
	done := make(chan struct{})
	const all = 64
	for range all {
		go func() {
			for begun := time.Now(); time.Since(begun) < time.Millisecond; {
			}
			done <- struct{}{}
		}()
	}
	for range all {
		<-done
	}
	after := used()
	assert.GreaterOrEqual(t, after.late-before.late, int64(1))
	assert.Greater(t, after.cpu, before.cpu)
}

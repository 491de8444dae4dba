package runner

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"penstock/rpc"
)

const (
	// usualGC is the garbage collector's target of a runner that is not busy, in
	// percent of what is alive, and busyGC that of one that is: it collects a
	// third as often, for up to twice the memory.
	usualGC, busyGC = 100, 300
	// startGC is rpc.StartGOGC.
	startGC = 400
	// busyCycle is how soon one collection follows another when it is busy, and
	// busyCycles how many of them in a row say so.
	busyCycle  = 250 * time.Millisecond
	busyCycles = 4
	// calmTime is how long no collection was due when it is not any more.
	calmTime = 5 * time.Second
)

// collector adapts the garbage collector's target to what a runner does. A
// stream that has much to do would collect ten times a second otherwise, since
// little is alive at a time; one that has not gives the memory back. It wakes
// nobody who has nothing to do: what tells it is the end of each collection.
type collector struct {
	setTarget func(percent int)
	giveBack  func()
	now       func() time.Time

	mu   sync.Mutex
	last time.Time
	soon int
	busy bool
	calm *time.Timer
}

// collectsAsStarted says that the operator has not chosen a target.
func collectsAsStarted() bool {
	target := os.Getenv("GOGC")
	return target == rpc.StartGOGC || target == rpc.AheadGOGC
}

// hurryCollector lets a runner that was started ahead build and begin its stream
// with as few collections as one that was not.
func hurryCollector() {
	if os.Getenv("GOGC") == rpc.AheadGOGC {
		debug.SetGCPercent(startGC)
	}
}

// adaptCollector begins it, unless the operator has chosen a target.
func adaptCollector() {
	if !collectsAsStarted() {
		return
	}
	debug.SetGCPercent(usualGC)
	c := &collector{
		setTarget: func(percent int) { debug.SetGCPercent(percent) },
		giveBack:  debug.FreeOSMemory,
		now:       time.Now,
	}
	c.awaitCycle()
}

// awaitCycle has collected called at the end of the next collection.
func (c *collector) awaitCycle() {
	// It is garbage at once. Larger than what the runtime packs with others.
	runtime.AddCleanup(new([64]byte), func(c *collector) {
		c.collected()
		c.awaitCycle()
	}, c)
}

// collected takes note of a collection.
func (c *collector) collected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.last) < busyCycle {
		c.soon++
	} else {
		c.soon = 0
	}
	c.last = now
	switch {
	case c.busy:
		c.calm.Reset(calmTime)
	case c.soon >= busyCycles:
		c.busy = true
		c.setTarget(busyGC)
		c.calm = time.AfterFunc(calmTime, c.calmed)
	}
}

// calmed goes back to the usual target.
func (c *collector) calmed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.last) < calmTime {
		// A collection came just now.
		c.calm.Reset(calmTime)
		return
	}
	c.busy, c.soon = false, 0
	c.setTarget(usualGC)
	c.giveBack()
}

package supervisor

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// lull is for how long the process may have allocated next to nothing, which
	// is lullBytes, before it counts as having nothing to do.
	lull      = 500 * time.Millisecond
	lullBytes = 256 << 10
	// worthwhile is how much there has to be to give back, in bytes.
	worthwhile = 8 << 20
	// rarely is the least time between two times that something is given back: a
	// collection costs a tenth of a second of one core where there are a thousand
	// streams.
	rarely = 10 * time.Second
)

// thrift gives the memory back that is left over when many streams have been
// started or asked. Go's collector lets as much be garbage as is alive, and
// where nothing happens any more nothing would have it look.
//
// It wakes nobody who has nothing to do: what tells it is the end of each
// collection, and from then on it looks until there is a lull.
type thrift struct {
	used     func() heap
	giveBack func()
	now      func() time.Time

	mu      sync.Mutex
	looking *time.Timer
	// allocated is what had been at the last look, given when something was given
	// back.
	allocated uint64
	given     time.Time
	ended     bool
}

// heap is the heap of the process, in bytes.
type heap struct {
	// allocated is all that ever was, spare what is garbage or not in use.
	allocated, spare uint64
}

// beThrifty begins it. Where the operator has told Go's runtime how to collect it
// does nothing.
func beThrifty() *thrift {
	t := &thrift{used: heapMeter(), giveBack: debug.FreeOSMemory, now: time.Now}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		t.awaitCycle()
	}
	return t
}

// heapMeter returns thrift.used of this process.
func heapMeter() func() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	return func() heap {
		metrics.Read(samples)
		objects, live := samples[1].Value.Uint64(), samples[2].Value.Uint64()
		return heap{allocated: samples[0].Value.Uint64(), spare: objects - min(live, objects) + samples[3].Value.Uint64()}
	}
}

// awaitCycle has it look after the next collection.
func (t *thrift) awaitCycle() {
	// It is garbage at once. Larger than what the runtime packs with others.
	runtime.AddCleanup(new([64]byte), func(t *thrift) {
		if t.collected() {
			t.awaitCycle()
		}
	}, t)
}

// collected takes note of a collection, and tells whether the next one matters.
func (t *thrift) collected() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended && t.looking == nil {
		t.allocated = t.used().allocated
		t.looking = time.AfterFunc(lull, t.look)
	}
	return !t.ended
}

// look gives back what there is once there is a lull.
func (t *thrift) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	now, heap := t.now(), t.used()
	busy := heap.allocated-t.allocated > lullBytes
	t.allocated = heap.allocated
	switch early := rarely - now.Sub(t.given); {
	case busy:
		t.looking.Reset(lull)
	case heap.spare < worthwhile:
		t.looking = nil
	case early > 0:
		t.looking.Reset(early)
	default:
		// Its own collection has it look once more, at little that is left.
		t.giveBack()
		t.given = t.now()
		t.looking = nil
	}
}

// end ends it.
func (t *thrift) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.looking != nil {
		t.looking.Stop()
	}
}

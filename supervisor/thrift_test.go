package supervisor

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scarce is a thrift of a process whose heap and time are the test's. It looks
// when the test says so.
type scarce struct {
	*thrift
	heap  heap
	at    time.Time
	gives int
}

func newScarce(t *testing.T) *scarce {
	s := &scarce{at: time.Unix(1000, 0)}
	s.thrift = &thrift{
		used: func() heap { return s.heap },
		now:  func() time.Time { return s.at },
		giveBack: func() {
			s.gives++
			s.heap.spare = 0
		},
	}
	t.Cleanup(s.end)
	return s
}

// pass lets time pass in which so much is allocated, and has it look if it would.
func (s *scarce) pass(d time.Duration, allocated uint64) {
	s.at = s.at.Add(d)
	s.heap.allocated += allocated
	s.mu.Lock()
	looking := s.looking != nil
	s.mu.Unlock()
	if looking {
		s.look()
	}
}

func TestThriftWaitsForALull(t *testing.T) {
	s := newScarce(t)
	s.heap.spare = 100 << 20
	s.collected()
	for range 5 {
		s.pass(lull, 1<<20)
	}
	assert.Zero(t, s.gives, "it gave memory back that was about to be used again")
	s.pass(lull, 0)
	assert.Equal(t, 1, s.gives)
	assert.Nil(t, s.looking, "it looks on though there is nothing to do")
}

func TestThriftLeavesLittleAlone(t *testing.T) {
	s := newScarce(t)
	s.heap.spare = worthwhile - 1
	s.collected()
	s.pass(lull, 0)
	assert.Zero(t, s.gives)
	assert.Nil(t, s.looking)
}

func TestThriftSeldomGives(t *testing.T) {
	s := newScarce(t)
	for range 2 {
		s.heap.spare = 100 << 20
		s.collected()
		s.pass(lull, 0)
		assert.Equal(t, 1, s.gives)
	}
	s.pass(rarely, 0)
	assert.Equal(t, 2, s.gives)
}

func TestThriftEnds(t *testing.T) {
	s := newScarce(t)
	s.heap.spare = 100 << 20
	assert.True(t, s.collected())
	s.end()
	s.look()
	assert.Zero(t, s.gives)
	assert.False(t, s.collected())
}

// What this process has let be garbage goes back to the system.
func TestThriftOfThisProcess(t *testing.T) {
	// Nothing else is to collect it.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const pieces, size = 64, 1 << 20
	given := make(chan uint64, 1)
	thrifty := &thrift{used: heapMeter(), now: time.Now, giveBack: func() {
		before := released()
		debug.FreeOSMemory()
		given <- released() - before
	}}
	t.Cleanup(thrifty.end)
	for range pieces {
		assert.Len(t, make([]byte, size), size)
	}
	thrifty.collected()
	select {
	case bytes := <-given:
		assert.Greater(t, bytes, uint64(pieces*size/2))
	case <-time.After(30 * time.Second):
		require.Fail(t, "nothing was given back")
	}
	assert.Less(t, thrifty.used().spare, uint64(worthwhile))
}

func TestThriftIsToldOfCollections(t *testing.T) {
	told := make(chan struct{}, 1)
	thrifty := &thrift{now: time.Now, used: func() heap {
		select {
		case told <- struct{}{}:
		default:
		}
		return heap{}
	}}
	t.Cleanup(thrifty.end)
	thrifty.awaitCycle()
	runtime.GC()
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		require.Fail(t, "it was not told")
	}
}

// released is what the heap of this process has given back, in bytes.
func released() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

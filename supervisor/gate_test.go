package supervisor

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/options"
)

const gatePatience = 10 * time.Second

func gateOf(limit, queue int) *gate {
	g := &gate{}
	g.set(options.HTTP{MaxInFlight: limit, Queue: queue})
	return g
}

// queued enters in another goroutine and returns once that waits.
func queued(ctx context.Context, t *testing.T, g *gate, late <-chan time.Time) <-chan error {
	t.Helper()
	_, before := g.load()
	in := make(chan error, 1)
	go func() { in <- g.enter(ctx, late) }()
	require.Eventually(t, func() bool { _, now := g.load(); return now == before+1 }, gatePatience, time.Millisecond)
	return in
}

func entered(t *testing.T, in <-chan error) error {
	t.Helper()
	select {
	case err := <-in:
		return err
	case <-time.After(gatePatience):
		require.FailNow(t, "it still waits")
		return nil
	}
}

func assertLoad(t *testing.T, g *gate, inFlight, waiting int) {
	t.Helper()
	gotIn, gotWaiting := g.load()
	assert.Equal(t, [2]int{inFlight, waiting}, [2]int{gotIn, gotWaiting}, "in flight, waiting")
}

func TestGateOrder(t *testing.T) {
	g := gateOf(2, 3)
	for range 2 {
		require.NoError(t, g.enter(t.Context(), nil))
	}
	var waits []<-chan error
	for range 3 {
		waits = append(waits, queued(t.Context(), t, g, nil))
	}
	err := g.enter(t.Context(), nil)
	require.ErrorIs(t, err, ErrBusy)
	assert.ErrorContains(t, err, "it answers 2 calls, and 3 wait")
	for i, in := range waits {
		g.leave()
		require.NoError(t, entered(t, in))
		assertLoad(t, g, 2, 2-i)
		for _, later := range waits[i+1:] {
			assert.Empty(t, later, "one that came later is in")
		}
	}
	g.leave()
	g.leave()
	assertLoad(t, g, 0, 0)
}

func TestGateWithoutALimit(t *testing.T) {
	g := &gate{}
	for range 1000 {
		require.NoError(t, g.enter(t.Context(), nil))
	}
	assertLoad(t, g, 1000, 0)
	// A limit that comes later counts them.
	g.set(options.HTTP{MaxInFlight: 1000})
	assert.ErrorIs(t, g.enter(t.Context(), nil), ErrBusy)
	g.leave()
	assert.NoError(t, g.enter(t.Context(), nil))
}

func TestGateChange(t *testing.T) {
	g := gateOf(1, 10)
	require.NoError(t, g.enter(t.Context(), nil))
	first, second, third := queued(t.Context(), t, g, nil), queued(t.Context(), t, g, nil), queued(t.Context(), t, g, nil)
	g.set(options.HTTP{MaxInFlight: 3, Queue: 10})
	require.NoError(t, entered(t, first))
	require.NoError(t, entered(t, second))
	assertLoad(t, g, 3, 1)
	// A lower limit has those who are in leave first.
	g.set(options.HTTP{MaxInFlight: 1, Queue: 1})
	g.leave()
	g.leave()
	assertLoad(t, g, 1, 1)
	assert.ErrorIs(t, g.enter(t.Context(), nil), ErrBusy)
	g.set(options.HTTP{})
	require.NoError(t, entered(t, third))
	assertLoad(t, g, 2, 0)
}

func TestGateGivesUp(t *testing.T) {
	g := gateOf(1, 10)
	require.NoError(t, g.enter(t.Context(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan time.Time, 1)
	leaves, overdue, stays := queued(ctx, t, g, nil), queued(t.Context(), t, g, late), queued(t.Context(), t, g, nil)
	cancel()
	assert.ErrorIs(t, entered(t, leaves), context.Canceled)
	late <- time.Time{}
	assert.ErrorIs(t, entered(t, overdue), errLate)
	assertLoad(t, g, 1, 1)
	g.leave()
	assert.NoError(t, entered(t, stays))
}

// The limit is that of each runner, and a caller who waits enters once there is
// another.
func TestGateIsShared(t *testing.T) {
	g := gateOf(2, 10)
	g.share(2)
	for range 4 {
		require.NoError(t, g.enter(t.Context(), nil))
	}
	first, second := queued(t.Context(), t, g, nil), queued(t.Context(), t, g, nil)
	assertLoad(t, g, 4, 2)
	g.share(3)
	require.NoError(t, entered(t, first))
	require.NoError(t, entered(t, second))
	assertLoad(t, g, 6, 0)
	// With fewer runners those who are in leave first.
	g.share(1)
	third := queued(t.Context(), t, g, nil)
	for range 4 {
		g.leave()
		assert.Empty(t, third)
	}
	g.leave()
	require.NoError(t, entered(t, third))
	assertLoad(t, g, 2, 0)
	// A limit that changes is that of as many, and while none runs that of one.
	g.share(3)
	g.set(options.HTTP{MaxInFlight: 1})
	require.NoError(t, g.enter(t.Context(), nil))
	require.ErrorIs(t, g.enter(t.Context(), nil), ErrBusy)
	g.share(0)
	for range 3 {
		g.leave()
	}
	require.NoError(t, g.enter(t.Context(), nil))
	require.ErrorIs(t, g.enter(t.Context(), nil), ErrBusy)
	// Without a limit there is none, however many there are.
	g.set(options.HTTP{})
	g.share(2)
	for range 100 {
		require.NoError(t, g.enter(t.Context(), nil))
	}
}

// Who watches is told of every call above the number, those who wait included,
// and nobody waits for who watches.
func TestGateIsWatched(t *testing.T) {
	g := gateOf(2, 10)
	crowded := make(chan struct{}, 1)
	told := func() bool {
		select {
		case <-crowded:
			return true
		default:
			return false
		}
	}
	g.watch(2, crowded)
	for range 2 {
		require.NoError(t, g.enter(t.Context(), nil))
	}
	assert.False(t, told(), "not above it")
	queued(t.Context(), t, g, nil)
	assert.True(t, told(), "one waits")
	queued(t.Context(), t, g, nil)
	queued(t.Context(), t, g, nil)
	assert.True(t, told())
	assert.False(t, told(), "once, as long as nobody has looked")
	g.watch(5, crowded)
	assert.False(t, told())
	g.watch(4, crowded)
	assert.True(t, told(), "there are more already")
	g.watch(0, nil)
	queued(t.Context(), t, g, nil)
	assert.False(t, told(), "nobody watches any more")
}

// One that gives up at the very moment of its turn either has it, or has left it
// to the next.
func TestGateGivesUpAtItsTurn(t *testing.T) {
	for range 2000 {
		g := gateOf(1, 2)
		require.NoError(t, g.enter(t.Context(), nil))
		ctx, cancel := context.WithCancel(t.Context())
		first := queued(ctx, t, g, nil)
		second := queued(t.Context(), t, g, nil)
		go cancel()
		g.leave()
		if err := entered(t, first); err == nil {
			assertLoad(t, g, 1, 1)
			g.leave()
		}
		require.NoError(t, entered(t, second))
		assertLoad(t, g, 1, 0)
	}
}

// Under load that comes, goes, gives up and changes, there are never more calls
// than the largest limit, and at the end none.
func TestGateStress(t *testing.T) {
	const most = 8
	g := gateOf(most, 20)
	var in, worst, turns atomic.Int64
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(200))*time.Microsecond)
				err := g.enter(ctx, nil)
				cancel()
				if err != nil {
					if !errors.Is(err, ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					continue
				}
				now := in.Add(1)
				for seen := worst.Load(); now > seen && !worst.CompareAndSwap(seen, now); seen = worst.Load() {
				}
				turns.Add(1)
				in.Add(-1)
				g.leave()
			}
		})
	}
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for range 500 {
			g.set(options.HTTP{MaxInFlight: 1 + rand.IntN(most), Queue: rand.IntN(30)})
		}
	}()
	group.Wait()
	<-changed
	assert.LessOrEqual(t, worst.Load(), int64(most))
	assert.NotZero(t, turns.Load())
	assertLoad(t, g, 0, 0)
}

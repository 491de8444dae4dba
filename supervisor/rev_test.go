package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/options"
)

// Run with -race: the replicas' goroutine reads the actor's own spec.
func TestRevRace(t *testing.T) {
	s := newScripted(t)
	ctx := t.Context()
	require.NoError(t, s.Create(ctx, "a", parsed(t, "runtime: {replicas: 1}\nx: 0"), Change{}))
	// The second's folder has it fail at Run, which needs a retry.
	dir := s.streamDir("a@2")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.MkdirAll(dir, 0o700)
				_ = os.WriteFile(filepath.Join(dir, toFail), nil, 0o600)
				time.Sleep(time.Millisecond)
			}
		}
	})
	var changes sync.WaitGroup
	for at := range 2 {
		changes.Go(func() {
			for i := range 40 {
				_ = s.Update(ctx, "a", parsed(t, fmt.Sprintf("runtime: {replicas: %d}\nx: %d", 1+i%2, at)), Change{})
			}
		})
	}
	changes.Wait()
	close(stop)
	wg.Wait()
	require.NoError(t, inTime(t, "close", func() error { return s.Close(context.Background()) }))
}

// Two that tell at the same time leave the gate with the number of the one that
// counted first.
func TestRevShareIsStale(t *testing.T) {
	s := newScripted(t)
	ctx := t.Context()
	wrong := 0
	require.NoError(t, s.Create(ctx, "a", parsed(t, "runtime: {replicas: 8, http: {max_in_flight: 1}}"), Change{}))
	st, err := s.find("a")
	require.NoError(t, err)
	// What tell does, with shown numbers that go up, as when many start at once.
	for range 300 {
		replicas := st.replicas.all()
		var wg sync.WaitGroup
		views := make([]*view, len(replicas))
		for i, r := range replicas {
			views[i] = r.seen.Load()
			down := *views[i]
			down.state = StateStarting
			r.seen.Store(&down)
		}
		st.replicas.tell()
		for i, r := range replicas {
			wg.Go(func() {
				r.seen.Store(views[i])
				st.replicas.tell()
			})
		}
		wg.Wait()
		st.gate.mu.Lock()
		if st.gate.limit != 8 {
			wrong++
		}
		st.gate.mu.Unlock()
	}
	assert.Zero(t, wrong, "of 300 times the limit was left below that of 8 runners")
	require.NoError(t, inTime(t, "close", func() error { return s.Close(context.Background()) }))
}

// max_in_flight is of each runner: with 1 no runner ever has 2.
func TestRevEachLimit(t *testing.T) {
	s := newScripted(t)
	ctx := t.Context()
	require.NoError(t, s.Create(ctx, "a", parsed(t, "runtime: {replicas: 3, http: {max_in_flight: 1, queue: 1000}}"), Change{}))
	var over atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3000 {
				f, err := s.Function(ctx, "a", Call{Method: "POST", Arrived: time.Now()})
				if err != nil {
					over.Add(1 << 32)
					return
				}
				for _, r := range append([]*stream{mustFind(s, "a")}, mustFind(s, "a").replicas.all()...) {
					if r.seen.Load().current.load.Load() > 1 {
						over.Add(1)
					}
				}
				f.Release()
			}
		})
	}
	wg.Wait()
	assert.Zero(t, over.Load(), "a runner had more than max_in_flight calls")
	require.NoError(t, inTime(t, "close", func() error { return s.Close(context.Background()) }))
}

func mustFind(s *Supervisor, id string) *stream { st, _ := s.find(id); return st }

var _ = options.Limits{}

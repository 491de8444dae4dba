package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// scriptedStream is a stream of a supervisor that the test closes.
func scriptedStream(t *testing.T, config string) (*Supervisor, *stream) {
	t.Helper()
	s := newScripted(t)
	t.Cleanup(func() {
		assert.NoError(t, inTime(t, "Close", func() error { return s.Close(context.Background()) }))
	})
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, config), Change{}))
	st, err := s.find("a")
	require.NoError(t, err)
	return s, st
}

// replicasOf are the replicas of a stream, by their numbers.
func replicasOf(t *testing.T, st *stream, count int) []*stream {
	t.Helper()
	all := st.replicas.all()
	require.Len(t, all, count)
	return all
}

func TestGoalSame(t *testing.T) {
	t.Parallel()
	doc, equal, another := parsed(t, "a: 1"), parsed(t, "a: 1"), parsed(t, "a: 2")
	of := func(change func(*view)) goal {
		v := &view{spec: spec{doc: doc}, logLevel: "info"}
		change(v)
		return goal{view: v, run: true}
	}
	base := of(func(*view) {})
	for name, c := range map[string]struct {
		other goal
		want  bool
	}{
		"another view of the same":  {of(func(v *view) { v.state, v.restarts = StateBackoff, 3 }), true},
		"a document put once more":  {of(func(v *view) { v.spec.doc = equal }), false},
		"another config":            {of(func(v *view) { v.spec.doc = another }), false},
		"chilled":                   {of(func(v *view) { v.spec.chilled = true }), false},
		"another log level":         {of(func(v *view) { v.logLevel = "debug" }), false},
		"rest":                      {goal{view: base.view}, false},
		"rest for another reason":   {goal{view: base.view, why: "x"}, false},
		"gone":                      {goal{gone: true}, false},
		"gone, with what it was of": {goal{view: base.view, run: true, gone: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, base.same(c.other))
			assert.Equal(t, c.want, c.other.same(base))
			assert.True(t, c.other.same(c.other))
		})
	}
	assert.False(t, goal{view: base.view, why: "x"}.same(goal{view: base.view, why: "y"}))
}

// TestKeeperSuperseded: who waits for his turn gives up for another goal, which he
// still hears of.
func TestKeeperSuperseded(t *testing.T) {
	t.Parallel()
	v := &view{spec: spec{doc: parsed(t, "a: 1")}}
	k := &keeper{changed: make(chan struct{}, 1)}
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	taken := make(chan error, 1)
	go func() { taken <- k.take(t.Context(), turn) }()
	k.set(goal{view: v, run: true})
	require.ErrorIs(t, inTime(t, "take", func() error { return <-taken }), errSuperseded)
	require.Len(t, k.changed, 1)
	assert.False(t, k.hasTried())

	<-k.changed
	k.set(goal{view: v, run: true})
	assert.Empty(t, k.changed, "of the same goal nobody is told")
	k.set(goal{view: v, why: "x"})
	k.set(goal{gone: true})
	assert.Len(t, k.changed, 1, "of two others once")
	<-k.changed

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, k.take(ctx, turn), context.Canceled)
	<-turn
	require.NoError(t, k.take(t.Context(), turn))
	assert.Len(t, turn, 1)
}

// TestReplicasSkipAChange: one whose turn has not come takes the last of several
// changes alone.
func TestReplicasSkipAChange(t *testing.T) {
	t.Parallel()
	s, st := scriptedStream(t, "runtime: {replicas: 2}\nx: 0")
	replica := replicasOf(t, st, 1)[0]
	first := replica.seen.Load().revision
	k := st.replicas.keepers[2]
	given := func() uint64 {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.given
	}
	before := given()
	st.replicas.rolling <- struct{}{}
	var changes errgroup.Group
	for i := range uint64(3) {
		doc := parsed(t, fmt.Sprintf("runtime: {replicas: 2}\nx: %d", i+1))
		changes.Go(func() error { return s.Update(t.Context(), "a", doc, Change{}) })
		require.Eventually(t, func() bool { return given() == before+i+1 }, patience, time.Millisecond)
	}
	assert.Equal(t, first, replica.seen.Load().revision, "it was not its turn")
	<-st.replicas.rolling
	require.NoError(t, inTime(t, "Update", changes.Wait))
	assert.True(t, replica.seen.Load().spec.doc.Equal(st.seen.Load().spec.doc))
	assert.Equal(t, first+1, replica.seen.Load().revision)
	assert.Equal(t, []*stream{replica}, st.replicas.all())
}

// TestReplicasTakenOut: one that has a call is not, one that has none gets no more,
// and calls again once it is taken in.
func TestReplicasTakenOut(t *testing.T) {
	t.Parallel()
	s, st := scriptedStream(t, "runtime: {replicas: 2, http: {max_in_flight: 1}}")
	replica := replicasOf(t, st, 1)[0]
	first, second := st.seen.Load().current, replica.seen.Load().current
	runners := func() int {
		st.gate.mu.Lock()
		defer st.gate.mu.Unlock()
		return st.gate.runners
	}
	require.Equal(t, 2, runners())
	call := func() Function {
		f, err := s.Function(t.Context(), "a", Call{Method: "POST", Arrived: time.Now()})
		require.NoError(t, err)
		return f
	}

	both := []Function{call(), call()}
	require.Equal(t, []int64{1, 1}, []int64{first.load.Load(), second.load.Load()})
	assert.False(t, st.replicas.takeOut(2), "it has a call")
	assert.False(t, second.leaving)
	for _, f := range both {
		f.Release()
	}

	require.True(t, st.replicas.takeOut(2))
	assert.True(t, st.replicas.takeOut(2), "it is so already")
	for range 4 {
		f := call()
		assert.EqualValues(t, 1, first.load.Load())
		f.Release()
	}
	st.replicas.tell()
	assert.Equal(t, 1, runners())

	st.replicas.takeIn(replica)
	assert.Equal(t, 2, runners())
	both = []Function{call(), call()}
	assert.EqualValues(t, 1, second.load.Load())
	for _, f := range both {
		f.Release()
	}
	assert.True(t, st.replicas.takeOut(3), "there is none that could have calls")
}

// TestReplicasAndChangesAtOnce: for the race detector above all. Changes come while
// a replica cannot be made, and has to be tried again.
func TestReplicasAndChangesAtOnce(t *testing.T) {
	t.Parallel()
	s, st := scriptedStream(t, "runtime: {replicas: 1}\nx: 0")
	file := filepath.Join(s.streamDir("a@2"), toFail)
	ctx, cancel := context.WithCancel(t.Context())
	var faults sync.WaitGroup
	faults.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			// The folder may be removed at any moment.
			_ = os.MkdirAll(filepath.Dir(file), 0o700)
			_ = os.WriteFile(file, nil, 0o600)
			<-tick.C
		}
	})
	config := func(replicas, x int) string {
		return fmt.Sprintf("runtime: {replicas: %d, restart: {backoff: {initial: 10ms, max: 50ms}}}\nx: %d", replicas, x)
	}
	var changes errgroup.Group
	for at := range 2 {
		var docs []string
		for i := range 12 {
			docs = append(docs, config(1+(i+at)%2, i/6))
		}
		changes.Go(func() error {
			for _, text := range docs {
				if err := s.Update(ctx, "a", parsed(t, text), Change{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	assert.NoError(t, changes.Wait())
	cancel()
	faults.Wait()
	require.NoError(t, os.RemoveAll(file))
	require.NoError(t, s.Update(t.Context(), "a", parsed(t, config(2, 2)), Change{}))
	require.Eventually(t, func() bool {
		status, err := s.Status(t.Context(), "a")
		return err == nil && status.Replicas.Running == 2 && status.Replicas.Failure == ""
	}, patience, time.Millisecond)
	replica := replicasOf(t, st, 1)[0]
	assert.True(t, replica.seen.Load().spec.doc.Equal(st.seen.Load().spec.doc))
}

// TestReplicasHaveALimitEach: with max_in_flight 1 none ever has two calls.
func TestReplicasHaveALimitEach(t *testing.T) {
	t.Parallel()
	s, st := scriptedStream(t, "runtime: {replicas: 3, http: {max_in_flight: 1, queue: 1000}}")
	instances := []*instance{st.seen.Load().current}
	for _, replica := range replicasOf(t, st, 2) {
		instances = append(instances, replica.seen.Load().current)
	}
	var callers errgroup.Group
	for range 8 {
		callers.Go(func() error {
			for range 1500 {
				f, err := s.Function(t.Context(), "a", Call{Method: "POST", Arrived: time.Now()})
				if err != nil {
					return err
				}
				over := slices.ContainsFunc(instances, func(i *instance) bool { return i.load.Load() > 1 })
				f.Release()
				if over {
					return fmt.Errorf("a runner has more than one call")
				}
			}
			return nil
		})
	}
	assert.NoError(t, inTime(t, "the calls", callers.Wait))
}

package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"penstock/supervisor/options"
)

// TestScale: as many as the calls ask for at once, and fewer only when fewer have
// been enough for the whole cooldown.
func TestScale(t *testing.T) {
	type step struct {
		at          time.Duration
		calls, want int
	}
	usual := options.Replicas{Min: 1, Max: 4, InFlight: 2, Cooldown: 10 * time.Second}
	atLeast2 := options.Replicas{Min: 2, Max: 4, InFlight: 2, Cooldown: 10 * time.Second}
	for name, c := range map[string]struct {
		o     options.Replicas
		steps []step
	}{
		"the least without calls":        {atLeast2, []step{{0, 0, 2}, {time.Hour, 0, 2}}},
		"one more as soon as it is full": {usual, []step{{0, 0, 1}, {0, 2, 1}, {0, 3, 2}, {0, 4, 2}, {0, 5, 3}}},
		"the most":                       {usual, []step{{0, 1000, 4}}},
		"fewer after the cooldown": {usual, []step{
			{0, 8, 4}, {time.Second, 0, 4}, {9 * time.Second, 0, 4}, {10 * time.Second, 0, 1},
		}},
		"as many as the busiest moment took": {usual, []step{
			{0, 8, 4}, {time.Second, 5, 4}, {2 * time.Second, 0, 4}, {10 * time.Second, 1, 3}, {19 * time.Second, 0, 3}, {20 * time.Second, 0, 1},
		}},
		"all are needed again meanwhile": {usual, []step{
			{0, 8, 4}, {9 * time.Second, 7, 4}, {11 * time.Second, 0, 4}, {18 * time.Second, 0, 4}, {19 * time.Second, 0, 1},
		}},
		"up again after down":          {usual, []step{{0, 8, 4}, {10 * time.Second, 0, 1}, {11 * time.Second, 6, 3}, {20 * time.Second, 0, 3}, {21 * time.Second, 0, 1}}},
		"never below the least":        {atLeast2, []step{{0, 8, 4}, {10 * time.Second, 0, 2}, {time.Hour, 1, 2}}},
		"nobody has looked for a time": {usual, []step{{0, 8, 4}, {time.Hour, 3, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			var s scale
			begin := time.Now()
			for _, step := range c.steps {
				assert.Equal(t, step.want, s.next(c.o, step.calls, begin.Add(step.at)), "%d calls after %s", step.calls, step.at)
			}
		})
	}

	t.Run("other bounds", func(t *testing.T) {
		var s scale
		begin := time.Now()
		require.Equal(t, 4, s.next(usual, 8, begin))
		usual.Max = 3
		assert.Equal(t, 3, s.next(usual, 8, begin), "at once")
		usual.Min, usual.Max = 5, 6
		assert.Equal(t, 5, s.next(usual, 0, begin))
	})
}

func TestReplicaIDs(t *testing.T) {
	assert.Equal(t, "a.b-c@12", replicaID("a.b-c", 12))
	assert.Equal(t, "a.b-c", publicID("a.b-c@12"))
	assert.Equal(t, "a", publicID("a"))
	assert.Equal(t, 12, replicaNumber("a@12"))
	assert.Equal(t, 1, replicaNumber("a"))
	assert.Equal(t, []zap.Field{zap.String("stream", "a")}, logFields("a"))
	assert.Equal(t, []zap.Field{zap.String("stream", "a"), zap.Int("replica", 2)}, logFields("a@2"))
	assert.Error(t, checkID("a@2"), "no stream has the id of a replica")
}

// TestTheGateKnowsTheLastCount: of changes at the same time, the gate hears of the
// last.
func TestTheGateKnowsTheLastCount(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	t.Cleanup(func() { assert.NoError(t, s.Close(context.Background())) })
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, "input: {}"), Change{}))
	st, err := s.find("a")
	require.NoError(t, err)
	runs := &view{state: StateRunning, current: st.seen.Load().current}
	require.True(t, runs.serves())

	const others = 32
	for range 500 {
		of := &stream{id: "x"}
		of.gate.set(options.HTTP{MaxInFlight: 1})
		of.replicas = newReplicas(of)
		list := make([]*stream, others)
		for i := range list {
			list[i] = &stream{id: replicaID("x", i+2), of: of}
			list[i].seen.Store(&view{state: StateBackoff})
		}
		of.replicas.list.Store(&list)
		var group sync.WaitGroup
		// Those who have counted wait for the gate, and not for each other.
		of.gate.mu.Lock()
		group.Go(func() {
			runtime.Gosched()
			of.gate.mu.Unlock()
		})
		for _, replica := range list {
			group.Go(func() {
				replica.seen.Store(runs)
				replica.told(runs)
			})
		}
		group.Wait()
		require.Equal(t, others, of.gate.limit)
	}
}

// TestReplicaThatCannotBeMade: the status says why, for as long as it is so, and
// the stream runs meanwhile.
func TestReplicaThatCannotBeMade(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	t.Cleanup(func() { assert.NoError(t, s.Close(context.Background())) })
	// By then the folders of no stream have been removed.
	require.NoError(t, s.Create(t.Context(), "other", parsed(t, "input: {}"), Change{}))
	// These are removed with what has failed, so that the next attempts succeed.
	for _, id := range []string{"a@2", "a@3"} {
		dir := filepath.Join(s.cfg.DataDir, "streams", id)
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, toFail), nil, 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	seen := make(chan Status, 2)
	var looks sync.WaitGroup
	defer looks.Wait()
	defer cancel()
	looks.Go(func() {
		defer close(seen)
		failed := false
		for ctx.Err() == nil {
			status, err := s.Status(ctx, "a")
			if err != nil || status.Replicas == nil {
				continue
			}
			switch r := status.Replicas; {
			case r.Failure != "" && !failed:
				failed = true
				seen <- status
			case failed && r.Failure == "" && r.Running == r.Desired:
				seen <- status
				return
			}
		}
	})
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, "runtime: {replicas: 3, restart: {backoff: {initial: 500ms}}}"), Change{}))
	status, ok := <-seen
	require.True(t, ok, "it has not failed")
	assert.Regexp(t, `^replica [23]: .*it is to fail`, status.Replicas.Failure)
	assert.NotContains(t, status.Replicas.Failure, "\n")
	assert.NotContains(t, status.Replicas.Failure, "a@")
	assert.Equal(t, 3, status.Replicas.Desired)
	assert.Less(t, status.Replicas.Running, 3)
	assert.Equal(t, StateRunning, status.State)
	status, ok = <-seen
	require.True(t, ok, "it was not tried again")
	assert.Equal(t, 3, status.Replicas.Running)
	assert.Len(t, status.Replicas.Runners, 3)
}

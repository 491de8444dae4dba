package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// awaitFirstChanged waits until the first of a stream's runners is another one.
func awaitFirstChanged(t testing.TB, c *client, id string, before *replicasOf) {
	t.Helper()
	await(t, changeTimeout, "the first runner to be changed", func() error {
		if now := replicasNow(t, c, id); now.Runners[0].PID == before.Runners[0].PID || now.Runners[0].State != "running" {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
}

// awaitAllFinished waits until so many runners of a stream have come to the end of
// their input.
func awaitAllFinished(t testing.TB, c *client, id string, count int) {
	t.Helper()
	await(t, changeTimeout, fmt.Sprintf("%d runners of %s to be finished", count, id), func() error {
		now := replicasNow(t, c, id)
		finished := 0
		for _, r := range now.Runners {
			if r.State == "finished" {
				finished++
			}
		}
		if finished != count || len(now.Runners) != count {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
}

// goesOn makes messages as long as it runs, and comesToAnEnd makes one.
const (
	goesOn       = "runtime: {replicas: 3}\ninput: {generate: {interval: 100ms, mapping: 'root = \"former\"'}}\noutput: {drop: {}}\n"
	comesToAnEnd = "runtime: {replicas: 3}\ninput: {generate: {count: 1, interval: '', mapping: 'root = \"next\"'}}\noutput: {drop: {}}\n"
)

// TestReplicasAndGets: what only reads is not lost either while their number
// changes.
func TestReplicasAndGets(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	slow := strings.Replace(echo("a"), "path: /post", "path: /post, allowed_verbs: [GET, POST]", 1)
	slow = strings.Replace(slow, "{processors: [", "{threads: 8, processors: [{sleep: {duration: 30ms}}, ", 1)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: 3}\n"+slow)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer cancel()
	var answered atomic.Int64
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				a, err := p.ask(context.Background(), request{Method: http.MethodGet, Path: "/a/post"})
				if !assert.NoError(t, err) || !assert.Equal(t, 200, a.Status, a.Text()) {
					return
				}
				answered.Add(1)
			}
		})
	}
	for range 4 {
		for _, replicas := range []string{"1", "3"} {
			p.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: "+replicas+"}")
		}
		before := answered.Load()
		await(t, changeTimeout, "some to be answered", func() error {
			if n := answered.Load() - before; n < 10 {
				return fmt.Errorf("%d were", n)
			}
			return nil
		})
	}
}

// TestReplicasSwapListeners: in one set, a stream takes the address of another.
func TestReplicasSwapListeners(t *testing.T) {
	t.Parallel()
	for _, replicas := range []string{"1", "3"} {
		t.Run(replicas, func(t *testing.T) {
			t.Parallel()
			p := startPenstock(t)
			x, y := freeAddress(t), freeAddress(t)
			config := func(tag, address string) string {
				return several(tag, fmt.Sprintf("%s, http: {listen: '%s'}", replicas, address))
			}
			member := func(id, config string) string {
				return id + ":\n  " + strings.ReplaceAll(strings.TrimSpace(config), "\n", "\n  ") + "\n"
			}
			p.expect(t, 200, "POST", "/streams/a", config("a", x))
			p.expect(t, 200, "POST", "/streams", member("a", config("a", y))+member("b", config("b", x)))
			for range 6 {
				assert.Contains(t, newCaller(x).expect(t, 200, "POST", "/post", "x").Text(), "b:")
				assert.Contains(t, newCaller(y).expect(t, 200, "POST", "/post", "x").Text(), "a:")
			}
		})
	}
}

// TestReplicasOfAConfigThatEnds: there are as many though the first has finished
// before the others were made or changed, and none goes on with the former config.
func TestReplicasOfAConfigThatEnds(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	for i := range 3 {
		id := fmt.Sprint("changed", i)
		p.expect(t, 200, "POST", "/streams/"+id, goesOn)
		before := awaitReplicas(t, p.client, id, 3)
		p.expect(t, 200, "PUT", "/streams/"+id, comesToAnEnd)
		for pid := range replicasNow(t, p.client, id).pids() {
			assert.NotContains(t, before.pids(), pid, "it goes on after the answer")
		}
		awaitAllFinished(t, p.client, id, 3)

		id = fmt.Sprint("made", i)
		p.expect(t, 200, "POST", "/streams/"+id, comesToAnEnd)
		awaitAllFinished(t, p.client, id, 3)
	}
}

// TestReplicasWithoutTheFirst: where that has failed for good the others answer, as
// many as there are to be, until a change has it start again.
func TestReplicasWithoutTheFirst(t *testing.T) {
	t.Parallel()
	for prefix, path := range map[string]string{"true": "/a/post", "false": "/post"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			t.Parallel()
			p := startPenstock(t, append([]string{"--set", "prefix_stream_endpoints=" + prefix}, quickStop...)...)
			p.expect(t, 200, "POST", "/streams/a", several("a", "3, restart: {policy: never}"))
			before := awaitReplicas(t, p.client, "a", 3)
			require.NoError(t, syscall.Kill(before.Runners[0].PID, syscall.SIGKILL))
			awaitState(t, p.client, "a", "failed")
			for range 6 {
				p.expect(t, 200, "POST", path, "x")
			}
			now := replicasNow(t, p.client, "a")
			assert.Equal(t, 2, now.Running)
			for _, r := range before.Runners[1:] {
				assert.Contains(t, now.pids(), r.PID)
			}
			p.expect(t, 200, "PUT", "/streams/a", several("b", "3, restart: {policy: never}"))
			awaitReplicas(t, p.client, "a", 3)
			for range 6 {
				assert.Contains(t, p.expect(t, 200, "POST", path, "x").Text(), "b:")
			}
		})
	}
}

// TestReplicasOneHangs: one that does not take a change is started with it, and with
// the next one where that has come meanwhile.
func TestReplicasOneHangs(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.stop=6s", "--set", "timeouts.shutdown=3s")
	p.expect(t, 200, "POST", "/streams/a", goesOn)
	before := awaitReplicas(t, p.client, "a", 3)
	freeze(t, before.Runners[1].PID)
	change := begin(t, p.client, request{Method: http.MethodPut, Path: "/streams/a", Body: strings.Replace(goesOn, "100ms", "200ms", 1)})
	awaitFirstChanged(t, p.client, "a", before)
	p.expect(t, 200, "PUT", "/streams/a", comesToAnEnd)
	for pid := range replicasNow(t, p.client, "a").pids() {
		assert.NotContains(t, before.pids(), pid, "it goes on after the answer")
	}
	assert.Equal(t, 200, end(t, "the change before", change).Status)
	awaitAllFinished(t, p.client, "a", 3)
}

// TestReplicasPauseWhileOneHangs: the others rest at once.
func TestReplicasPauseWhileOneHangs(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.stop=15s", "--set", "timeouts.shutdown=3s")
	p.expect(t, 200, "POST", "/streams/a", several("one", "3"))
	before := awaitReplicas(t, p.client, "a", 3)
	hanging := before.Runners[1].PID
	freeze(t, hanging)
	change := begin(t, p.client, request{Method: http.MethodPut, Path: "/streams/a", Body: several("two", "3")})
	awaitFirstChanged(t, p.client, "a", before)
	pause := begin(t, p.client, request{Method: http.MethodPost, Path: "/streams/a/pause"})
	await(t, changeTimeout, "the third to rest", func() error {
		if now := replicasNow(t, p.client, "a"); now.Runners[2].State != "idle" {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
	assert.Error(t, gone(hanging), "it has waited for the one that hangs")
	require.NoError(t, syscall.Kill(hanging, syscall.SIGCONT))
	assert.Equal(t, 200, end(t, "the pause", pause).Status)
	assert.Equal(t, 200, end(t, "the change", change).Status)
	assert.Zero(t, replicasNow(t, p.client, "a").Running)
	assert.Empty(t, p.runners())
}

// TestReplicasLeaveTheirAddress: a supervisor dies while some listen on the former
// address and others on the next one. The former is free once all is settled.
func TestReplicasLeaveTheirAddress(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t, "--set", "timeouts.stop=5s")
	former, address := freeAddress(t), freeAddress(t)
	config := func(tag, address string) string {
		return several(tag, fmt.Sprintf("3, http: {listen: '%s'}", address))
	}
	r.expect(t, 200, "POST", "/streams/a", config("a", former))
	before := awaitReplicas(t, r.client, "a", 3)
	freeze(t, before.Runners[1].PID)
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		_, _ = r.ask(t.Context(), request{Method: http.MethodPut, Path: "/streams/a", Body: config("b", address)})
	}()
	awaitFirstChanged(t, r.client, "a", before)
	r.kill9(t)
	<-cut
	require.NoError(t, syscall.Kill(before.Runners[1].PID, syscall.SIGCONT))
	r.start(t, "--set", "timeouts.stop=5s")
	// It is answered when all have been tried.
	r.expect(t, 200, "PUT", "/streams/a/log-level", `{"level": "debug"}`)
	awaitReplicas(t, r.client, "a", 3)
	for range 6 {
		assert.Contains(t, newCaller(address).expect(t, 200, "POST", "/post", "x").Text(), "b:")
	}
	assert.True(t, nobodyAt(t, former), "it is held by nobody that answers")
	r.expect(t, 200, "POST", "/streams/other", several("other", fmt.Sprintf("1, http: {listen: '%s'}", former)))
}

// TestReplicasHaveAllFailed: who connects to the listener of their own is refused.
func TestReplicasHaveAllFailed(t *testing.T) {
	t.Parallel()
	for _, replicas := range []string{"1", "2"} {
		t.Run(replicas, func(t *testing.T) {
			t.Parallel()
			p := startPenstock(t)
			address := freeAddress(t)
			p.expect(t, 200, "POST", "/streams/a", several("a", fmt.Sprintf("%s, restart: {policy: never}, http: {listen: '%s'}", replicas, address)))
			for _, runner := range p.runners() {
				require.NoError(t, syscall.Kill(runner.PID, syscall.SIGKILL))
				awaitGone(t, runner.PID)
			}
			awaitState(t, p.client, "a", "failed")
			await(t, changeTimeout, "the listener to be closed", func() error {
				if !nobodyAt(t, address) {
					return errors.New("somebody listens")
				}
				return nil
			})
		})
	}
}

// TestReplicasReadyWhileChanged: a stream of which others answer is ready while one
// after the other is replaced.
func TestReplicasReadyWhileChanged(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/a", several("a", "3"))
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	var asked atomic.Int64
	asking.Go(func() {
		for ctx.Err() == nil {
			a, err := p.ask(context.Background(), request{Method: http.MethodGet, Path: "/a/ready"})
			if !assert.NoError(t, err) || !assert.Equal(t, 200, a.Status, a.Text()) {
				return
			}
			asked.Add(1)
		}
	})
	for i := range 3 {
		before := asked.Load()
		p.expect(t, 200, "PUT", "/streams/a", several(fmt.Sprint("v", i), "3"))
		assert.Greater(t, asked.Load(), before+1)
	}
}

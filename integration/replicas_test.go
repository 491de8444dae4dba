package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replicasOf is what the status says of the runners of a stream that has several.
type replicasOf struct {
	Min, Max, Desired, Running int
	Failure                    string
	Runners                    []struct {
		Number      int
		State       string
		Reason      string
		PID         int
		Restarts    int
		Calls       int
		Connections []struct{ Connected bool }
	}
}

func (r *replicasOf) pids() map[int]bool {
	out := map[int]bool{}
	for _, runner := range r.Runners {
		if runner.PID != 0 {
			out[runner.PID] = true
		}
	}
	return out
}

// busy is how many have a process, or are to have one.
func (r *replicasOf) busy() (count int) {
	for _, runner := range r.Runners {
		if runner.State != "idle" {
			count++
		}
	}
	return count
}

func replicasNow(t testing.TB, c *client, id string) *replicasOf {
	t.Helper()
	var s struct{ Replicas *replicasOf }
	c.getJSON(t, "/streams/"+id+"/status", &s)
	return s.Replicas
}

// awaitReplicas waits until so many runners of a stream can be called, and the
// others rest.
func awaitReplicas(t testing.TB, c *client, id string, count int) (r *replicasOf) {
	t.Helper()
	await(t, changeTimeout, fmt.Sprintf("%s to have %d runners", id, count), func() error {
		r = replicasNow(t, c, id)
		if r == nil || r.Running != count || r.busy() != count {
			return fmt.Errorf("it has %+v", r)
		}
		return nil
	})
	return r
}

// several is echo with so many runners, which says how many calls the runner has
// answered that answers.
func several(tag, replicas string) string {
	return fmt.Sprintf(`
runtime: {replicas: %s}
input: {http_server: {path: /post}}
pipeline: {threads: 1, processors: [{mapping: 'root = "%s:" + count("calls").string()'}, {log: {message: answered}}]}
output: {sync_response: {}}
`, replicas, tag)
}

// TestReplicas: a stream has as many runners as its config says, each a process
// of its own, and is one stream to everybody.
func TestReplicas(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/other", echo("other"))
	assert.Nil(t, replicasNow(t, p.client, "other"))
	p.expect(t, 200, "POST", "/streams/a", several("a", "3"))
	now := replicasNow(t, p.client, "a")
	require.NotNil(t, now)
	assert.Equal(t, [4]int{3, 3, 3, 3}, [4]int{now.Min, now.Max, now.Desired, now.Running}, "they run when the call is answered")
	assert.Len(t, now.pids(), 3)
	assert.Len(t, p.runners(), 4)

	// Each has answered equally many.
	seen := map[string]int{}
	for range 9 {
		seen[p.expect(t, 200, "POST", "/a/post", "x").Text()]++
	}
	assert.Equal(t, map[string]int{"a:1": 3, "a:2": 3, "a:3": 3}, seen)

	// One stream everywhere.
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.Len(t, list, 2)
	for _, path := range []string{"/streams/a@2", "/streams/a@2/status", "/streams/a@2/stats"} {
		assert.NotEqual(t, 200, p.call(t, "GET", path, "").Status, path)
	}
	assert.NotEqual(t, 200, p.call(t, "DELETE", "/streams/a@2", "").Status)
	assert.Equal(t, 404, p.call(t, "POST", "/a@2/post", "x").Status)
	assert.Equal(t, "OK", p.expect(t, 200, "GET", "/ready", "").Text())
	var ready struct {
		Statuses []struct {
			Path      string
			Connected bool
			Replica   int
		}
	}
	p.getJSON(t, "/a/ready", &ready)
	assert.Len(t, ready.Statuses, 6)
	var tree struct {
		Input struct{ Received int }
	}
	p.getJSON(t, "/streams/a/stats?format=tree", &tree)
	assert.Equal(t, 9, tree.Input.Received, "the counts of all are added up")
	metrics := p.expect(t, 200, "GET", "/metrics", "").Text()
	for _, number := range []string{"1", "2", "3"} {
		assert.Contains(t, metrics, `input_received{label="",path="root.input",replica="`+number+`",stream="a"} 3`)
	}
	assert.Contains(t, metrics, `penstock_streams{state="running"} 2`)
	assert.NotContains(t, metrics, `stream="a@2"`)
	assert.Contains(t, p.expect(t, 200, "GET", "/streams/a/logs?replica=2&tail=-1", "").Text(), "answered")
	assert.Contains(t, p.expect(t, 400, "GET", "/streams/a/logs?replica=4", "").Text(), "the stream has no runner 4 now, it has 1 to 3")
	assert.Contains(t, p.expect(t, 400, "GET", "/streams/a/logs?replica=x", "").Text(), "replica must be")

	// A change is one of all.
	p.expect(t, 200, "PUT", "/streams/a", several("b", "3"))
	changed := replicasNow(t, p.client, "a")
	for pid := range changed.pids() {
		assert.NotContains(t, now.pids(), pid)
	}
	for range 6 {
		assert.Contains(t, p.expect(t, 200, "POST", "/a/post", "x").Text(), "b:")
	}
	p.expect(t, 400, "PUT", "/streams/a", several("c", "3")+"nonsense: {}\n")
	p.expect(t, 200, "PUT", "/streams/a/log-level", `{"level": "debug"}`)
	assert.Equal(t, changed.pids(), replicasNow(t, p.client, "a").pids())
	p.expect(t, 200, "POST", "/streams/a/restart", "")
	restarted := replicasNow(t, p.client, "a")
	for pid := range restarted.pids() {
		assert.NotContains(t, changed.pids(), pid)
	}

	// Their number changes without touching those that stay.
	p.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: 4}")
	more := awaitReplicas(t, p.client, "a", 4)
	for pid := range restarted.pids() {
		assert.Contains(t, more.pids(), pid)
	}
	p.expect(t, 200, "POST", "/streams/a/pause", "")
	paused := replicasNow(t, p.client, "a")
	assert.Zero(t, paused.Running)
	assert.Len(t, p.runners(), 1)
	p.expect(t, 503, "POST", "/a/post", "x")
	p.expect(t, 200, "POST", "/streams/a/resume", "")
	awaitReplicas(t, p.client, "a", 4)
	p.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: 1}")
	assert.Nil(t, replicasNow(t, p.client, "a"))
	assert.Len(t, p.runners(), 2)
	p.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: 2}")
	p.expect(t, 200, "DELETE", "/streams/a", "")
	assert.Len(t, p.runners(), 1)
	p.expect(t, 200, "POST", "/streams/a", echo("again"))
	assert.Nil(t, replicasNow(t, p.client, "a"))
}

// TestReplicasDie: while one is away the others answer, and it comes back.
func TestReplicasDie(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/a", several("a", "2"))
	for number := range 2 {
		before := awaitReplicas(t, p.client, "a", 2)
		victim := before.Runners[number].PID
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		awaitGone(t, victim)
		for range 20 {
			p.expect(t, 200, "POST", "/a/post", "x")
		}
		await(t, changeTimeout, "another in its place", func() error {
			now := replicasNow(t, p.client, "a")
			if r := now.Runners[number]; now.Running != 2 || r.PID == victim || r.Restarts != 1 {
				return fmt.Errorf("they are %+v", now)
			}
			return nil
		})
	}
}

// TestReplicasSurvive: the next supervisor adopts all of them, or starts as many.
func TestReplicasSurvive(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", several("a", "3"))
	r.expect(t, 200, "POST", "/streams/deleted", several("deleted", "3"))
	r.expect(t, 200, "DELETE", "/streams/deleted", "")
	for how, end := range ends(r) {
		before := awaitReplicas(t, r.client, "a", 3)
		end(t)
		r.start(t)
		after := awaitReplicas(t, r.client, "a", 3)
		if how == "kill" {
			assert.Equal(t, before.pids(), after.pids())
		}
		assert.Contains(t, r.expect(t, 200, "POST", "/a/post", "x").Text(), "a:")
		assert.Len(t, r.runners(), 3)
	}
	r.expect(t, 200, "DELETE", "/streams/a", "")
	assert.Empty(t, r.runners())
}

// TestReplicasAreScaled: there are as many as the calls ask for, at once, and
// fewer once fewer have been enough for a while.
func TestReplicasAreScaled(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	slow := strings.Replace(echo("a"), "{processors: [", "{threads: 8, processors: [{sleep: {duration: 200ms}}, ", 1)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 3, in_flight: 2, cooldown: 500ms}}\n"+slow)
	assert.Equal(t, 1, replicasNow(t, p.client, "a").Running)
	requests := newSteady(t)
	for range 6 {
		requests.post(p.Base, "a", time.Millisecond)
	}
	awaitReplicas(t, p.client, "a", 3)
	served := requests.sum()
	wrong, failed := requests.outside(time.Time{}, time.Time{})
	t.Log(served)
	assert.Empty(t, wrong, "%d calls failed", failed)
	awaitReplicas(t, p.client, "a", 1)
	p.expect(t, 200, "POST", "/a/post", "x")
}

// TestReplicasUnderLoad: no call is lost to a change of what they run or of how
// many there are.
func TestReplicasUnderLoad(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	config := func(replicas, round int) string {
		another := strings.Replace(echo("a"), "processors: [", fmt.Sprintf("processors: [{mapping: 'meta round = %d'}, ", round), 1)
		return fmt.Sprintf("runtime: {replicas: %d}\n%s", replicas, another)
	}
	p.expect(t, 200, "POST", "/streams/a", config(2, 0))
	requests := newSteady(t)
	for range 4 {
		requests.post(p.Base, "a", time.Millisecond)
	}
	for i := range 4 {
		p.expect(t, 200, "PUT", "/streams/a", config(1+i%3, i+1))
		p.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: 3}")
	}
	served := requests.sum()
	wrong, failed := requests.outside(time.Time{}, time.Time{})
	t.Log(served)
	assert.Empty(t, wrong, "%d calls failed", failed)
}

// TestReplicasShareACallLimit: max_in_flight is that of each runner.
func TestReplicasShareACallLimit(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	config := strings.Replace(several("a", "2, http: {max_in_flight: 1, queue: 0}"), "processors: [", "processors: [{sleep: {duration: 500ms}}, ", 1)
	p.expect(t, 200, "POST", "/streams/a", config)
	var calls sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for range 2 {
		calls.Go(func() {
			a := p.call(t, "POST", "/a/post", "x")
			mu.Lock()
			defer mu.Unlock()
			answers[a.Status]++
		})
	}
	awaitCalls(t, p.client, "a", 2)
	now := replicasNow(t, p.client, "a")
	assert.Equal(t, []int{1, 1}, []int{now.Runners[0].Calls, now.Runners[1].Calls})
	assert.Equal(t, 429, p.call(t, "POST", "/a/post", "x").Status)
	calls.Wait()
	assert.Equal(t, map[int]int{200: 2}, answers)
}

// TestReplicasIdle: those of a stream that nobody calls are given back with it.
func TestReplicasIdle(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", several("a", "2, idle_timeout: 300ms"))
	for range 2 {
		awaitState(t, p.client, "a", "idle")
		await(t, changeTimeout, "no process", func() error {
			if n := len(p.runners()); n != 0 {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
		assert.Contains(t, p.expect(t, 200, "POST", "/a/post", "x").Text(), "a:1")
	}
}

// TestReplicasPull: an input that takes messages by itself has one in each, when
// the config asks for them.
func TestReplicasPull(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	sink := newCounter(t)
	p.expect(t, 200, "POST", "/streams/a", fmt.Sprintf(`
runtime: {replicas: 2}
input: {generate: {count: 3, interval: 1ms, mapping: 'root = "once"'}}
output: {http_client: {url: '%s', verb: POST}}
`, sink.URL))
	p.awaitFinished(t, "a")
	await(t, changeTimeout, "what both make", func() error {
		now := replicasNow(t, p.client, "a")
		if len(now.Runners) != 2 || now.Runners[1].State != "finished" {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	var tree struct {
		Input struct{ Received int }
	}
	p.getJSON(t, "/streams/a/stats?format=tree", &tree)
	assert.Equal(t, 6, tree.Input.Received)
}

// TestReplicasOnAnOwnListener: the kernel spreads connections over runners that
// share a socket.
func TestReplicasOnAnOwnListener(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	address := freeAddress(t)
	p.expect(t, 200, "POST", "/streams/a", several("a", fmt.Sprintf("2, http: {listen: '%s'}", address)))
	c := newCaller(address)
	answered := func() (ones int) {
		for range 40 {
			if c.expect(t, 200, "POST", "/post", "x").Text() == "a:1" {
				ones++
			}
		}
		return ones
	}
	assert.NotZero(t, answered())
	before := awaitReplicas(t, p.client, "a", 2)
	require.NoError(t, syscall.Kill(before.Runners[0].PID, syscall.SIGKILL))
	awaitGone(t, before.Runners[0].PID)
	answered()
	end := press(t, address)
	p.expect(t, 200, "PUT", "/streams/a", several("b", fmt.Sprintf("3, http: {listen: '%s'}", address)))
	p.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: 1}")
	assert.NotZero(t, end())
	p.expect(t, 200, "DELETE", "/streams/a", "")
	assert.True(t, nobodyAt(t, address))
}

// TestReplicasRefused: what cannot be had more than once is refused, and nothing
// of it stays.
func TestReplicasRefused(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "http.stream_listen=['127.0.0.1:1024-65535']")
	const pulls = "input: {generate: {interval: 1h, mapping: 'root = {}'}}\noutput: {drop: {}}\n"
	own := fmt.Sprintf("input: {http_server: {address: '%s'}}\noutput: {drop: {}}\n", freeAddress(t))
	for config, why := range map[string]string{
		"runtime: {replicas: 2}\n" + own:                                                "listens on 127.0.0.1:",
		"runtime: {replicas: {max: 2}}\n" + pulls:                                       "its input generate takes messages by itself: write replicas as a number",
		"runtime: {replicas: 0}\n" + pulls:                                              "expected an integer from 1 to 64, got 0",
		"runtime: {replicas: {min: 0, max: 2}}\n" + pulls:                               "runtime.idle_timeout is what gives it back",
		"runtime: {replicas: {min: 3, max: 2}}\n" + pulls:                               "2 is below the field min, 3",
		"runtime: {replicas: {min: 2}}\n" + pulls:                                       "max is required",
		"runtime: {replicas: {min: 2, max: 2, in_flight: 3}}\n" + pulls:                 "nothing is scaled where min is max",
		"runtime: {replicas: {max: 2}, http: {listen: '127.0.0.1:4321'}}\n" + echo("a"): "calls on the stream's own listener do not pass the server",
		"runtime: {replicas: 64, limits: {memory: 1TB}}\n" + pulls:                      "does not fit",
	} {
		a := p.call(t, "POST", "/streams/a", config)
		assert.Contains(t, []int{http.StatusBadRequest, http.StatusInsufficientStorage}, a.Status, "%s", config)
		assert.Contains(t, a.Text(), why)
		assert.Equal(t, 404, p.call(t, "GET", "/streams/a", "").Status)
	}
	p.expect(t, 200, "POST", "/streams/a", own)
	pid := mustStatus(t, p.client, "a").PID
	assert.Contains(t, p.expect(t, 400, "PATCH", "/streams/a", "runtime: {replicas: 2}").Text(), "listens on 127.0.0.1:")
	assert.Equal(t, pid, mustStatus(t, p.client, "a").PID)
	assert.Len(t, p.runners(), 1)
}

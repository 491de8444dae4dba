package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dozing is echo that is given back after a moment without calls.
func dozing(tag string) string { return "runtime: {idle_timeout: 300ms}\n" + echo(tag) }

// TestIdleStreamIsWoken: a stream that nobody calls has no process, is shown as
// active, and answers the next call, also the first of many at once.
func TestIdleStreamIsWoken(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", dozing("a"))
	first := mustStatus(t, p.client, "a").PID
	require.NotZero(t, first)
	idle := awaitState(t, p.client, "a", "idle")
	assert.Zero(t, idle.PID)
	assert.Contains(t, idle.Reason, "nobody has called it for 300ms")
	awaitGone(t, first)

	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.True(t, list["a"].Active)
	assert.Equal(t, "OK", p.expect(t, 200, "GET", "/ready", "").Text())
	assert.Contains(t, p.expect(t, 200, "GET", "/endpoints", "").Text(), "/a/post")
	p.expect(t, 200, "GET", "/streams/a/stats", "")
	assert.JSONEq(t, `{"statuses": []}`, p.expect(t, 200, "GET", "/a/ready", "").Text())
	assert.Equal(t, "idle", mustStatus(t, p.client, "a").State, "a question for its health wakes nobody")

	var calls sync.WaitGroup
	for i := range 20 {
		calls.Go(func() {
			text := fmt.Sprint("call ", i)
			got, err := p.ask(t.Context(), request{Method: http.MethodPost, Path: "/a/post", Body: text})
			if assert.NoError(t, err) {
				assert.Equal(t, 200, got.Status, "%s", got)
				assert.Equal(t, "a:"+text, got.Text())
			}
		})
	}
	calls.Wait()
	woken := mustStatus(t, p.client, "a")
	assert.Equal(t, "running", woken.State)
	assert.NotEqual(t, first, woken.PID)
	assert.Zero(t, woken.Restarts, "to wake is no restart after a failure")
	awaitState(t, p.client, "a", "idle")
}

// TestIdleStreamUnderOperation: what is done to a stream that is idle is done
// as to any other.
func TestIdleStreamUnderOperation(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	for _, id := range []string{"a", "paused", "deleted", "updated"} {
		r.expect(t, 200, "POST", "/streams/"+id, dozing(id))
		awaitState(t, r.client, id, "idle")
	}
	r.expect(t, 200, "POST", "/streams/paused/pause", "")
	assert.Equal(t, "paused", mustStatus(t, r.client, "paused").State)
	r.expect(t, 503, "POST", "/paused/post", "x")
	r.expect(t, 200, "DELETE", "/streams/deleted", "")
	r.expect(t, 404, "POST", "/deleted/post", "x")
	r.expect(t, 200, "PUT", "/streams/updated", dozing("new"))
	assert.Equal(t, "new:x", r.expect(t, 200, "POST", "/updated/post", "x").Text())

	// The next supervisor finds it idle, and starts no process for it.
	restartBothWays(t, r, func(how string) {
		assert.Equal(t, "idle", mustStatus(t, r.client, "a").State, how)
		assert.Equal(t, "paused", mustStatus(t, r.client, "paused").State, how)
		assert.Equal(t, "a:x", r.expect(t, 200, "POST", "/a/post", "x").Text(), how)
		awaitState(t, r.client, "a", "idle")
	})

	// Without the option it stays.
	r.expect(t, 200, "POST", "/a/post", "x")
	pid := mustStatus(t, r.client, "a").PID
	r.expect(t, 200, "PATCH", "/streams/a", "runtime: {idle_timeout: 24h}")
	assert.Equal(t, pid, mustStatus(t, r.client, "a").PID, "a change of the option needs no new process")
}

// TestIdleStreamKeepsItsCalls: what is called without a pause is never given
// back, nor under an answer that goes on.
func TestIdleStreamKeepsItsCalls(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/q", `
runtime: {idle_timeout: 100ms}
input: {http_server: {}}
output: {http_server: {timeout: 5s}}
`)
	pid := mustStatus(t, p.client, "q").PID
	f := follow(t, p.client, "/q/get/stream")
	awaitCalls(t, p.client, "q", 1)
	p.expect(t, 200, "POST", "/streams/other", dozing("other"))
	awaitState(t, p.client, "other", "idle")
	s := mustStatus(t, p.client, "q")
	assert.Equal(t, "running", s.State, "its follower stays")
	assert.Equal(t, pid, s.PID)
	p.expect(t, 200, "POST", "/q/post", "hello")
	assert.Equal(t, "hello", f.line(t))
	require.NoError(t, f.Close())
	awaitState(t, p.client, "q", "idle")
}

// TestIdleUnderCalls: calls that come at the very moment at which a stream is
// given back are answered.
func TestIdleUnderCalls(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {idle_timeout: 100ms}\n"+echo("a"))
	pids := map[int]bool{}
	for i := range 40 {
		// Some come just before, some just after it is idle.
		time.Sleep(time.Duration(90+i%4*10) * time.Millisecond)
		require.Equal(t, "a:x", p.expect(t, 200, "POST", "/a/post", "x").Text(), "call %d", i)
		pids[mustStatus(t, p.client, "a").PID] = true
	}
	assert.Greater(t, len(pids), 2, "it was given back in between")
	assert.Zero(t, mustStatus(t, p.client, "a").Restarts)
}

// TestIdleIsRefused: a stream that does something without a call cannot be idle.
func TestIdleIsRefused(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	const pulls = "input: {generate: {interval: 1h, mapping: 'root = {}'}}\noutput: {drop: {}}\n"
	for config, why := range map[string]string{
		pulls: "its input generate takes messages by itself",
		"input: {http_server: {}}\nbuffer: {memory: {}}\noutput: {drop: {}}\n": "its buffer memory may hold messages",
	} {
		a := p.expect(t, 400, "POST", "/streams/a", "runtime: {idle_timeout: 1m}\n"+config)
		assert.Contains(t, a.Text(), "runtime.idle_timeout is for streams that do nothing without a call, and "+why+": leave it out")
	}
	p.expect(t, 200, "POST", "/streams/a", pulls)
	pid := mustStatus(t, p.client, "a").PID
	a := p.expect(t, 400, "PATCH", "/streams/a", "runtime: {idle_timeout: 1m}")
	assert.Contains(t, a.Text(), "its input generate takes messages by itself")
	a = p.expect(t, 400, "POST", "/streams", `{"a": {"runtime": {"idle_timeout": "1m"}, "input": {"generate": {"interval": "1h", "mapping": "root = {}"}}, "output": {"drop": {}}}}`)
	assert.Contains(t, a.Text(), "its input generate takes messages by itself")
	assert.Equal(t, pid, mustStatus(t, p.client, "a").PID)
}

// TestIdleOfAHangingRunner: a runner that hangs when it is to be given back is
// ended, and the stream can be called again.
func TestIdleOfAHangingRunner(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.rpc=300ms", "--set", "timeouts.stop=500ms")
	p.expect(t, 200, "POST", "/streams/a", dozing("a"))
	freeze(t, mustStatus(t, p.client, "a").PID)
	awaitState(t, p.client, "a", "idle")
	assert.Equal(t, "a:x", p.expect(t, 200, "POST", "/a/post", "x").Text())
}

// TestIdleWithoutPrefix: while it wakes, a stream's paths are its own as before.
func TestIdleWithoutPrefix(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "prefix_stream_endpoints=false")
	p.expect(t, 200, "POST", "/streams/a", dozing("a"))
	for range 3 {
		awaitState(t, p.client, "a", "idle")
		waking := begin(t, p.client, request{Method: http.MethodPost, Path: "/post", Body: "first"})
		for mustStatus(t, p.client, "a").State != "running" {
			require.Equal(t, "a:x", p.expect(t, 200, "POST", "/post", "x").Text())
		}
		assert.Equal(t, 200, end(t, "the call that wakes it", waking).Status)
	}
}

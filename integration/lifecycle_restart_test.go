package integration

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLifecycleRestartAtOnce: the backoff is so long that a runner which is
// back soon has not waited for it.
func TestLifecycleRestartAtOnce(t *testing.T) {
	t.Parallel()
	const stable, soon = time.Second, 10 * time.Second
	p := startPenstock(t, "--set", "restart.initial=30s", "--set", "restart.stable_after="+stable.String())
	p.expect(t, 200, "POST", "/streams/a", echo("a"))

	pid := awaitPID(t, p.client, "a")
	for _, occasion := range []string{"the first death", "the first death after a stable while"} {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		var next int
		down := timed(func() { next = awaitPID(t, p.client, "a", pid) })
		assert.Less(t, down, soon, occasion)
		awaitEcho(t, p.client, "/a/post", "a")
		awaitGone(t, pid)
		pid = next
		await(t, changeTimeout, "a stable runner", func() error {
			list, err := listStreams(t.Context(), p.client)
			if err == nil && list["a"].Uptime <= stable.Seconds() {
				err = fmt.Errorf("its uptime is %f s", list["a"].Uptime)
			}
			return err
		})
	}

	// Two deaths in short order, and the second one waits: until a change of
	// the config, which starts over.
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	second := awaitPID(t, p.client, "a", pid)
	require.NoError(t, syscall.Kill(second, syscall.SIGKILL))
	await(t, changeTimeout, "the backoff", func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/ready"})
		if err == nil && !strings.Contains(a.Text(), "signal 9 (killed); it will be started again") {
			err = errors.New(a.String())
		}
		return err
	})
	a := p.expect(t, 503, "POST", "/a/post", "hello")
	assert.Contains(t, a.Text(), "signal 9")
	ready := p.expect(t, 503, "GET", "/a/ready", "")
	assert.Contains(t, ready.Text(), "signal 9")
	p.expect(t, 200, "PUT", "/streams/a", echo("b"))
	awaitEcho(t, p.client, "/a/post", "b")
	pid = awaitPID(t, p.client, "a")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	down := timed(func() { awaitPID(t, p.client, "a", pid) })
	assert.Less(t, down, soon, "the first death after a change")
}

// TestLifecycleRestartBackoff has a stream report each of its starts before it
// crashes.
func TestLifecycleRestartBackoff(t *testing.T) {
	t.Parallel()
	const initial, longest, attempts = 100 * time.Millisecond, 200 * time.Millisecond, 12
	started := make(chan time.Time, 100)
	listener := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		started <- time.Now()
	}))
	t.Cleanup(listener.Close)
	p := startPenstock(t, "--set", "restart.initial="+initial.String(), "--set", "restart.max="+longest.String())
	p.expect(t, 200, "POST", "/streams/loop", fmt.Sprintf(`
input: {generate: {interval: "", mapping: 'root = "x"'}}
pipeline: {threads: 1, processors: [{http: {url: '%s', verb: POST}}, {crash: 'deliberate crash'}]}
output: {drop: {}}
`, listener.URL))

	var times []time.Time
	for range attempts {
		select {
		case at := <-started:
			times = append(times, at)
		case <-time.After(changeTimeout):
			require.Fail(t, "no further attempt", "after %d", len(times))
		}
	}
	// At once, then initial, then longest, each with a quarter of jitter, and
	// the start itself on top. Without an upper limit the last wait would be
	// longer than anybody waits for it above.
	require.Greater(t, initial<<(attempts-3), 2*changeTimeout)
	for i := 1; i < attempts; i++ {
		waited, nominal := times[i].Sub(times[i-1]), longest
		switch i {
		case 1:
			nominal = 0
		case 2:
			nominal = initial
		}
		t.Logf("attempt %d came after %s, nominally %s", i+1, waited, nominal)
		assert.GreaterOrEqual(t, waited, nominal*3/4, "the wait before attempt %d", i+1)
	}
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.Contains(t, list, "loop")
	took := timed(func() { p.expect(t, 200, "DELETE", "/streams/loop", "") })
	assert.Less(t, took, 2*margin, "the deletion of a stream that waits for its next start")
	assert.Empty(t, p.runners())
}

// TestLifecycleFinished: a stream whose input has ended is over, and not dead.
func TestLifecycleFinished(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var posts int
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		posts++
	}))
	t.Cleanup(sink.Close)
	p := startPenstock(t)
	config := fmt.Sprintf(`
input: {label: three, generate: {count: 3, interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: '%s', verb: POST}}
`, sink.URL)
	p.expect(t, 200, "POST", "/streams/short", config)
	finished := func() {
		t.Helper()
		await(t, changeTimeout, "the stream to finish", func() error {
			list, err := listStreams(t.Context(), p.client)
			if err == nil && list["short"].Active {
				err = errors.New("it is active")
			}
			return err
		})
	}
	finished()
	await(t, changeTimeout, "the end of its process", func() error {
		if left := p.runners(); len(left) > 0 {
			return fmt.Errorf("there is %v", left)
		}
		return nil
	})
	assert.Equal(t, "OK", p.expect(t, 200, "GET", "/ready", "").Text())

	checkStats := func() {
		t.Helper()
		var tree struct {
			Input  struct{ Received int }
			Output struct{ Sent int }
			Uptime int64 `json:"uptime_ns"`
		}
		p.getJSON(t, "/streams/short/stats", &tree)
		assert.Equal(t, 3, tree.Input.Received)
		assert.Equal(t, 3, tree.Output.Sent)
		assert.Positive(t, tree.Uptime)
		var flat map[string]any
		p.getJSON(t, "/streams/short/stats?format=flat", &flat)
		assert.EqualValues(t, 3, flat[`input_received{label="three",path="root.input",stream="short"}`])
		assert.EqualValues(t, 3, flat[`output_sent{label="",path="root.output",stream="short"}`])
	}
	checkStats()

	// While another stream goes through a life and a restart, this one stays
	// as it is.
	p.expect(t, 200, "POST", "/streams/other", echo("other"))
	kill(t, p, "other")
	awaitEcho(t, p.client, "/other/post", "other")
	p.expect(t, 200, "DELETE", "/streams/other", "")
	assert.Empty(t, p.runners())
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.False(t, list["short"].Active)
	checkStats()
	mu.Lock()
	assert.Equal(t, 3, posts)
	mu.Unlock()

	// It can be run again, and removed.
	p.expect(t, 200, "PUT", "/streams/short", config)
	finished()
	checkStats()
	mu.Lock()
	assert.Equal(t, 6, posts)
	mu.Unlock()
	p.expect(t, 200, "DELETE", "/streams/short", "")
	p.expect(t, 404, "GET", "/streams/short", "")
}

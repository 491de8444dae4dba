package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// holding is a service that streams call, which answers when it is told to. What
// has arrived there is what a stream has done.
type holding struct {
	*httptest.Server
	// arrived gets the body of each request, and each answer waits for one of
	// release, which ends them all when it is closed.
	arrived chan string
	release chan struct{}
}

func newHolding(t *testing.T) *holding {
	h := &holding{arrived: make(chan string, 100), release: make(chan struct{})}
	over := make(chan struct{})
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.arrived <- string(body)
		select {
		case <-h.release:
		case <-over:
		case <-r.Context().Done():
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(func() {
		close(over)
		h.Close()
	})
	return h
}

// yaml is a stream that answers with what the service does, which is its body.
func (h *holding) yaml(runtime string) string {
	return fmt.Sprintf(`
runtime: %s
input: {http_server: {path: /post, allowed_verbs: [GET, POST, PUT, DELETE], timeout: 60s}}
pipeline: {threads: 16, processors: [{http: {url: '%s', verb: POST, timeout: 60s, retries: 0}}]}
output: {sync_response: {}}
`, runtime, h.URL)
}

// next waits for the next arrival.
func (h *holding) next(t *testing.T) string {
	t.Helper()
	select {
	case body := <-h.arrived:
		return body
	case <-time.After(changeTimeout):
		require.FailNow(t, "nothing arrives")
		return ""
	}
}

// background sends a request beside the test.
func background(t *testing.T, c *client, r request) <-chan answer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	got := make(chan answer, 1)
	go func() {
		a, err := c.ask(ctx, r)
		if err != nil {
			a = answer{Body: []byte(err.Error())}
		}
		got <- a
	}()
	return got
}

func replied(t *testing.T, got <-chan answer) answer {
	t.Helper()
	select {
	case a := <-got:
		return a
	case <-time.After(changeTimeout):
		require.FailNow(t, "it is not answered")
		return answer{}
	}
}

// awaitWaiting waits until as many calls of a stream wait for their turn.
func awaitWaiting(t *testing.T, c *client, id string, want int) {
	t.Helper()
	await(t, changeTimeout, fmt.Sprintf("%d calls to wait", want), func() error {
		var s struct{ Calls struct{ Waiting int } }
		c.getJSON(t, "/streams/"+id+"/status", &s)
		if s.Calls.Waiting != want {
			return fmt.Errorf("%d do", s.Calls.Waiting)
		}
		return nil
	})
}

func posting(body string) request {
	return request{Method: http.MethodPost, Path: "/a/post", Body: body}
}

// A stream gets as many calls at a time as it wants, in order; what is beyond
// the queue is sent away. Both change while it runs.
func TestFunctionsLimit(t *testing.T) {
	t.Parallel()
	p, h := startPenstock(t, quickStop...), newHolding(t)
	p.expect(t, 200, "POST", "/streams/a", h.yaml("{http: {max_in_flight: 1, queue: 3}}"))
	pid := mustStatus(t, p.client, "a").PID
	calls := []<-chan answer{background(t, p.client, posting("0"))}
	require.Equal(t, "0", h.next(t))
	for i := 1; i <= 3; i++ {
		calls = append(calls, background(t, p.client, posting(fmt.Sprint(i))))
		awaitWaiting(t, p.client, "a", i)
	}
	busy := p.call(t, "POST", "/a/post", "too many")
	assert.Equal(t, 429, busy.Status, "%s", busy)
	assert.Equal(t, "1", busy.Header.Get("Retry-After"))
	assert.Contains(t, busy.Text(), "it answers 1 calls, and 3 wait")
	assert.Equal(t, 200, p.call(t, "GET", "/a/ready", "").Status, "/ready stands in no queue")

	for i := range 2 {
		h.release <- struct{}{}
		assert.Equal(t, fmt.Sprint(i), replied(t, calls[i]).Text())
		require.Equal(t, fmt.Sprint(i+1), h.next(t), "in order")
	}
	assert.Equal(t, 1, callsOf(t, p.client, "a"))
	// A higher limit lets in who waits.
	p.expect(t, 200, "PATCH", "/streams/a", `{"runtime": {"http": {"max_in_flight": 2}}}`)
	require.Equal(t, "3", h.next(t))
	// None lets in everybody.
	p.expect(t, 200, "PATCH", "/streams/a", `{"runtime": {"http": null}}`)
	for i := range 5 {
		calls = append(calls, background(t, p.client, posting(fmt.Sprint("more ", i))))
		assert.Contains(t, h.next(t), "more")
	}
	close(h.release)
	for _, call := range calls[2:] {
		assert.Equal(t, 200, replied(t, call).Status)
	}
	assert.Equal(t, pid, mustStatus(t, p.client, "a").PID, "another runner for a limit")
	assert.Empty(t, h.arrived)
}

// An answer that does not begin in time is 504, be the call with the stream or
// in its queue, and its client may go on.
func TestFunctionsTimeout(t *testing.T) {
	t.Parallel()
	p, h := startPenstock(t, quickStop...), newHolding(t)
	p.expect(t, 200, "POST", "/streams/a", h.yaml("{http: {max_in_flight: 1, queue: 5, timeout: 400ms}}"))
	w := dialWire(t, p.client)
	began := time.Now()
	w.send(t, "POST /a/post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n0")
	require.Equal(t, "0", h.next(t))
	waits := background(t, p.client, posting("waits"))
	a := w.mustAnswer(t, "POST")
	assert.Equal(t, 504, a.Status, "%s", a)
	assert.Contains(t, a.Text(), `stream "a" has not answered within 400ms`)
	assert.InDelta(t, 400*time.Millisecond, time.Since(began), float64(margin))
	// Its turn came when the first was given up, or never.
	assert.Equal(t, 504, replied(t, waits).Status)
	awaitCalls(t, p.client, "a", 0)

	p.expect(t, 200, "PATCH", "/streams/a", `{"runtime": {"http": {"timeout": "5s"}}}`)
	first := background(t, p.client, posting("first"))
	for h.next(t) != "first" {
		continue
	}
	p.expect(t, 200, "PATCH", "/streams/a", `{"runtime": {"http": {"timeout": "50ms"}}}`)
	a = p.call(t, "POST", "/a/post", "never")
	assert.Equal(t, 504, a.Status)
	assert.Contains(t, a.Text(), "waited 50ms for its turn")
	close(h.release)
	assert.Equal(t, "first", replied(t, first).Text(), "each call has the timeout that it came with")
	// What had its turn when it was given up may come to the stream late.
	for len(h.arrived) > 0 {
		assert.Equal(t, "waits", h.next(t), "what timed out in the queue has reached nobody")
	}
	w.send(t, "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
	assert.Equal(t, "pong", w.mustAnswer(t, "GET").Text())
}

// A runner that dies while it answers: what may be carried out twice is sent to
// the next, and the rest is said to have had no answer, and is not sent again.
func TestFunctionsWhoseRunnerDies(t *testing.T) {
	t.Parallel()
	p, h := startPenstock(t, quickStop...), newHolding(t)
	// So many deaths in a row would make a call wait for longer than it does.
	p.expect(t, 200, "POST", "/streams/a", h.yaml("{restart: {backoff: {initial: 100ms, max: 100ms}}}"))
	for _, test := range []struct {
		request
		again bool
	}{
		{request{Method: "POST", Path: "/a/post", Body: "post"}, false},
		{request{Method: "PUT", Path: "/a/post", Body: "put"}, false},
		{request{Method: "DELETE", Path: "/a/post", Body: "delete"}, false},
		{request{Method: "GET", Path: "/a/post"}, true},
		{request{Method: "POST", Path: "/a/post", Body: "key", Header: map[string]string{"Idempotency-Key": "k"}}, true},
		{request{Method: "PUT", Path: "/a/post", Body: "put key", Header: map[string]string{"Idempotency-Key": "k"}}, true},
		{request{Method: "PUT", Path: "/a/post", Body: strings.Repeat("long", 50_000), Header: map[string]string{"Idempotency-Key": "k"}}, false},
	} {
		what := fmt.Sprintf("%s %.10q", test.Method, test.Body)
		pid := mustStatus(t, p.client, "a").PID
		got := background(t, p.client, test.request)
		require.Equal(t, test.Body, h.next(t), what)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		if test.again {
			require.Equal(t, test.Body, h.next(t), what)
			h.release <- struct{}{}
			a := replied(t, got)
			assert.Equal(t, 200, a.Status, "%s: %s", what, a)
			assert.Equal(t, test.Body, a.Text(), what)
		} else {
			a := replied(t, got)
			assert.Equal(t, 502, a.Status, "%s: %s", what, a)
			assert.Regexp(t, `while it was answering, the runner of stream "a" was (killed|ended) `, a.Text())
		}
		awaitPID(t, p.client, "a", pid)
		after := background(t, p.client, posting("after"))
		require.Equal(t, "after", h.next(t), "%s has arrived twice", what)
		h.release <- struct{}{}
		require.Equal(t, 200, replied(t, after).Status)
	}
	assert.Empty(t, h.arrived)
}

// A call that comes while a runner is started again waits for it, but not for
// ever; /ready does not at all.
func TestFunctionsWhileTheRunnerRestarts(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	end := func(id string) {
		pid := mustStatus(t, p.client, id).PID
		require.NotZero(t, pid)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		awaitGone(t, pid)
	}
	p.expect(t, 200, "POST", "/streams/a", "runtime: {restart: {backoff: {initial: 300ms, max: 300ms}}}\n"+echo("a"))
	for i := range 4 {
		end("a")
		a := p.call(t, "POST", "/a/post", fmt.Sprint(i))
		assert.Equal(t, 200, a.Status, "after death %d: %s", i, a)
		assert.Equal(t, fmt.Sprintf("a:%d", i), a.Text())
	}

	p.expect(t, 200, "POST", "/streams/b", "runtime: {restart: {backoff: {initial: 1m, max: 1m}}}\n"+echo("b"))
	end("b")
	awaitEcho(t, p.client, "/b/post", "b")
	end("b")
	awaitState(t, p.client, "b", "backoff")
	began := time.Now()
	a := p.call(t, "GET", "/b/ready", "")
	assert.Equal(t, 503, a.Status, "%s", a)
	assert.Less(t, time.Since(began), margin)
	began = time.Now()
	a = p.call(t, "POST", "/b/post", "x")
	assert.Equal(t, 503, a.Status, "%s", a)
	assert.InDelta(t, 2*time.Second, time.Since(began), float64(margin))
	p.expect(t, 200, "POST", "/streams/b/pause", "")
	began = time.Now()
	assert.Equal(t, 503, p.call(t, "POST", "/b/post", "x").Status)
	assert.Less(t, time.Since(began), margin, "a paused stream does not come back")
}

// A runner that hangs is not waited for beyond a time, neither with a connection
// to it nor without.
func TestFunctionsOfARunnerThatHangs(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {http: {timeout: 300ms}}\n"+echo("a"))
	p.expect(t, 200, "POST", "/streams/b", "runtime: {http: {timeout: 300ms}}\n"+echo("b"))
	p.expect(t, 200, "POST", "/a/post", "connected")
	for _, id := range []string{"a", "b"} {
		pid := runnerOf(t, p.client, id)
		freeze(t, pid)
		began := time.Now()
		a := p.call(t, "POST", "/"+id+"/post", "x")
		assert.Equal(t, 504, a.Status, "%s", a)
		assert.Less(t, time.Since(began), 300*time.Millisecond+margin)
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		await(t, changeTimeout, "it to answer again", func() error {
			if a := p.call(t, "POST", "/"+id+"/post", "x"); a.Status != 200 {
				return errors.New(a.String())
			}
			return nil
		})
	}
}

// A stream that dies as soon as it runs, again and again, answers its callers
// before long, one way or another.
func TestFunctionsOfACrashLoop(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/a", `
input:
  broker:
    inputs:
      - http_server: {path: /post, allowed_verbs: [POST, PUT]}
      - generate: {count: 1, interval: 1ms, mapping: 'root = "die"'}
pipeline: {processors: [{switch: [{check: 'content() == "die"', processors: [{crash: deliberate}]}]}]}
output: {sync_response: {}}
`)
	statuses := map[int]bool{}
	for range 3 {
		var calls []<-chan answer
		for _, method := range []string{"POST", "PUT", "POST", "PUT"} {
			calls = append(calls, background(t, p.client, request{Method: method, Path: "/a/post", Body: "x"}))
		}
		began := time.Now()
		for _, call := range calls {
			a := replied(t, call)
			statuses[a.Status] = true
			assert.Contains(t, []int{200, 502, 503}, a.Status, "%s", a)
		}
		assert.Less(t, time.Since(began), 8*time.Second)
	}
	assert.NotEqual(t, map[int]bool{200: true}, statuses, "the stream does not crash")
	assert.Equal(t, 0, callsOf(t, p.client, "a"))
}

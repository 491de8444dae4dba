package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asyncHeader asks for a call to be carried out later.
const asyncHeader = "X-Penstock-Async"

// asyncCall is what the server says of a call.
type asyncCall struct {
	ID, Status, Location, Stream, Method, Path, Reason string
	Attempts                                           int
	Result                                             *struct {
		Code     int `json:"status_code"`
		Bytes    int
		Location string
	}
	Callback *struct {
		URL, Status, Reason string
		Attempts            int
	}
}

// sayID answers with the id of the call, the attempt and the body.
const sayID = `
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = "%s(" + meta("X-Penstock-Call-Id").or("none") + "," + meta("X-Penstock-Attempt").or("0") + "):" + content().string()'}]}
output: {sync_response: {}}
`

// slowly takes that long for each message, one after the other.
func slowly(duration string) string {
	return fmt.Sprintf(`
input: {http_server: {path: /post, timeout: 60s}}
pipeline: {threads: 1, processors: [{sleep: {duration: %s}}]}
output: {sync_response: {}}
`, duration)
}

// submit makes an asynchronous call, which is accepted.
func submit(t testing.TB, c *client, path, body string, headers ...string) asyncCall {
	t.Helper()
	a := askAsync(t, c, path, body, headers...)
	require.Equal(t, http.StatusAccepted, a.Status, a)
	var call asyncCall
	require.NoError(t, json.Unmarshal(a.Body, &call))
	assert.Equal(t, "queued", call.Status)
	assert.Equal(t, "/calls/"+call.ID, call.Location)
	assert.Equal(t, call.Location, a.Header.Get("Location"))
	assert.Equal(t, call.ID, a.Header.Get("X-Penstock-Call-Id"))
	return call
}

func askAsync(t testing.TB, c *client, path, body string, headers ...string) answer {
	t.Helper()
	r := request{Method: http.MethodPost, Path: path, Body: body, Header: map[string]string{asyncHeader: "true"}}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header[name] = value
	}
	a, err := c.ask(t.Context(), r)
	require.NoError(t, err)
	return a
}

// callEnded waits for the end of a call.
func callEnded(t testing.TB, c *client, id string) asyncCall {
	t.Helper()
	var call asyncCall
	await(t, 60*time.Second, "the end of call "+id, func() error {
		a, err := c.ask(t.Context(), request{Method: http.MethodGet, Path: "/calls/" + id + "?wait=10s"})
		if err != nil {
			return err
		}
		if a.Status != http.StatusOK {
			return fmt.Errorf("it is %s", a)
		}
		return json.Unmarshal(a.Body, &call)
	})
	return call
}

func TestAsyncCall(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/say", fmt.Sprintf(sayID, "say"))
	call := submit(t, p.client, "/say/post?x=1", "hello", "X-Penstock-Call-Id: forged")
	done := callEnded(t, p.client, call.ID)
	assert.Equal(t, "done", done.Status)
	assert.Equal(t, 1, done.Attempts)
	assert.Equal(t, "/say/post?x=1", done.Path)
	want := "say(" + call.ID + ",1):hello"
	require.NotNil(t, done.Result)
	assert.Equal(t, 200, done.Result.Code)
	assert.Equal(t, len(want), done.Result.Bytes)
	got := p.expect(t, 200, "GET", done.Result.Location, "")
	assert.Equal(t, want, got.Text())
	assert.Equal(t, "done", got.Header.Get("X-Penstock-Call-Status"))
	assert.Equal(t, "say(none,0):now", p.expect(t, 200, "POST", "/say/post", "now").Text(), "others stay as they are")
	missing := submit(t, p.client, "/say/nowhere", "x")
	assert.Equal(t, 404, callEnded(t, p.client, missing.ID).Result.Code, "whatever the stream answers is its result")
	p.expect(t, 404, "GET", missing.Location+"/result", "")

	metrics := p.expect(t, 200, "GET", "/metrics", "").Text()
	assert.Contains(t, metrics, "penstock_calls_accepted_total 2\n")
	assert.Contains(t, metrics, `penstock_calls{status="done"} 2`)

	p.expect(t, 200, "DELETE", call.Location, "")
	p.expect(t, 404, "GET", call.Location, "")
	p.expect(t, 404, "GET", call.Location+"/result", "")
	p.expect(t, 404, "DELETE", call.Location, "")
	for _, garbage := range []string{"x", "..", "%00", "%2e%2e", strings.Repeat("A", 26), strings.Repeat("A", 27), strings.Repeat("a", 26), "'", "🦊", strings.Repeat("A", 9000)} {
		assert.Equal(t, 404, p.call(t, "GET", "/calls/"+garbage, "").Status, garbage)
		assert.Equal(t, 404, p.call(t, "GET", "/calls/"+garbage+"/result", "").Status, garbage)
		assert.Equal(t, 404, p.call(t, "DELETE", "/calls/"+garbage, "").Status, garbage)
	}
	assert.Equal(t, 404, askAsync(t, p.client, "/nobody/post", "x").Status)
}

func TestAsyncByConfig(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	config := fmt.Sprintf(sayID, "say")
	p.expect(t, 200, "POST", "/streams/say", config)
	pid := awaitPID(t, p.client, "say")
	p.expect(t, 200, "POST", "/say/post", "x")
	p.expect(t, 200, "PUT", "/streams/say", config+"runtime: {http: {async: true}}\n")
	var call asyncCall
	require.NoError(t, json.Unmarshal(p.expect(t, 202, "POST", "/say/post", "x").Body, &call))
	assert.Equal(t, "done", callEnded(t, p.client, call.ID).Status)
	p.expect(t, 200, "GET", "/say/ready", "")
	assert.Equal(t, 200, askAsync(t, p.client, "/say/post", "x", asyncHeader+": false").Status)
	p.expect(t, 200, "PATCH", "/streams/say", "runtime: {http: {callback: 'http://192.0.2.1/x'}}")
	refused := p.expect(t, 403, "POST", "/say/post", "x")
	assert.Contains(t, refused.Text(), "calls.callbacks.allow")
	p.expect(t, 400, "PATCH", "/streams/say", "runtime: {http: {callback: 'ftp://192.0.2.1/x'}}")
	assert.Equal(t, pid, awaitPID(t, p.client, "say"), "none of this needs a new runner")
}

func TestAsyncWaitsForItsStream(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/say", fmt.Sprintf(sayID, "one"))
	p.expect(t, 200, "POST", "/streams/say/pause", "")
	first, second := submit(t, p.client, "/say/post", "a"), submit(t, p.client, "/say/post", "b")
	got := p.expect(t, 202, "GET", first.Location+"?wait=300ms", "")
	assert.Contains(t, got.Text(), `"status":"queued"`)
	p.expect(t, 202, "GET", first.Location+"/result", "")
	p.expect(t, 200, "PUT", "/streams/say", fmt.Sprintf(sayID, "two"))
	p.expect(t, 200, "POST", "/streams/say/resume", "")
	assert.Equal(t, "done", callEnded(t, p.client, first.ID).Status)
	assert.Equal(t, "two("+first.ID+",1):a", p.expect(t, 200, "GET", first.Location+"/result", "").Text())
	callEnded(t, p.client, second.ID)

	p.expect(t, 200, "POST", "/streams/say/pause", "")
	left := submit(t, p.client, "/say/post", "c")
	canceled := submit(t, p.client, "/say/post", "d")
	p.expect(t, 200, "DELETE", canceled.Location, "")
	p.expect(t, 200, "DELETE", "/streams/say", "")
	p.expect(t, 200, "POST", "/streams/say", fmt.Sprintf(sayID, "another"))
	failed := callEnded(t, p.client, left.ID)
	assert.Equal(t, "failed", failed.Status, "it was not for the stream that is there now")
	assert.Contains(t, failed.Reason, `stream "say" was deleted`)
	assert.Contains(t, p.expect(t, 410, "GET", left.Location+"/result", "").Text(), "was deleted")
	p.expect(t, 404, "GET", canceled.Location, "")
}

func TestAsyncSurvivesItsRunner(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "calls.backoff.initial=50ms", "--set", "calls.attempts=3")
	p.expect(t, 200, "POST", "/streams/slow", slowly("2s"))
	pid := awaitPID(t, p.client, "slow")
	call := submit(t, p.client, "/slow/post", "hello")
	awaitRunning(t, p.client, call)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	done := callEnded(t, p.client, call.ID)
	assert.Equal(t, "done", done.Status, done.Reason)
	assert.Equal(t, 2, done.Attempts)
	assert.Equal(t, "hello", p.expect(t, 200, "GET", call.Location+"/result", "").Text())

	call = submit(t, p.client, "/slow/post", "again")
	awaitRunning(t, p.client, call)
	p.expect(t, 200, "PUT", "/streams/slow", slowly("10ms"))
	assert.Equal(t, "done", callEnded(t, p.client, call.ID).Status, "a replacement")

	p.expect(t, 200, "PUT", "/streams/slow", slowly("60s"))
	call = submit(t, p.client, "/slow/post", "never")
	awaitRunning(t, p.client, call)
	p.expect(t, 200, "DELETE", "/streams/slow?timeout=1s", "")
	failed := callEnded(t, p.client, call.ID)
	assert.Equal(t, "failed", failed.Status)
	assert.Contains(t, failed.Reason, "deleted")
}

func awaitRunning(t testing.TB, c *client, call asyncCall) {
	t.Helper()
	await(t, changeTimeout, "call "+call.ID+" to be carried out", func() error {
		a, err := c.ask(t.Context(), request{Method: http.MethodGet, Path: call.Location})
		if err == nil && !strings.Contains(string(a.Body), `"status":"running"`) {
			err = fmt.Errorf("it is %s", a)
		}
		return err
	})
}

// A call that ends its runner each time does not go on for ever.
func TestAsyncGivesUp(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "calls.backoff.initial=10ms", "--set", "calls.backoff.max=20ms", "--set", "calls.attempts=2", "--set", "calls.timeout=300ms",
		"--set", "calls.max_result=1KiB")
	p.expect(t, 200, "POST", "/streams/slow", slowly("30s"))
	failed := submit(t, p.client, "/slow/post", "x")
	call := callEnded(t, p.client, failed.ID)
	assert.Equal(t, "failed", call.Status)
	assert.Equal(t, 2, call.Attempts)
	assert.Contains(t, call.Reason, "it did not answer within 300ms, the server's calls.timeout")
	assert.Contains(t, call.Reason, "the last of 2 attempts")

	p.expect(t, 200, "POST", "/streams/say", echo("x"))
	large := submit(t, p.client, "/say/post", strings.Repeat("x", 2000))
	call = callEnded(t, p.client, large.ID)
	assert.Equal(t, "failed", call.Status)
	assert.Equal(t, 1, call.Attempts, "the answer would be as large each time")
	assert.Contains(t, call.Reason, "larger than 1KiB, the server's calls.max_result")
}

func TestAsyncBounds(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "calls.max_body=10KiB", "--set", "calls.max_result=1KiB", "--set", "calls.queue=20",
		"--set", "calls.stream_storage=1100KiB", "--set", "calls.storage=1200KiB", "--set", "calls.concurrency=1")
	for _, id := range []string{"a", "b", "c"} {
		p.expect(t, 200, "POST", "/streams/"+id, echo(id))
		p.expect(t, 200, "POST", "/streams/"+id+"/pause", "")
	}
	large := askAsync(t, p.client, "/a/post", strings.Repeat("x", 10<<10+1))
	assert.Equal(t, 413, large.Status)
	assert.Contains(t, large.Text(), "calls.max_body")

	first := submit(t, p.client, "/a/post", "x")
	for range 19 {
		submit(t, p.client, "/a/post", "x")
	}
	full := askAsync(t, p.client, "/a/post", "x")
	assert.Equal(t, 429, full.Status)
	assert.NotEmpty(t, full.Header.Get("Retry-After"))
	assert.Contains(t, full.Text(), "calls.queue")
	submit(t, p.client, "/b/post", "x")
	p.expect(t, 200, "DELETE", first.Location, "")
	submit(t, p.client, "/a/post", "x")
	p.expect(t, 200, "DELETE", "/streams/a", "")
}

func TestAsyncStorageIsBounded(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "calls.max_body=100KiB", "--set", "calls.max_result=100KiB",
		"--set", "calls.stream_storage=1300KiB", "--set", "calls.storage=2MiB")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, echo(id))
		p.expect(t, 200, "POST", "/streams/"+id+"/pause", "")
	}
	body := strings.Repeat("x", 99<<10)
	refused := func(stream string) answer {
		for range 50 {
			if a := askAsync(t, p.client, "/"+stream+"/post", body); a.Status != 202 {
				return a
			}
		}
		require.Fail(t, "nothing is refused")
		return answer{}
	}
	a := refused("a")
	assert.Equal(t, 429, a.Status, a)
	assert.Contains(t, a.Text(), "calls.stream_storage")
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	b := refused("b")
	assert.Equal(t, 507, b.Status, b)
	assert.Contains(t, b.Text(), "calls.storage")

	var list struct{ Calls []asyncCall }
	p.getJSON(t, "/calls?limit=1000", &list)
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id+"/resume", "")
	}
	for _, call := range list.Calls {
		assert.Equal(t, "done", callEnded(t, p.client, call.ID).Status, "what was accepted has room for its result")
		p.expect(t, 200, "DELETE", call.Location, "")
	}
	assert.Contains(t, p.expect(t, 200, "GET", "/metrics", "").Text(), "\npenstock_calls_stored_bytes 0\n")
	info, err := os.Stat(filepath.Join(p.DataDir, "calls.db"))
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(16<<20))
}

func TestAsyncExpiry(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "calls.keep=1s", "--set", "calls.max_age=2s")
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	done := submit(t, p.client, "/a/post", "x")
	callEnded(t, p.client, done.ID)
	p.expect(t, 200, "POST", "/streams/a/pause", "")
	old := submit(t, p.client, "/a/post", "x")
	await(t, soonTimeout, "the result to expire", func() error {
		if a := p.call(t, "GET", done.Location, ""); a.Status != 404 {
			return fmt.Errorf("it is %s", a)
		}
		return nil
	})
	failed := callEnded(t, p.client, old.ID)
	assert.Equal(t, "failed", failed.Status)
	assert.Contains(t, failed.Reason, "calls.max_age")
}

func TestAsyncList(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	ids := map[string][]string{}
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, echo(id))
		for range 3 {
			call := submit(t, p.client, "/"+id+"/post", "x")
			callEnded(t, p.client, call.ID)
			ids[id] = append([]string{call.ID}, ids[id]...)
		}
	}
	p.expect(t, 200, "POST", "/streams/a/pause", "")
	waiting := submit(t, p.client, "/a/post", "x")
	list := func(query string) (found []string, next string) {
		var got struct {
			Calls []asyncCall
			Next  string
		}
		p.getJSON(t, "/calls"+query, &got)
		for _, c := range got.Calls {
			found = append(found, c.ID)
		}
		return found, got.Next
	}
	only := func(query string) []string {
		found, next := list(query)
		assert.Empty(t, next, query)
		return found
	}
	assert.Len(t, only(""), 7)
	assert.Equal(t, ids["b"], only("?stream=b"), "the newest first")
	assert.Equal(t, []string{waiting.ID}, only("?state=queued"))
	assert.Equal(t, ids["a"], only("?stream=a&state=done"))
	assert.Empty(t, only("?stream=nobody"))
	assert.Empty(t, only("?state=failed"))
	page, next := list("?limit=3")
	assert.Len(t, page, 3)
	assert.Equal(t, page[2], next)
	rest, next := list("?limit=4&before=" + next)
	assert.Len(t, rest, 4)
	assert.Empty(t, next)
	assert.NotContains(t, rest, page[2])
	p.expect(t, 400, "GET", "/calls?state=gone", "")
	p.expect(t, 400, "POST", "/calls", "")
}

package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
	"penstock/supervisor/calls"
)

func TestAsynchronousCallIsSubmittedAsItCame(t *testing.T) {
	streams := behind(t, func(http.ResponseWriter, *http.Request) { t.Error("the stream was called") })
	addr := serve(t, testConfig(), streams)
	client := dial(t, addr)
	client.send([]string{
		"PUT /foo/p%2Fost?a=b&c=%20 HTTP/1.1", "Host: of.mine", "Content-Length: 5", "x-penstock-async: TRUE",
		"X-Penstock-Callback-Url: https://hooks.example.com/x", "X-Penstock-Call-Id: forged", "X-Penstock-Attempt: 7",
		"X-Penstock-Remote-Addr: forged", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Authorization: Bearer mine",
		"Cookie: a=b; c=d", "X-Two: 1", "X-Two: 2",
	}, "hello")
	got := client.receive("PUT")
	assert.Equal(t, http.StatusAccepted, got.StatusCode, got.text)
	assert.Equal(t, "/calls/"+callID, got.Header.Get("Location"))
	assert.Equal(t, callID, got.Header.Get("X-Penstock-Call-Id"))
	assert.Contains(t, got.text, `"id":"`+callID+`","status":"queued","location":"/calls/`+callID+`"`)

	life := streams.lived()
	assert.Equal(t, "submit foo", life.did)
	header := life.submitted.Header
	assert.NotEmpty(t, header.Get("X-Penstock-Remote-Addr"))
	assert.NotEqual(t, "forged", header.Get("X-Penstock-Remote-Addr"))
	header.Del("X-Penstock-Remote-Addr")
	assert.Equal(t, calls.Request{
		Method: "PUT", Path: "/foo/p%2Fost?a=b&c=%20", Host: "of.mine", Body: []byte("hello"), Callback: "https://hooks.example.com/x",
		Header: http.Header{
			"Authorization": {"Bearer mine"}, "Cookie": {"a=b; c=d"}, "X-Two": {"1", "2"},
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"of.mine"}, "X-Forwarded-Proto": {"http"},
		},
	}, life.submitted)
	client.pings()
}

func TestServersTokenIsNotKeptWithACall(t *testing.T) {
	streams := behind(t, http.NotFound)
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "s3cret")
	addr := serve(t, cfg, streams)
	got := call(t, addr, "POST", "/foo/post", "x", "X-Penstock-Async: true", "Authorization: Bearer s3cret")
	require.Equal(t, http.StatusAccepted, got.StatusCode)
	assert.NotContains(t, streams.lived().submitted.Header, "Authorization")
}

func TestWhichCallsAreAsynchronous(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{calls.AsyncHeader, calls.CallbackHeader, calls.IDHeader, calls.AttemptHeader} {
			assert.NotContains(t, r.Header, name)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	addr := serve(t, testConfig(), streams)
	for _, c := range []struct {
		async   bool
		method  string
		headers []string
		want    int
	}{
		{false, "POST", nil, 418},
		{false, "POST", []string{"X-Penstock-Async: true"}, 202},
		{false, "GET", []string{"X-Penstock-Async: true"}, 202},
		{false, "POST", []string{"X-Penstock-Async: false", "X-Penstock-Call-Id: x"}, 418},
		{false, "POST", []string{"X-Penstock-Async: yes"}, 400},
		{false, "GET", []string{"X-Penstock-Async: true", "Upgrade: websocket"}, 400},
		{true, "POST", nil, 202},
		{true, "PUT", nil, 202},
		{true, "POST", []string{"X-Penstock-Async: false"}, 418},
		{true, "GET", nil, 418},
		{true, "HEAD", nil, 418},
	} {
		streams.mu.Lock()
		streams.async = c.async
		streams.mu.Unlock()
		assert.Equal(t, c.want, call(t, addr, c.method, "/foo/post", "", c.headers...).StatusCode, "%+v", c)
	}
}

func TestRefusalsOfCalls(t *testing.T) {
	streams := behind(t, http.NotFound)
	addr := serve(t, testConfig(), streams)
	const async = "X-Penstock-Async: true"
	got := call(t, addr, "POST", "/foo/post", strings.Repeat("x", maxCallBody+1), async)
	assert.Equal(t, http.StatusRequestEntityTooLarge, got.StatusCode)
	assert.Contains(t, got.text, "calls.max_body")

	client := dial(t, addr)
	client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", async, "Transfer-Encoding: chunked"},
		"3e8\r\n"+strings.Repeat("x", 1000)+"\r\n1\r\nx\r\n0\r\n\r\n")
	assert.Equal(t, http.StatusRequestEntityTooLarge, client.receive("POST").StatusCode, "of unknown length")
	client.pings()

	client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", async, "Content-Length: 0", "X-Penstock-Callback-Url: http://a/", "X-Penstock-Callback-Url: http://b/"}, "")
	assert.Equal(t, http.StatusBadRequest, client.receive("POST").StatusCode)
	assert.Empty(t, streams.lived().did)

	streams.failWith(&supervisor.BusyError{Message: "too many", After: 1500e6})
	got = call(t, addr, "POST", "/foo/post", "x", async)
	assert.Equal(t, http.StatusTooManyRequests, got.StatusCode)
	assert.Equal(t, "2", got.Header.Get("Retry-After"))
}

func TestWhatBecameOfACall(t *testing.T) {
	streams := behind(t, http.NotFound)
	addr := serve(t, testConfig(), streams)
	streams.setCall(callOf(calls.Running))
	for _, path := range []string{"/calls/" + callID, "/calls/" + callID + "/result"} {
		got := call(t, addr, "GET", path, "")
		assert.Equal(t, http.StatusAccepted, got.StatusCode)
		assert.Equal(t, "1", got.Header.Get("Retry-After"))
		assert.Equal(t, "running", got.Header.Get("X-Penstock-Call-Status"))
	}
	streams.setCall(callOf(calls.Done))
	got := call(t, addr, "GET", "/benthos/calls/"+callID+"/result", "")
	assert.Equal(t, http.StatusOK, got.StatusCode)
	assert.Equal(t, "OK", got.text)
	assert.Equal(t, []string{"a", "b"}, got.Header["X-Of-Stream"])
	assert.Equal(t, "text/plain", got.Header.Get("Content-Type"))
	assert.Equal(t, "0.250000", got.Header.Get("X-Penstock-Duration-Seconds"))
	assert.Equal(t, "done", got.Header.Get("X-Penstock-Call-Status"))

	streams.setCall(callOf(calls.Failed))
	got = call(t, addr, "GET", "/calls/"+callID+"/result", "")
	assert.Equal(t, http.StatusGone, got.StatusCode)
	assert.Equal(t, "failed", got.Header.Get("X-Penstock-Call-Status"))

	got = call(t, addr, "GET", "/calls?limit=1", "")
	assert.Contains(t, got.text, `"next":"`+callID+`"`)
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "state=x", "before=x"} {
		assert.Equal(t, http.StatusBadRequest, call(t, addr, "GET", "/calls?"+query, "").StatusCode, query)
	}
}

// Whoever may call streams may ask for a call whose id is known, and not for
// all of them.
func TestWhoMaySeeCalls(t *testing.T) {
	streams := behind(t, http.NotFound)
	streams.setCall(callOf(calls.Done))
	cfg := testConfig()
	cfg.Auth = Auth{TokenFile: tokenFile(t, "s3cret"), FunctionsTokenFile: tokenFile(t, "callers")}
	all, functions, _ := serveBoth(t, cfg, streams, usualBounds())
	for _, c := range []struct {
		addr, token, path string
		want              int
	}{
		{all, "s3cret", "/calls", 200},
		{all, "s3cret", "/calls/" + callID, 200},
		{all, "callers", "/calls", 401},
		{all, "callers", "/calls/" + callID, 200},
		{all, "callers", "/calls/" + callID + "/result", 200},
		{all, "none", "/calls", 401},
		{all, "none", "/calls/" + callID, 401},
		{all, "none", "/calls/" + callID + "/result", 401},
		{functions, "s3cret", "/calls", 404},
		{functions, "callers", "/calls", 404},
		{functions, "callers", "/calls/" + callID, 200},
		{functions, "callers", "/benthos/calls/" + callID + "/result", 200},
		{functions, "none", "/calls/" + callID, 401},
	} {
		got := call(t, c.addr, "GET", c.path, "", "Authorization: Bearer "+c.token)
		assert.Equal(t, c.want, got.StatusCode, "%+v: %s", c, got.text)
	}
}

// A stream that is called as the paths of calls are has its endpoints still.
func TestAStreamCalledCalls(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	streams.owner = "calls"
	addr := serve(t, testConfig(), streams)
	for _, path := range []string{"/calls/post", "/calls/" + strings.ToLower(callID), "/calls/a/result", "/calls/a/b/c"} {
		assert.Equal(t, http.StatusTeapot, call(t, addr, "POST", path, "x").StatusCode, path)
	}
	assert.Equal(t, http.StatusNotFound, call(t, addr, "GET", "/calls/"+callID, "").StatusCode)
}

package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

func parsed(t testing.TB, text string) *document.Document {
	t.Helper()
	doc, err := document.Parse([]byte(text))
	require.NoError(t, err)
	return doc
}

func TestControl(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a")
	addr := serve(t, testConfig(), streams)
	for _, what := range []string{"pause", "resume", "restart", "rollback"} {
		query := "?timeout=3s&chilled=true&revision=1"
		got := call(t, addr, "POST", "/streams/a/"+what+query, "")
		require.Equal(t, http.StatusOK, got.StatusCode, got.text)
		assert.Empty(t, got.text)
		assert.Equal(t, what+" a", streams.lived().did)
		assert.Equal(t, supervisor.Change{Chilled: true, Timeout: 3 * time.Second}, streams.lastChange())

		got = call(t, addr, "POST", "/streams/b/"+what+query, "")
		assert.Equal(t, http.StatusNotFound, got.StatusCode)
		assert.Equal(t, "Stream not found\n", got.text)
	}
	streams.failWith(supervisor.ErrPaused)
	got := call(t, addr, "POST", "/streams/a/restart", "")
	assert.Equal(t, http.StatusConflict, got.StatusCode)
	assert.Equal(t, "Error: the stream is paused: resume it first\n", got.text)
}

func TestStatus(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a")
	got := call(t, serve(t, testConfig(), streams), "GET", "/streams/a/status", "")
	assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
	status, err := streams.Status(t.Context(), "a")
	require.NoError(t, err)
	want, err := json.Marshal(status)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), got.text)
	assert.Contains(t, got.text, `"last_exit":{"reason":"oom","code":-1,"signal":"SIGKILL","at":"2026-11-21T09:30:00Z","message":"panic: no","used_bytes":70,"limit_bytes":64}`)
	assert.Contains(t, got.text, `"isolation":{"process":true,"profile":"strict","limits":{"enforcement":"cgroup","cgroup":"/x/r1","cgroup_version":2,"memory_bytes":64,`)
}

func TestRevisionsAndRollback(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a")
	addr := serve(t, testConfig(), streams)
	assert.JSONEq(t, `[
		{"revision": 2, "at": "2026-11-21T09:31:00Z", "origin": "api", "chilled": true, "config": {"x": 1}},
		{"revision": 1, "at": "2026-11-21T09:30:00Z", "origin": "file", "chilled": false, "config": {"x": 1}}
	]`, call(t, addr, "GET", "/streams/a/revisions", "").text)

	require.Equal(t, http.StatusOK, call(t, addr, "POST", "/streams/a/rollback?revision=1", "").StatusCode)
	assert.Equal(t, uint64(1), streams.lived().rolledBackTo)

	for _, query := range []string{"", "?revision=", "?revision=0", "?revision=-1", "?revision=x", "?revision=1.5", "?revision=18446744073709551616"} {
		got := call(t, addr, "POST", "/streams/a/rollback"+query, "")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode, query)
		assert.Contains(t, got.text, "the query parameter revision must be")
	}
	got := call(t, addr, "POST", "/streams/a/rollback?revision=3", "")
	assert.Equal(t, http.StatusNotFound, got.StatusCode)
	assert.Equal(t, "Error: revision 3 is not kept: GET /streams/a/revisions lists those that are\n", got.text)
	assert.Equal(t, uint64(1), streams.lived().rolledBackTo)
}

func TestMetrics(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "s3cret")
	addr := serve(t, cfg, newRecorder())
	assert.Equal(t, http.StatusUnauthorized, call(t, addr, "GET", "/metrics", "").StatusCode)

	got := call(t, addr, "GET", "/metrics", "", "Authorization: Bearer s3cret", "Accept: application/openmetrics-text")
	assert.Equal(t, http.StatusOK, got.StatusCode)
	assert.Equal(t, "penstock_streams 1\n# asked for as application/openmetrics-text\n", got.text)
	assert.Equal(t, "text/plain; version=0.0.4; charset=utf-8", got.Header.Get("Content-Type"))
	assert.Equal(t, int64(len(got.text)), got.ContentLength)

	// A body is of no use, and does the connection no harm.
	client := dial(t, addr)
	body := strings.Repeat("x", 10_000)
	client.send([]string{"GET /metrics HTTP/1.1", "Host: x", "Authorization: Bearer s3cret", "Content-Length: 10000"}, body)
	assert.Equal(t, http.StatusOK, client.receive("GET").StatusCode)
	client.pings()
}

func TestVersionNamesTheRunner(t *testing.T) {
	assert.JSONEq(t, `{"version": "1.2.3", "built": "today", "runner": "1.2.4", "runners": {"core": "1.2.4", "mine": "0.1"}}`,
		call(t, serve(t, testConfig(), newRecorder()), "GET", "/version", "").text)
}

package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counter is a server of the test's own that counts what is posted to it.
type counter struct {
	URL   string
	posts atomic.Int64
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{}
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.posts.Add(1) }))
	t.Cleanup(sink.Close)
	c.URL = sink.URL
	return c
}

// awaitPosts waits until there are that many.
func (c *counter) awaitPosts(t *testing.T, want int64) {
	t.Helper()
	await(t, changeTimeout, fmt.Sprintf("%d posts", want), func() error {
		if n := c.posts.Load(); n < want {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// ends are the ways a supervisor may end.
func ends(r *restartable) map[string]func(testing.TB) {
	return map[string]func(testing.TB){"stop": r.stop, "kill": r.kill9}
}

// restartBothWays ends the supervisor one way and then the other, and calls check
// after each start.
func restartBothWays(t *testing.T, r *restartable, check func(how string)) {
	t.Helper()
	for how, end := range ends(r) {
		end(t)
		r.start(t)
		check("after a " + how)
	}
}

// TestDurable: what was made of streams and resources is there after a restart
// of the supervisor, however it ended.
func TestDurable(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	sink := newCounter(t)
	r.expect(t, 200, "POST", "/streams/a", echo("one"))
	r.expect(t, 200, "PUT", "/streams/a", echo("two"))
	r.expect(t, 200, "PATCH", "/streams/a", `{"input": {"label": "patched"}}`)
	r.expect(t, 200, "POST", "/streams/a/rollback?revision=1", "")
	r.expect(t, 200, "PUT", "/streams/a/log-level", "debug")
	r.expect(t, 200, "POST", "/streams/paused", echo("paused"))
	r.expect(t, 200, "POST", "/streams/paused/pause", "")
	r.expect(t, 200, "PUT", "/streams/paused", echo("changed"))
	r.expect(t, 200, "POST", "/resources/cache/shared", `{"memory": {"init_values": {"k": "kept"}}}`)
	r.expect(t, 200, "POST", "/streams/user", `
input: {http_server: {path: /post}}
pipeline: {processors: [{cache: {resource: shared, operator: get, key: k}}]}
output: {sync_response: {}}
`)
	r.expect(t, 200, "POST", "/streams/gone", echo("gone"))
	r.expect(t, 200, "DELETE", "/streams/gone", "")
	r.expect(t, 200, "POST", "/streams/finished", fmt.Sprintf(`
input: {label: three, generate: {count: 3, interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: '%s', verb: POST}}
`, sink.URL))
	finished := awaitState(t, r.client, "finished", "finished")

	before := definitions(t, r.client)
	var revisions, stats any
	r.getJSON(t, "/streams/a/revisions", &revisions)
	r.getJSON(t, "/streams/finished/stats?format=flat", &stats)
	require.Len(t, revisions, 4)
	require.NotEmpty(t, stats)
	restartBothWays(t, r, func(how string) {
		assert.Equal(t, before, definitions(t, r.client), how)
		var revisionsNow, statsNow any
		r.getJSON(t, "/streams/a/revisions", &revisionsNow)
		r.getJSON(t, "/streams/finished/stats?format=flat", &statsNow)
		assert.Equal(t, revisions, revisionsNow, how)
		assert.Equal(t, stats, statsNow, how)
		awaitEcho(t, r.client, "/a/post", "one")
		await(t, changeTimeout, "the resource", func() error {
			a, err := r.ask(t.Context(), request{Method: http.MethodPost, Path: "/user/post", Body: "x"})
			if err == nil && a.Text() != "kept" {
				err = fmt.Errorf("it answers %s", a)
			}
			return err
		})
		assert.Equal(t, "paused", mustStatus(t, r.client, "paused").State, how)
		now := mustStatus(t, r.client, "finished")
		assert.Equal(t, "finished", now.State, how)
		assert.Equal(t, finished.LastExit.Reason, now.LastExit.Reason, how)
		awaitReady(t, r.client)
		assert.Len(t, r.runners(), 3, "%s, with the resource host", how)
		r.expect(t, 404, "GET", "/streams/gone", "")
	})
	assert.EqualValues(t, 3, sink.posts.Load(), "the finished stream has not run again")

	// All of it can be changed on.
	r.expect(t, 200, "POST", "/streams/paused/resume", "")
	awaitEcho(t, r.client, "/paused/post", "changed")
	r.expect(t, 200, "POST", "/streams/a/rollback?revision=2", "")
	awaitEcho(t, r.client, "/a/post", "two")
	assert.EqualValues(t, 5, mustStatus(t, r.client, "a").Revision)
	r.expect(t, 200, "POST", "/streams/finished/restart", "")
	sink.awaitPosts(t, 6)
	awaitState(t, r.client, "finished", "finished")
	r.expect(t, 409, "DELETE", "/resources/cache/shared", "")
	r.expect(t, 200, "DELETE", "/streams/user", "")
	r.expect(t, 200, "DELETE", "/resources/cache/shared", "")
	r.expect(t, 200, "PUT", "/streams/finished", echo("again"))
	before = definitions(t, r.client)
	restartBothWays(t, r, func(how string) {
		assert.Equal(t, before, definitions(t, r.client), how)
		for path, tag := range map[string]string{"/paused/post": "changed", "/a/post": "two", "/finished/post": "again"} {
			awaitEcho(t, r.client, path, tag)
		}
		assert.Len(t, r.runners(), 3, how)
	})
	assert.EqualValues(t, 6, sink.posts.Load())
}

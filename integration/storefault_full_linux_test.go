package integration

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ticking is a stream that posts to a server of the test all the time, and
// writes to its log each time.
type ticking struct {
	Config string
	posts  atomic.Int64
}

func newTicking(t *testing.T) *ticking {
	t.Helper()
	k := &ticking{}
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { k.posts.Add(1) }))
	t.Cleanup(sink.Close)
	k.Config = fmt.Sprintf(`
input: {generate: {interval: 10ms, mapping: 'root = "tick"'}}
pipeline: {processors: [{log: {level: ERROR, message: 'a line that fills the log a little'}}]}
output: {http_client: {url: '%s', verb: POST}}
`, sink.URL)
	return k
}

// awaitMore waits for messages that were not there before.
func (k *ticking) awaitMore(t *testing.T) {
	t.Helper()
	before := k.posts.Load()
	await(t, changeTimeout, "further messages of a stream that runs", func() error {
		if n := k.posts.Load() - before; n < 20 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// assertRefused checks the answer of a call that could not be made: its
// status, one line that says what it is about, and that nothing of it holds.
func assertRefused(t *testing.T, c *client, before map[string]definition, a answer, status int, says ...string) {
	t.Helper()
	assert.Equal(t, status, a.Status, "%s", a)
	assert.NotContains(t, a.Text(), "\n", "one line")
	for _, text := range says {
		assert.Contains(t, a.Text(), text)
	}
	assert.Equal(t, before, definitions(t, c), "what a refused call left behind: %s", a)
}

// TestStoreFaultFullDisk: without space, changes are refused, streams run on,
// and nothing is lost.
func TestStoreFaultFullDisk(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	mountTmpfs(t, r.DataDir, "size=32m,mode=0700")
	r.start(t)
	tick := newTicking(t)
	r.expect(t, 200, "POST", "/streams/tick", tick.Config)
	r.expect(t, 200, "POST", "/streams/a", echo("first"))
	r.expect(t, 200, "PUT", "/streams/a", echo("a"))
	r.expect(t, 200, "POST", "/resources/cache/c", `{"memory": {}}`)
	// The state file finds space for a small change in itself. Beside a stream
	// like this one no change is small: few streams are written as one.
	r.expect(t, 200, "POST", "/streams/big", echoOfSize("big", 512<<10))
	pid := awaitPID(t, r.client, "a")
	free := fillDisk(t, r.DataDir)

	before := definitions(t, r.client)
	for _, call := range []request{
		{Method: http.MethodPost, Path: "/streams/new", Body: echo("new")},
		{Method: http.MethodPut, Path: "/streams/a", Body: echo("other")},
		{Method: http.MethodPatch, Path: "/streams/a", Body: echo("other")},
		{Method: http.MethodPost, Path: "/streams/a/rollback?revision=1"},
		{Method: http.MethodPost, Path: "/streams/a/pause"},
		{Method: http.MethodPut, Path: "/streams/a/log-level", Body: "warn"},
		{Method: http.MethodDelete, Path: "/streams/a"},
		{Method: http.MethodPost, Path: "/streams", Body: "a:\n" + indent(echo("a")) + "new:\n" + indent(echoOfSize("new", 1<<20))},
		{Method: http.MethodPost, Path: "/resources/cache/new", Body: jsonText(map[string]any{
			"memory": map[string]any{"init_values": map[string]any{"k": strings.Repeat("x", 1<<20)}},
		})},
	} {
		a, err := r.ask(t.Context(), call)
		require.NoError(t, err)
		assertRefused(t, r.client, before, a, 507, stateFile(r.DataDir), "no space left", "free some space")
	}
	assert.Equal(t, pid, awaitPID(t, r.client, "a"))
	awaitEcho(t, r.client, "/a/post", "a")
	tick.awaitMore(t)

	// A runner that dies is replaced all the same, and so is a supervisor.
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitPID(t, r.client, "a", pid)
	awaitEcho(t, r.client, "/a/post", "a")
	r.kill9(t)
	r.start(t)
	assert.Equal(t, before, definitions(t, r.client))
	awaitEcho(t, r.client, "/a/post", "a")
	tick.awaitMore(t)
	a := r.call(t, "DELETE", "/streams/a", "")
	assertRefused(t, r.client, before, a, 507, stateFile(r.DataDir), "no space left")

	free()
	r.expect(t, 200, "POST", "/streams/new", echo("new"))
	r.expect(t, 200, "PUT", "/streams/a", echo("b"))
	r.expect(t, 200, "POST", "/streams/big/pause", "")
	r.expect(t, 200, "DELETE", "/streams/tick", "")
	awaitEcho(t, r.client, "/a/post", "b")
	before = definitions(t, r.client)
	pid = awaitPID(t, r.client, "a")
	for _, end := range []func(testing.TB){r.kill9, r.stop} {
		end(t)
		r.start(t)
		assert.Equal(t, before, definitions(t, r.client))
		awaitEcho(t, r.client, "/a/post", "b")
		awaitEcho(t, r.client, "/new/post", "new")
		awaitState(t, r.client, "big", "paused")
	}
	assert.NotEqual(t, pid, awaitPID(t, r.client, "a"), "the one that was stopped")
}

// TestStoreFaultNoInodes: without names for new files no runner can be
// started, while what needs none goes on.
func TestStoreFaultNoInodes(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	mountTmpfs(t, r.DataDir, "size=64m,nr_inodes=300,mode=0700")
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	r.expect(t, 200, "POST", "/streams/b", echo("b"))
	free := fillInodes(t, r.DataDir)

	before := definitions(t, r.client)
	for _, call := range []request{
		{Method: http.MethodPost, Path: "/streams/new", Body: echo("new")},
		{Method: http.MethodPut, Path: "/streams/a", Body: echo("new")},
		{Method: http.MethodPost, Path: "/streams/a/restart"},
		{Method: http.MethodPost, Path: "/resources/cache/new", Body: `{"memory": {}}`},
	} {
		a, err := r.ask(t.Context(), call)
		require.NoError(t, err)
		assertRefused(t, r.client, before, a, 507, r.DataDir, "no space left")
	}
	awaitEcho(t, r.client, "/a/post", "a")
	r.expect(t, 200, "POST", "/streams/b/pause", "")
	freeMore := fillInodes(t, r.DataDir)
	before = definitions(t, r.client)
	assertRefused(t, r.client, before, r.call(t, "POST", "/streams/b/resume", ""), 507, r.DataDir, "no space left")
	assert.Equal(t, "paused", mustStatus(t, r.client, "b").Desired)

	free()
	freeMore()
	r.expect(t, 200, "POST", "/streams/b/resume", "")
	r.expect(t, 200, "POST", "/streams/new", echo("new"))
	for _, id := range []string{"a", "b", "new"} {
		awaitEcho(t, r.client, "/"+id+"/post", id)
	}
}

// TestStoreFaultReadOnlyStart: a data directory that cannot be written is
// refused at the start.
func TestStoreFaultReadOnlyStart(t *testing.T) {
	t.Parallel()
	bin, err := product()
	require.NoError(t, err)
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	pid := awaitPID(t, r.client, "a")
	r.kill9(t)

	unmount := mountReadOnly(t, r.DataDir)
	missing := filepath.Join(r.DataDir, "missing")
	for _, dir := range []string{r.DataDir, missing} {
		code, said := serveToEnd(t, bin.Penstock, "--data-dir", dir, "--runner", bin.Runner, "--log-level", "error")
		t.Log(said)
		assert.Equal(t, 1, code)
		assert.Contains(t, said, dir)
		assert.Contains(t, said, "read-only file system")
		assert.Contains(t, said, "data_dir")
		assert.Equal(t, 1, strings.Count(said, "\n"), "one line: %s", said)
		assert.Contains(t, said, "choose another")
	}
	require.Error(t, gone(pid), "the runner of the last supervisor")
	unmount()
	r.start(t)
	assert.Equal(t, pid, awaitPID(t, r.client, "a"))
	awaitEcho(t, r.client, "/a/post", "a")
}

// TestStoreFaultReadOnly: where no runner can be started any more, changes are
// refused, and what runs runs on.
func TestStoreFaultReadOnly(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t, "--set", "restart.max=200ms")
	tick := newTicking(t)
	r.expect(t, 200, "POST", "/streams/tick", tick.Config)
	for _, id := range []string{"a", "dying", "paused", "deleted"} {
		r.expect(t, 200, "POST", "/streams/"+id, echo(id))
	}
	pid := awaitPID(t, r.client, "a")
	dying := awaitPID(t, r.client, "dying")
	unmount := mountReadOnly(t, filepath.Join(r.DataDir, "run"))

	before := definitions(t, r.client)
	for _, call := range []request{
		{Method: http.MethodPost, Path: "/streams/new", Body: echo("new")},
		{Method: http.MethodPut, Path: "/streams/a", Body: echo("new")},
		{Method: http.MethodPatch, Path: "/streams/a", Body: `{"pipeline": {"threads": 1}}`},
		{Method: http.MethodPost, Path: "/streams/a/restart"},
		{Method: http.MethodPost, Path: "/streams", Body: "a:\n" + indent(echo("a")) + "new:\n" + indent(echo("new"))},
		{Method: http.MethodPost, Path: "/resources/cache/new", Body: `{"memory": {}}`},
	} {
		a, err := r.ask(t.Context(), call)
		require.NoError(t, err)
		assertRefused(t, r.client, before, a, 503, r.DataDir, "read-only file system", "data_dir must be writable")
	}
	awaitEcho(t, r.client, "/a/post", "a")
	tick.awaitMore(t)
	assert.Equal(t, pid, awaitPID(t, r.client, "a"))
	// The state file is open for writing.
	r.expect(t, 200, "POST", "/streams/paused/pause", "")
	r.expect(t, 200, "DELETE", "/streams/deleted", "")

	require.NoError(t, syscall.Kill(dying, syscall.SIGKILL))
	await(t, changeTimeout, "the reason", func() error {
		s, err := askStatus(context.Background(), r.client, "dying")
		if err == nil && (s.State != "backoff" || !strings.Contains(s.Reason, "read-only file system")) {
			err = fmt.Errorf("it is %s", s)
		}
		return err
	})
	unmount()
	awaitEcho(t, r.client, "/dying/post", "dying")
	r.expect(t, 200, "POST", "/streams/new", echo("new"))
	r.expect(t, 200, "PUT", "/streams/a", echo("b"))
	awaitEcho(t, r.client, "/a/post", "b")
	before = definitions(t, r.client)
	assert.Equal(t, []string{"a", "dying", "new", "paused", "resources", "tick"}, slices.Sorted(maps.Keys(before)))
	r.kill9(t)
	r.start(t)
	assert.Equal(t, before, definitions(t, r.client))
}

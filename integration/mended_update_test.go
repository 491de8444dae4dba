package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gate is a file that holds up whoever reads it, until it is opened. A mapping
// that reads it is held up while it is linted.
type gate struct {
	path   string
	writer *os.File
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{path: filepath.Join(t.TempDir(), "gate")}
	require.NoError(t, syscall.Mkfifo(g.path, 0o600))
	t.Cleanup(func() {
		if g.writer != nil {
			g.writer.Close()
		}
	})
	return g
}

// mapping is one that reads the gate and passes its message on.
func (g *gate) mapping() string { return fmt.Sprintf(`meta gate = file(%q).string()`, g.path) }

// echo is the stream echo behind the gate.
func (g *gate) echo(tag string) string {
	return strings.Replace(echo(tag), "processors: [", fmt.Sprintf("processors: [{mapping: '%s'}, ", g.mapping()), 1)
}

// awaitReader waits until somebody is held up: a pipe cannot be opened for
// writing before.
func (g *gate) awaitReader(t *testing.T) {
	t.Helper()
	await(t, changeTimeout, "a reader of the gate", func() (err error) {
		g.writer, err = os.OpenFile(g.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err
	})
}

// open lets the reader go on, and all that come after it.
func (g *gate) open(t *testing.T) {
	t.Helper()
	plain := g.path + ".open"
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	require.NoError(t, os.Rename(plain, g.path))
	require.NoError(t, g.writer.Close())
	g.writer = nil
}

// TestUpdateToAnAddressOfOthers: an address that somebody else holds does not
// become free by stopping the stream that wants it.
func TestUpdateToAnAddressOfOthers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	address := listener.Addr().String()

	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	awaitEcho(t, p.client, "/a/post", "a")
	pid := awaitPID(t, p.client, "a")
	requests := newLoad(t)
	requests.echo(p.Base, "a", "a", 2*time.Millisecond)
	a := p.expect(t, 400, "PUT", "/streams/a", echoAt("b", address))
	assert.NoError(t, line(address)(a))
	p.expect(t, 400, "PATCH", "/streams/a", fmt.Sprintf(`{"input": {"http_server": {"address": %q}}}`, address))
	p.expect(t, 400, "POST", "/streams", "a:\n"+indent(echoAt("b", address)))
	served := requests.sum()
	t.Log(served)
	assert.Positive(t, served.Count)
	assert.Empty(t, served.Failures)
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
	assert.Len(t, p.runners(), 1)
}

// TestUpdateUnbuildableOnOwnAddress: a config that cannot be built for another
// reason is no ground to stop the stream whose address it wants.
func TestUpdateUnbuildableOnOwnAddress(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	own := newClient("http://" + address)
	t.Cleanup(own.close)
	p.expect(t, 200, "POST", "/streams/a", echoAt("a", address))
	awaitEcho(t, own, "/post", "a")
	pid := awaitPID(t, p.client, "a")
	requests := newLoad(t)
	requests.loop(own.Base, 2*time.Millisecond, func(ctx context.Context, c *client, n int) error {
		return echoed(ctx, c, "/post", "a", fmt.Sprint(n))
	})
	broken := strings.Replace(echoAt("b", address), "processors: [", "processors: [{cache: {resource: nope, operator: get, key: k}}, ", 1)
	a := p.expect(t, 400, "PUT", "/streams/a", broken)
	assert.NoError(t, line("nope")(a))
	served := requests.sum()
	t.Log(served)
	assert.Positive(t, served.Count)
	assert.Empty(t, served.Failures)
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
	awaitEcho(t, own, "/post", "a")
	assert.Len(t, p.runners(), 1)
}

// blockedOutput is a stream whose output waits for an answer that never comes.
func blockedOutput(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf(`
input: {generate: {interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: 'http://%s', verb: POST, timeout: 1h}}
`, blackHole(t))
}

// TestUpdateSlowerThanOrphansLive: a prepared runner that waits for the old
// one to stop has a supervisor, however long that takes.
func TestUpdateSlowerThanOrphansLive(t *testing.T) {
	t.Parallel()
	const orphanTimeout, stop = time.Second, 4 * time.Second
	p := startPenstock(t, "--set", "orphan_timeout="+orphanTimeout.String())
	p.expect(t, 200, "POST", "/streams/a", blockedOutput(t))
	old := awaitPID(t, p.client, "a")
	awaitReceived(t, p.client, "a")
	update := begin(t, p.client, request{Method: http.MethodPut, Path: "/streams/a?timeout=" + stop.String(), Body: echo("a")})
	awaitInactive(t, p, "a")
	// All that there is besides the old one was prepared before it was stopped.
	prepared := slices.DeleteFunc(p.runners(), func(r process) bool { return r.PID == old })
	require.Len(t, prepared, 1)

	o := end(t, "the update", update)
	require.Equal(t, 200, o.Status, "%s", o.answer)
	t.Logf("the update took %s", o.took)
	assert.Greater(t, o.took, 2*orphanTimeout, "the old stream was to be in the way for longer than orphans live")
	awaitEcho(t, p.client, "/a/post", "a")
	assert.Equal(t, prepared[0].PID, awaitPID(t, p.client, "a"))
	awaitUptime(t, p.client, "a", orphanTimeout+orphanTimeout/2)
	assert.Equal(t, prepared[0].PID, awaitPID(t, p.client, "a"))
	log := readText(t, p.LogFile)
	assert.Equal(t, 2, strings.Count(log, "started stream"), "one start by each config")
	assert.NotContains(t, log, "runner died")
	assert.Len(t, p.runners(), 1)
}

// awaitReceived waits until a stream's input has taken a message.
func awaitReceived(t *testing.T, c *client, id string) {
	t.Helper()
	await(t, changeTimeout, "the first message of "+id, func() error {
		if received(t, c, id) == 0 {
			return fmt.Errorf("%s has received none", id)
		}
		return nil
	})
}

// awaitUptime waits until a stream is active and has been for some time.
func awaitUptime(t *testing.T, c *client, id string, least time.Duration) {
	t.Helper()
	await(t, changeTimeout, id+" to have run for "+least.String(), func() error {
		list, err := listStreams(t.Context(), c)
		if s := list[id]; err == nil && (!s.Active || s.Uptime < least.Seconds()) {
			err = fmt.Errorf("it is listed as %+v", s)
		}
		return err
	})
}

// TestUpdateHeldUpWhileTheRunnerDies: the old stream is looked after while its
// next config is being prepared.
func TestUpdateHeldUpWhileTheRunnerDies(t *testing.T) {
	t.Parallel()
	// Less than the update may take, and than its preparation.
	const soon = 2 * time.Second
	p := startPenstock(t, "--set", "timeouts.prepare=60s")
	p.expect(t, 200, "POST", "/streams/a", echo("old"))
	awaitEcho(t, p.client, "/a/post", "old")
	g := newGate(t)
	update := begin(t, p.client, request{Method: http.MethodPut, Path: "/streams/a", Body: g.echo("new")})
	g.awaitReader(t)

	pid := awaitPID(t, p.client, "a")
	var next int
	down := timed(func() {
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		next = awaitPID(t, p.client, "a", pid)
		awaitEcho(t, p.client, "/a/post", "old")
	})
	t.Logf("it was back after %s", down)
	assert.Less(t, down, soon)
	select {
	case o := <-update:
		require.Fail(t, "the update is over", "%s %v", o.answer, o.err)
	default:
	}
	g.open(t)
	o := end(t, "the update", update)
	require.Equal(t, 200, o.Status, "%s", o.answer)
	awaitEcho(t, p.client, "/a/post", "new")
	assert.NotEqual(t, next, awaitPID(t, p.client, "a"))
	assert.Len(t, p.runners(), 1)
}

// TestUpdateSetNamesEveryFailure: whatever kinds of faults a set has, one
// answer names all of its bad streams.
func TestUpdateSetNamesEveryFailure(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/kept", echo("kept"))
	pid := awaitPID(t, p.client, "kept")
	a := p.expect(t, 400, "POST", "/streams", "good:\n"+indent(echo("good"))+
		"misspelt:\n"+indent(misspeltYAML)+"interval: "+badInterval+"\nunbuildable:\n"+indent(unbuildableYAML))
	for _, want := range []string{"misspelt", "no_such_field", "interval", "nope", "unbuildable", "no_such_cache"} {
		assert.Contains(t, a.Text(), want)
	}
	assert.NotContains(t, a.Text(), "good")
	assertLint(t, "stream 'misspelt'", a)

	a = p.expect(t, 400, "POST", "/streams", "good:\n"+indent(echo("good"))+"'.hidden': "+idleJSON+"\n'two words': "+idleJSON+"\n")
	assert.NoError(t, line(".hidden", "two words")(a))
	assert.NotContains(t, a.Text(), "good")
	assert.Equal(t, pid, awaitPID(t, p.client, "kept"))
	assert.Len(t, p.runners(), 1)
}

// TestUpdatePatchLintsLikePut: that a stream was created chilled does not chill
// its patches.
func TestUpdatePatchLintsLikePut(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a?chilled=true", misspeltYAML)
	pid := awaitPID(t, p.client, "a")
	const patch = `{"pipeline": {"threads": 1}}`
	assertLint(t, "no_such_field", p.expect(t, 400, "PATCH", "/streams/a", patch))
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
	p.expect(t, 200, "PATCH", "/streams/a?chilled=true", patch)
	assert.NotEqual(t, pid, awaitPID(t, p.client, "a"))
}

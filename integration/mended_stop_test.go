package integration

import (
	"errors"
	"fmt"
	"net"
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

// assertNoRunFiles checks that a data directory has no sockets of runners.
func assertNoRunFiles(t *testing.T, dataDir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dataDir, "run", "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "the folders of runners that have ended")
}

// TestStopDuringASet: a change of many streams that waits for one to stop
// holds runners that are no stream's yet, and they end as well.
func TestStopDuringASet(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	p := startPenstock(t, "--set", "timeouts.shutdown="+timeout.String())
	p.expect(t, 200, "POST", "/streams/absent", blockedOutput(t))
	p.expect(t, 200, "POST", "/streams/changed", echo("old"))
	awaitReceived(t, p.client, "absent")
	change := begin(t, p.client, request{
		Method: http.MethodPost, Path: "/streams?timeout=25s",
		Body: "changed:\n" + indent(echo("new")) + "created:\n" + indent(echo("created")),
	})
	awaitInactive(t, p, "absent")
	assert.Len(t, p.runners(), 4, "two of streams, and two that were prepared")

	var code int
	took := timed(func() {
		require.NoError(t, p.signal(syscall.SIGTERM))
		code = awaitExit(t, p, timeout+10*margin)
	})
	t.Logf("took %s of %s", took, timeout)
	assert.Less(t, took, timeout+2*margin)
	assert.Zero(t, code)
	assertNoRunFiles(t, p.DataDir)
	o := end(t, "the change", change)
	assert.Equal(t, 503, o.Status, "%s", o.answer)
}

// TestStopOfARunnerByOthers: a runner that somebody tells to end has not
// finished its stream.
func TestStopOfARunnerByOthers(t *testing.T) {
	t.Parallel()
	const streams = 10
	p := startPenstock(t)
	var set strings.Builder
	for i := range streams {
		config := echo(fmt.Sprint("tag", i))
		if i%2 == 1 {
			// One that has always something on its way.
			config = `
input: {generate: {interval: 1ms, mapping: 'root = "x"'}}
output: {drop: {}}
`
		}
		fmt.Fprintf(&set, "s%d:\n%s", i, indent(config))
	}
	p.expect(t, 200, "POST", "/streams", set.String())
	var pids []int
	for i := range streams {
		pids = append(pids, awaitPID(t, p.client, fmt.Sprint("s", i)))
	}
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	}
	for i, pid := range pids {
		id := fmt.Sprint("s", i)
		awaitPID(t, p.client, id, pid)
		awaitGone(t, pid)
		if i%2 == 0 {
			awaitEcho(t, p.client, "/"+id+"/post", fmt.Sprint("tag", i))
		}
	}
	awaitReady(t, p.client)
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.Len(t, list, streams)
	for id, s := range list {
		assert.True(t, s.Active, id)
	}
	log := readText(t, p.LogFile)
	assert.NotContains(t, log, "stream finished")
	assert.Equal(t, streams, strings.Count(log, "runner died"))
	assert.Len(t, p.runners(), streams)
}

// TestStopOfASupervisorThatWasKilled: the runner that it leaves holds an
// address, and goes on serving there under the next supervisor.
func TestStopOfASupervisorThatWasKilled(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	own := newClient("http://" + address)
	t.Cleanup(own.close)
	file := writeFile(t, "a.yaml", echoAt("a", address))
	p := startPenstock(t, file)
	p.stopped = true // a killed supervisor leaves its runner behind
	awaitEcho(t, own, "/post", "a")
	pid := awaitPID(t, p.client, "a")
	t.Cleanup(func() {
		if t.Failed() && len(mentioning(p.DataDir)) > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	p.close()
	p.kill()
	awaitEcho(t, own, "/post", "a")

	next := startPenstock(t, "--data-dir", p.DataDir, file)
	next.DataDir = p.DataDir
	awaitEcho(t, own, "/post", "a")
	assert.Equal(t, pid, awaitPID(t, next.client, "a"))
	assert.Len(t, next.runners(), 1)
	awaitReady(t, next.client)
	assert.NotContains(t, readText(t, next.LogFile), "runner died")
}

// TestStopDuringLint: what was asked of a server that is stopping is refused
// for that reason.
func TestStopDuringLint(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.prepare=60s", "--set", "timeouts.shutdown=5s")
	p.expect(t, 200, "POST", "/streams/old", echo("old"))
	p.expect(t, 200, "POST", "/streams/other", echo("old"))
	pending := map[string]<-chan outcome{}
	for _, r := range []request{
		{Method: http.MethodPost, Path: "/streams/new"},
		{Method: http.MethodPut, Path: "/streams/old"},
		{Method: http.MethodPatch, Path: "/streams/other"},
		{Method: http.MethodPost, Path: "/streams"},
	} {
		g := newGate(t)
		r.Body = g.echo("new")
		if r.Path == "/streams" {
			// A set holds every stream that is to stay.
			r.Body = "old:\n" + indent(echo("old")) + "other:\n" + indent(echo("old")) + "one:\n" + indent(g.echo("new"))
		}
		pending[r.Method+" "+r.Path] = begin(t, p.client, r)
		g.awaitReader(t)
	}
	require.NoError(t, p.signal(syscall.SIGTERM))
	for what, change := range pending {
		o := end(t, what, change)
		assert.Equal(t, 503, o.Status, "%s: %s", what, o.answer)
	}
	assert.Zero(t, awaitExit(t, p, 10*margin))
	assertNoRunFiles(t, p.DataDir)
}

// TestStopLetsAQueueBeCollected: what a stream has accepted can be fetched
// from it while it is being stopped.
func TestStopLetsAQueueBeCollected(t *testing.T) {
	t.Parallel()
	const timeout = 6 * time.Second
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/q", queueYAML)
	messages := []string{"one", "two", "three"}
	for _, message := range messages {
		p.expect(t, 200, "POST", "/q/post", message)
	}
	remove := begin(t, p.client, request{Method: http.MethodDelete, Path: "/streams/q?timeout=" + timeout.String()})
	awaitInactive(t, p, "q")
	var got []string
	for range messages {
		got = append(got, p.expect(t, 200, "GET", "/q/get", "").Text())
	}
	assert.Equal(t, messages, got)
	var o outcome
	took := timed(func() { o = end(t, "the deletion", remove) })
	assert.Equal(t, 200, o.Status, "%s", o.answer)
	t.Logf("the deletion took %s, %s of it after the last message", o.took, took)
	assert.Less(t, took, 2*margin, "the stream was empty")
	p.expect(t, 404, "GET", "/streams/q", "")
	assert.Empty(t, p.runners())
}

// TestStopOfAnIdleQueue: a stream that holds nothing does not wait for clients
// that might ask it for something.
func TestStopOfAnIdleQueue(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	for id, config := range map[string]string{
		"plain":    "input: {http_server: {}}\noutput: {http_server: {}}\n",
		"buffered": queueYAML,
	} {
		p.expect(t, 200, "POST", "/streams/"+id, config)
		if id == "buffered" {
			p.expect(t, 200, "POST", "/buffered/post", "x")
			assert.Equal(t, "x", p.expect(t, 200, "GET", "/buffered/get", "").Text())
		}
		took := timed(func() { p.expect(t, 200, "DELETE", "/streams/"+id, "") })
		t.Logf("the deletion of the %s one took %s", id, took)
		assert.Less(t, took, 2*time.Second, id)
	}
	assert.Empty(t, p.runners())
}

// TestStopAtABusyPort: a server that cannot serve starts none of its streams,
// and does not even wait for their configs to be read.
func TestStopAtABusyPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	written := filepath.Join(t.TempDir(), "written")
	file := writeFile(t, "writer.yaml", fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "x"'}}
output: {file: {path: %s, codec: lines}}
`, quoted(written)))
	held := writeFile(t, "held.yaml", newGate(t).echo("held"))
	got := refused(t, "--listen", listener.Addr().String(), "--set", "timeouts.prepare=2s", file, held)
	assert.Contains(t, got, listener.Addr().String())
	assert.Contains(t, got, "address already in use")
	assert.NoFileExists(t, written)

	// The same stream does write where the server can serve.
	startPenstock(t, file)
	await(t, changeTimeout, "the stream's file", func() error {
		_, err := os.Stat(written)
		return err
	})
}

// TestStopOfAHangingRunner: a runner that hangs is not ready, and that is told
// in time.
func TestStopOfAHangingRunner(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	await(t, changeTimeout, "the stream's readiness", func() error { return readyIs(t, p, 200) })
	pid := awaitPID(t, p.client, "a")
	freeze(t, pid)
	await(t, changeTimeout, "the runner's stop", func() error {
		found, err := readProcess(pid)
		if err == nil && found.State != "T" {
			err = errors.New(found.String())
		}
		return err
	})
	took := timed(func() { assert.NoError(t, readyIs(t, p, 503)) })
	t.Logf("it was told after %s", took)
	assert.Less(t, took, 5*time.Second)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	await(t, changeTimeout, "the stream's readiness again", func() error { return readyIs(t, p, 200) })
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
}

func readyIs(t *testing.T, p *penstock, status int) error {
	a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/a/ready"})
	if err == nil && a.Status != status {
		err = errors.New(a.String())
	}
	return err
}

// TestStopKeepsWhatIsOnItsWay: a message that waits for a client of the output
// can be fetched while the stream is being stopped.
func TestStopKeepsWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/q", `
input: {http_server: {path: /post, timeout: 30s}}
pipeline: {processors: [{mapping: root = content().uppercase()}]}
output: {http_server: {timeout: 5s}}
`)
	post := begin(t, p.client, request{Method: http.MethodPost, Path: "/q/post", Body: "one"})
	awaitReceived(t, p.client, "q")
	remove := begin(t, p.client, request{Method: http.MethodDelete, Path: "/streams/q?timeout=4s"})
	awaitInactive(t, p, "q")
	select {
	case o := <-remove:
		require.Fail(t, "the deletion is over and the message lost", "%s after %s", o.answer, o.took)
	case <-time.After(time.Second): // several nudges
	}
	assert.Equal(t, "ONE", p.expect(t, 200, "GET", "/q/get", "").Text())
	assert.Equal(t, 200, end(t, "the message", post).Status)
	assert.Equal(t, 200, end(t, "the deletion", remove).Status)
}

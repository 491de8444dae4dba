package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// awaitExit waits for the end of a supervisor that was told to end, and checks
// that no runner is left. The test then has nothing to stop any more.
func awaitExit(t *testing.T, p *penstock, within time.Duration) (code int) {
	t.Helper()
	p.stopped = true
	p.close()
	select {
	case <-p.exited:
	case <-time.After(within):
		assert.Fail(t, "the supervisor does not end", "within %s; its runners: %v", within, p.runners())
		p.kill()
	}
	assert.Empty(t, p.runners(), "processes that outlived their supervisor")
	for _, r := range p.runners() {
		_ = syscall.Kill(r.PID, syscall.SIGKILL)
	}
	return p.cmd.ProcessState.ExitCode()
}

// TestLifecycleShutdown ends a supervisor whose streams are in every kind of
// trouble.
func TestLifecycleShutdown(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			const timeout = 2 * time.Second
			p := startPenstock(t, "--set", "timeouts.shutdown="+timeout.String(), "--set", "timeouts.prepare=60s")
			for id, config := range map[string]string{
				"good": echo("good"), "blocked": blockedYAML, "stopped": echo("stopped"),
				"crashing": crashingYAML, "busy": busyYAML, "changing": echo("changing"),
			} {
				p.expect(t, 200, "POST", "/streams/"+id, config)
			}
			freeze(t, awaitPID(t, p.client, "stopped"))
			held := begin(t, p.client, request{Method: http.MethodPost, Path: "/stopped/post", Body: "held"})
			stuck := stuckInBuild(t)
			changes := []<-chan outcome{
				begin(t, p.client, request{Method: http.MethodPut, Path: "/streams/changing", Body: stuck}),
				begin(t, p.client, request{Method: http.MethodPost, Path: "/streams/created", Body: stuck}),
				begin(t, p.client, request{Method: http.MethodPost, Path: "/streams", Body: "one:\n" + indent(stuck)}),
			}
			await(t, changeTimeout, "the changes' runners", func() error {
				// The crashing stream has one now and then.
				if n := len(p.runners()); n < 5+len(changes) {
					return fmt.Errorf("there are %d runners", n)
				}
				return nil
			})

			var code int
			took := timed(func() {
				require.NoError(t, p.signal(sig))
				code = awaitExit(t, p, timeout+10*margin)
			})
			t.Logf("took %s of %s", took, timeout)
			// A binary with the race detector sleeps for a second at its end.
			assert.Less(t, took, timeout+2*margin)
			assert.Zero(t, code)
			<-held
			for _, change := range changes {
				<-change
			}
		})
	}
}

// refusesStreams waits for a server that is stopping: it answers until its
// streams have ended, and takes no new ones.
func refusesStreams(t *testing.T, c *client) error {
	a, err := c.ask(t.Context(), request{Method: http.MethodPost, Path: "/streams/late", Body: "{input: {generate: {mapping: root = 1}}, output: {drop: {}}}"})
	if err != nil {
		return err
	}
	if a.Status != http.StatusServiceUnavailable {
		return fmt.Errorf("it takes a stream still: %d", a.Status)
	}
	return nil
}

// TestLifecycleSecondSignal: the second one does not wait for anybody.
func TestLifecycleSecondSignal(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.shutdown=60s")
	p.expect(t, 200, "POST", "/streams/blocked", blockedYAML)
	p.expect(t, 200, "POST", "/streams/stopped", echo("stopped"))
	freeze(t, awaitPID(t, p.client, "stopped"))
	require.NoError(t, p.signal(syscall.SIGINT))
	await(t, changeTimeout, "the stop to begin", func() error {
		if err := p.alive(); err != nil {
			return err
		}
		return refusesStreams(t, p.client)
	})
	var code int
	took := timed(func() {
		require.NoError(t, p.signal(syscall.SIGINT))
		code = awaitExit(t, p, 10*margin)
	})
	t.Logf("took %s", took)
	assert.Less(t, took, 2*margin)
	assert.Equal(t, 1, code, "streams were not drained")
}

// TestLifecycleSupervisorKilled: runners that lost their supervisor for good
// end by themselves, and the next supervisor starts their streams again.
func TestLifecycleSupervisorKilled(t *testing.T) {
	t.Parallel()
	const orphanTimeout = 2 * time.Second
	p := startPenstock(t, "--set", "orphan_timeout="+orphanTimeout.String())
	p.stopped = true // a killed supervisor leaves runners behind for a while
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	p.expect(t, 200, "POST", "/streams/b", `
input: {generate: {interval: 1ms, mapping: 'root = "x"'}}
output: {drop: {}}
`)
	pids := []int{awaitPID(t, p.client, "a"), awaitPID(t, p.client, "b")}
	p.close()
	killedAt := time.Now()
	p.kill()
	for _, pid := range pids {
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		require.Error(t, gone(pid), "a runner went with its supervisor")
	}
	for _, pid := range pids {
		await(t, time.Until(killedAt.Add(orphanTimeout+4*margin)), "the orphan's end", func() error { return gone(pid) })
	}
	took := time.Since(killedAt)
	t.Logf("the orphans were gone after %s", took)
	assert.GreaterOrEqual(t, took, orphanTimeout, "they wait for the next supervisor")

	next := startPenstock(t, "--data-dir", p.DataDir)
	next.DataDir = p.DataDir
	awaitEcho(t, next.client, "/a/post", "a")
	awaitReady(t, next.client)
	assert.NotContains(t, pids, awaitPID(t, next.client, "a"))
	assert.Len(t, next.runners(), 2)
}

// TestLifecycleDataDirTaken: a data directory has one supervisor at a time.
func TestLifecycleDataDirTaken(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	pid := awaitPID(t, p.client, "a")
	bin, err := product()
	require.NoError(t, err)
	code, said := serveToEnd(t, bin.Penstock, "--data-dir", p.DataDir, "--runner", bin.Runner)
	assert.Equal(t, 1, code)
	assert.Contains(t, said, p.DataDir)
	assert.Contains(t, said, "belongs to another supervisor")
	awaitEcho(t, p.client, "/a/post", "a")
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
}

// serveToEnd runs a supervisor that is not expected to serve, and returns its
// exit code and the last line it said.
func serveToEnd(t *testing.T, penstock string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, penstock, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "it ended well: %s", out)
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestLifecycleUnusableRunner: what --runner names cannot be started.
func TestLifecycleUnusableRunner(t *testing.T) {
	t.Parallel()
	bin, err := product()
	require.NoError(t, err)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(plain, []byte("not a program"), 0o600))
	for name, runner := range map[string]string{
		"not executable": plain,
		"missing":        filepath.Join(dir, "missing"),
		"a folder":       dir,
	} {
		code, said := serveToEnd(t, bin.Penstock, "--data-dir", filepath.Join(dir, "data"), "--runner", runner)
		assert.Equal(t, 1, code, name)
		assert.Contains(t, said, runner, name)
		assert.Contains(t, said, "--runner", "%s: what to do", name)
	}
}

// TestLifecycleOtherVersion: a runner of another protocol version is refused
// with both versions named.
func TestLifecycleOtherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, build(dir, nil, "penstock/integration/testdata/otherversion"))
	for name, c := range map[string]struct {
		runner string
		says   []string
	}{
		"another protocol version": {filepath.Join(dir, "otherversion"), []string{"version", "99", "1"}},
		"not a runner at all":      {"/bin/true", []string{"/bin/true"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := startPenstock(t, "--runner", c.runner)
			var a answer
			took := timed(func() { a = p.expect(t, 500, "POST", "/streams/a", echo("a")) })
			t.Logf("after %s: %s", took, a)
			for _, s := range c.says {
				assert.Contains(t, a.Text(), s)
			}
			assert.NotContains(t, a.Text(), "\n", "one line")
			assert.Less(t, took, 5*margin)
			assert.Empty(t, p.runners())
			assert.Empty(t, children(p.PID))
			p.expect(t, 404, "GET", "/streams/a", "")
			p.expect(t, 200, "GET", "/ready", "")
		})
	}
}

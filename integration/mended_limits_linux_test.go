package integration

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestLimitsOfASilentRunner: a runner that does not answer gets no other limits,
// but the stream does, with the next runner. Nobody else waits for that.
func TestLimitsOfASilentRunner(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.rpc=1s")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, limited("memory: 100MiB", echo(id)))
	}
	for what, r := range map[string]request{
		"a change": {Method: "PATCH", Path: "/streams/a?timeout=1s", Body: limited("memory: 300MiB", "")},
		"a set": {Method: "POST", Path: "/streams?timeout=1s", Body: "a:\n" + indent(limited("memory: 200MiB", echo("a"))) +
			"b:\n" + indent(limited("memory: 100MiB", echo("b")))},
	} {
		silent := statusOfLimits(t, p.client, "a").PID
		silence(t, silent)
		change := begin(t, p.client, r)
		assert.Less(t, timed(func() {
			p.expect(t, 200, "POST", "/streams/other", echo("other"))
			awaitEcho(t, p.client, "/b/post", "b")
			p.expect(t, 200, "DELETE", "/streams/other", "")
		}), 8*margin, "others waited for %s", what)
		p.expect(t, 200, "POST", "/resources/cache/memo", "memory: {}")
		o := end(t, what, change)
		assert.Equal(t, 200, o.Status, "%s: %s", what, o.answer)
		assert.Less(t, o.took, 12*margin, what)
		s := assertEnforced(t, p.server, "a")
		assert.NotEqual(t, silent, s.PID, what)
		assert.NotEqualValues(t, 100*mib, s.Isolation.Limits.Memory, what)
		awaitEcho(t, p.client, "/a/post", "a")
		assert.NoError(t, gone(silent), what)
	}
	silent := statusOfLimits(t, p.client, "a").PID
	silence(t, silent)
	change := begin(t, p.client, request{Method: "PATCH", Path: "/streams/a?timeout=1s", Body: limited("memory: 100MiB", "")})
	pause := end(t, "a pause", begin(t, p.client, request{Method: "POST", Path: "/streams/a/pause?timeout=1s"}))
	assert.Equal(t, 200, pause.Status, "%s", pause.answer)
	assert.Less(t, pause.took, 12*margin)
	assert.Equal(t, 200, end(t, "the change", change).Status)
	awaitState(t, p.client, "a", "paused")
}

// silence stops a process, and waits until it has stopped.
func silence(t *testing.T, pid int) {
	t.Helper()
	freeze(t, pid)
	await(t, changeTimeout, "the process to stop", func() error {
		text, err := os.ReadFile(procFile(pid, "status"))
		if err == nil && !strings.Contains(string(text), "\nState:\tT") {
			err = errors.New("it runs")
		}
		return err
	})
}

// TestLimitsCaughtUp: whatever an adopted runner has in the kernel, it has what
// its status says once it is adopted, in the same process where that can be.
func TestLimitsCaughtUp(t *testing.T) {
	needRoot(t)
	t.Parallel()
	detach := []string{"--set", "on_exit=detach"}
	r := newRestartable(t)
	withDefaults := func(memory string) []string {
		return append(slices.Clone(detach), "--set", "limits.default.memory="+memory, "--set", "limits.default.pids=200")
	}
	r.start(t, withDefaults("64MiB")...)
	r.expect(t, 200, "POST", "/streams/default", echo("default"))
	for _, id := range []string{"cut", "files"} {
		r.expect(t, 200, "POST", "/streams/"+id, limited("memory: 96MiB, cpu: 0.5, pids: 100, nofile: 200", echo(id)))
	}
	pid, cut := mustStatus(t, r.client, "default").PID, assertEnforced(t, r.server, "cut")
	for _, memory := range []int{512, 64, 512} {
		r.stop(t)
		r.start(t, withDefaults(fmt.Sprintf("%dMiB", memory))...)
		awaitDefaults(t, r, pid, float64(memory*mib), 200)
	}

	// A change that was cut off when the kernel had it and the store had not.
	r.kill9(t)
	for _, file := range []struct {
		kernelFile
		value string
	}{
		{kernelFile{"memory", "memory.limit_in_bytes", "memory.max"}, strconv.Itoa(80 * mib)},
		{kernelFile{"pids", "pids.max", "pids.max"}, "150"},
	} {
		writeKernel(t, cgroupOf(t, cut.PID), file.kernelFile, file.value)
	}
	fewer := storedPID(t, r, "files")
	require.NoError(t, unix.Prlimit(fewer, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 150, Max: 150}, nil))
	r.start(t, withDefaults("512MiB")...)
	for _, id := range []string{"cut", "files"} {
		await(t, changeTimeout, "the limits of "+id, func() error {
			s := statusOfLimits(t, r.client, id)
			// What has fewer files cannot have more again: its process is ended.
			if s.State != "running" || s.PID == fewer {
				return fmt.Errorf("it is %s", s)
			}
			if now := kernelLimits(t, s.PID, r.PID); now != cut.Isolation.Limits.limitFigures || s.Isolation.Limits.limitFigures != now {
				return fmt.Errorf("the kernel has %+v, and its status %+v", now, s.Isolation.Limits.limitFigures)
			}
			return nil
		})
	}
	assert.Equal(t, cut.PID, mustStatus(t, r.client, "cut").PID)
	awaitEcho(t, r.client, "/files/post", "files")
	for _, id := range []string{"default", "cut", "files"} {
		r.expect(t, 200, "DELETE", "/streams/"+id, "")
	}
	r.stop(t)
}

// writeKernel writes to a file of a process's cgroup.
func writeKernel(t testing.TB, dirs map[string]string, file kernelFile, value string) {
	t.Helper()
	require.NoError(t, os.WriteFile(kernelPath(dirs, file), []byte(value), 0o600))
}

// storedPID is the process id that the store has of a stream's runner.
func storedPID(t testing.TB, r *restartable, id string) int {
	t.Helper()
	pid, err := strconv.Atoi(fmt.Sprint(r.runnerRecord(t, id)["pid"]))
	require.NoError(t, err)
	return pid
}

// withoutCgroups is a place in which no cgroup can be seen.
type withoutCgroups struct{ place }

func (w withoutCgroups) start(cmd *exec.Cmd) error {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	cmd.Path, cmd.Args = unshare, append([]string{unshare, "--mount", "sh", "-c", `umount -R /sys/fs/cgroup && exec "$@"`, "sh"}, cmd.Args...)
	return w.place.start(cmd)
}

// TestLimitsRecalledUnenforceable: a stream whose limits nothing enforces any
// more does not run without them, and runs again once something does.
func TestLimitsRecalledUnenforceable(t *testing.T) {
	needRoot(t)
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/cpu", limited("cpu: 0.2, pids: 100", echo("cpu")))
	r.expect(t, 200, "POST", "/streams/memory", limited("memory: 64MiB", echo("memory")))
	r.expect(t, 200, "POST", "/streams/free", echo("free"))
	for _, c := range []struct {
		required bool
		refused  map[string]string
	}{
		{false, map[string]string{"cpu": "cpu, pids"}},
		{true, map[string]string{"cpu": "cpu, pids", "memory": "isolation.required"}},
	} {
		r.stop(t)
		r.where = withoutCgroups{host{}}
		r.start(t, "--set", "limits.cgroup_parent=", "--set", fmt.Sprint("isolation.required=", c.required))
		for _, id := range []string{"cpu", "memory", "free"} {
			says, refused := c.refused[id]
			if !refused {
				awaitEcho(t, r.client, "/"+id+"/post", id)
				continue
			}
			await(t, changeTimeout, id+" to be refused", func() error {
				if s := statusOfLimits(t, r.client, id); s.PID != 0 || !strings.Contains(s.Reason, says) {
					return fmt.Errorf("it is %s", s)
				}
				return nil
			})
			a := r.expect(t, 400, "POST", "/streams/"+id+"/restart", "")
			assert.Contains(t, a.Text(), says)
		}
		r.stop(t)
		r.where = host{}
		r.start(t)
		for _, id := range []string{"cpu", "memory", "free"} {
			awaitState(t, r.client, id, "running")
			assertEnforced(t, r.server, id)
		}
	}
	r.stop(t)
}

// TestLimitsOfAnotherVersion: a stream with an option that this version does not
// know does not run without what the option says, and is mended by a config
// without it.
func TestLimitsOfAnotherVersion(t *testing.T) {
	needRoot(t)
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	config := limited("memory: 64MiB, pids: 100", echo("a"))
	r.expect(t, 200, "POST", "/streams/a", config)
	r.stop(t)
	unknown := strings.Replace(config, "pids: 100", "pids: 100, newer_option: 1", 1)
	require.NotEqual(t, config, unknown)
	r.amend(t, "streams", "a", func(rec record) record {
		rec["config"] = base64.StdEncoding.EncodeToString([]byte(unknown))
		return rec
	})
	for _, end := range []func(testing.TB){r.stop, r.kill9} {
		r.start(t)
		await(t, changeTimeout, "the stream's refusal", func() error {
			if s := statusOfLimits(t, r.client, "a"); s.PID != 0 || !strings.Contains(s.Reason, "newer_option") {
				return fmt.Errorf("it is %s", s)
			}
			return nil
		})
		assert.Contains(t, r.expect(t, 400, "POST", "/streams/a/restart", "").Text(), "newer_option")
		assert.Empty(t, r.runners())
		end(t)
	}
	r.start(t)
	r.expect(t, 200, "PUT", "/streams/a", config)
	awaitEcho(t, r.client, "/a/post", "a")
	assertEnforced(t, r.server, "a")
	r.stop(t)
}

// TestLimitsChangedWhileOOM changes the limits of a stream that exceeds them
// again and again: whatever its runner is about just then, it is no fault of the
// server.
func TestLimitsChangedWhileOOM(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", `
runtime: {limits: {memory: 64MiB}, restart: {backoff: {initial: 10ms, max: 50ms}}}
input: {generate: {interval: 1ms, mapping: 'root = "x".repeat(3000000)'}}
buffer: {memory: {limit: 4000000000}}
pipeline: {threads: 1, processors: [{sleep: {duration: 60s}}]}
output: {drop: {}}
`)
	answers := map[int]int{}
	for i, until := 0, time.Now().Add(5*time.Second); time.Now().Before(until); i++ {
		a := p.call(t, "PATCH", "/streams/a?timeout=50ms", limited(fmt.Sprintf("memory: %dMiB", 56+8*(i%2)), ""))
		answers[a.Status]++
		if a.Status != http.StatusOK {
			// The stream uses more than its new limit.
			assert.Equal(t, http.StatusBadRequest, a.Status, "%s", a)
		}
	}
	t.Logf("answers: %v", answers)
	assert.Positive(t, answers[200])
	assert.Positive(t, statusOfLimits(t, p.client, "a").Restarts, "what the test is about")
	p.expect(t, 200, "DELETE", "/streams/a?timeout=100ms", "")
}

// TestLimitsRefusedWhole: a change of which one part is refused leaves all other
// limits as they were, those of the process included.
func TestLimitsRefusedWhole(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	const large = 150 * mib
	p.expect(t, 200, "POST", "/streams/a", limited("memory: 400MiB, pids: 100, cpu: 1, nofile: 1000, disk: 100MiB", fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "x".repeat(counter() * %d)'}}
output: {http_server: {path: /get}}
`, large)))
	await(t, changeTimeout, "the stream's memory", func() error {
		if used := assertCounted(t, p.client, "a")["memory.bytes"]; used < large {
			return fmt.Errorf("it uses %.0f", used)
		}
		return nil
	})
	before := assertEnforced(t, p.server, "a")
	limits := readText(t, procFile(before.PID, "limits"))
	a := p.expect(t, 400, "PATCH", "/streams/a", limited("memory: 64MiB, pids: 90, cpu: 0.5, nofile: 100, disk: 50MiB", ""))
	assert.Contains(t, a.Text(), "more memory")
	after := assertEnforced(t, p.server, "a")
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, before.Revision, after.Revision)
	assert.Equal(t, before.Isolation.Limits.limitFigures, after.Isolation.Limits.limitFigures)
	assert.Equal(t, before.Isolation.Limits.Disk, after.Isolation.Limits.Disk)
	assert.Equal(t, limits, readText(t, procFile(before.PID, "limits")))
	p.expect(t, 200, "DELETE", "/streams/a?timeout=100ms", "")
}

// TestLimitsDiskLowered: a stream whose files take more than its new limit is
// not given it. Logs go on below a limit that is smaller than their files were.
func TestLimitsDiskLowered(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t, "--set", "stream_logs.max_megabytes=3")
	p.expect(t, 200, "POST", "/streams/a", limited("disk: 100MiB", `
input: {generate: {interval: 5ms, mapping: 'root = "x".repeat(20000)'}}
pipeline: {processors: [{log: {message: '${! counter() } ${! content() }'}}]}
output: {drop: {}}
`))
	file := filepath.Join(streamFolder(p.DataDir, "a"), "large")
	require.NoError(t, os.WriteFile(file, make([]byte, 40*mib), 0o600))
	await(t, changeTimeout, "the file to be measured", func() error {
		if s := statusOfLimits(t, p.client, "a"); s.Isolation.Limits.DiskUsed < 40*mib {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	before := statusOfLimits(t, p.client, "a")
	a := p.expect(t, 400, "PATCH", "/streams/a", limited("disk: 5MiB", ""))
	assert.Contains(t, a.Text(), "remove some")
	s := statusOfLimits(t, p.client, "a")
	assert.Equal(t, before.PID, s.PID)
	assert.Equal(t, before.Revision, s.Revision)
	assert.EqualValues(t, 100*mib, s.Isolation.Limits.Disk)

	require.NoError(t, os.Remove(file))
	p.expect(t, 200, "PATCH", "/streams/a", limited("disk: 1MiB", ""))
	s = statusOfLimits(t, p.client, "a")
	assert.NotEqual(t, before.PID, s.PID)
	assert.EqualValues(t, mib, s.Isolation.Limits.Disk)
	logged := func() (sum int64) {
		n, err := written(s.PID)
		require.NoError(t, err)
		return n
	}
	await(t, changeTimeout, "logs beyond the size of a file", func() error {
		if n := logged(); n < 3*mib {
			return fmt.Errorf("%d bytes are written", n)
		}
		return nil
	})
	latest := p.expect(t, 200, "GET", "/streams/a/logs?tail=1", "").Text()
	await(t, changeTimeout, "the logs to go on", func() error {
		if p.expect(t, 200, "GET", "/streams/a/logs?tail=1", "").Text() == latest {
			return fmt.Errorf("the last line is that of before")
		}
		return nil
	})
	again := statusOfLimits(t, p.client, "a")
	assert.Equal(t, s.PID, again.PID)
	assert.Zero(t, again.Restarts)
}

// TestLimitsDiskFirst: a stream is not given its first limit of disk where its
// files take more than that, and runs on.
func TestLimitsDiskFirst(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	before := statusOfLimits(t, p.client, "a")
	file := filepath.Join(streamFolder(p.DataDir, "a"), "large")
	require.NoError(t, os.WriteFile(file, make([]byte, 20*mib), 0o600))
	a := p.expect(t, 400, "PATCH", "/streams/a", limited("disk: 10MiB", ""))
	assert.Contains(t, a.Text(), "remove some")
	require.NoError(t, os.Remove(file))
	p.expect(t, 200, "PATCH", "/streams/a", limited("disk: 10MiB", ""))
	after := statusOfLimits(t, p.client, "a")
	assert.EqualValues(t, 10*mib, after.Isolation.Limits.Disk)
	assert.Zero(t, after.Restarts)
	awaitEcho(t, p.client, "/a/post", "a")
	assert.Equal(t, before.Revision+1, after.Revision)
}

package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLimitsExceeded has streams exceed each of their limits, while a
// bystander is called all the time: they are held or ended, the bystander does
// not notice, and what is told of them is what the kernel says.
func TestLimitsExceeded(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t, "--set", "stream_logs.max_megabytes=1")
	b := newBystander(t, p.client, often)
	for name, exceed := range map[string]func(*testing.T, *penstock){
		"memory": exceedMemory, "memory of a program": exceedMemoryByProgram, "cpu": exceedCPU,
		"pids": exceedPIDs, "threads": exceedThreads, "io": exceedIO, "nofile": exceedNoFile, "disk": exceedDisk,
	} {
		t.Run(name, func(t *testing.T) { exceed(t, p) })
	}
	b.unharmed(t)
}

// exceedMemory: the stream ends, is restarted as its policy says, and everybody
// is told what it used and might have used.
func exceedMemory(t *testing.T, p *penstock) {
	const limit, tooMuch = 64 * mib, `{"n":200000000}`
	p.expect(t, 200, "POST", "/streams/hog", limited("memory: 64MiB", repeatYAML))
	first := assertEnforced(t, p.server, "hog")
	assert.EqualValues(t, limit, first.Isolation.Limits.Memory)
	assert.Zero(t, first.Isolation.Limits.Swap)
	assert.Equal(t, "cgroup", first.Isolation.Limits.Enforcement)
	assert.Equal(t, "xxx", p.expect(t, 200, "POST", "/hog/post", `{"n":3}`).Text())
	assertCounted(t, p.client, "hog")
	kills := scrape(t, p.client)["penstock_oom_kills_total"]

	p.expect(t, 502, "POST", "/hog/post", tooMuch)
	s := awaitEnd(t, p.client, "hog", "oom", "running")
	assert.EqualValues(t, limit, s.LastExit.LimitBytes)
	assert.InEpsilon(t, limit, s.LastExit.UsedBytes, 0.1)
	assert.Equal(t, "SIGKILL", s.LastExit.Signal)
	assert.Contains(t, s.LastExit.Message, "its limit is 64 MiB")
	assert.Equal(t, 1, s.Restarts)
	assert.NotEqual(t, first.PID, s.PID)
	assert.Equal(t, "xxx", p.expect(t, 200, "POST", "/hog/post", `{"n":3}`).Text())
	again := assertEnforced(t, p.server, "hog")
	assert.NotEqual(t, first.Isolation.Limits.Cgroup, again.Isolation.Limits.Cgroup, "each start has a cgroup of its own")
	series := scrape(t, p.client)
	assert.EqualValues(t, kills+1, series["penstock_oom_kills_total"])
	assert.EqualValues(t, kills+1, series[`penstock_runner_exits_total{reason="oom"}`])
	assert.EqualValues(t, limit, series[`penstock_runner_memory_limit_bytes{stream="hog"}`])

	p.expect(t, 200, "POST", "/streams/once", strings.Replace(limited("memory: 64MiB", repeatYAML), "limits:", "restart: {policy: never}, limits:", 1))
	p.expect(t, 502, "POST", "/once/post", tooMuch)
	s = awaitEnd(t, p.client, "once", "oom", "failed")
	assert.Regexp(t, "killed because it used 6[0-9] MiB of memory and its limit is 64 MiB; its restart policy is never", s.Reason)
	assert.Zero(t, s.PID)
	for _, id := range []string{"hog", "once"} {
		p.expect(t, 200, "DELETE", "/streams/"+id, "")
	}
}

// exceedMemoryByProgram: what a stream executes counts as the stream's. In
// version 2 all of it ends together; in version 1 the kernel ends the largest
// process of it.
func exceedMemoryByProgram(t *testing.T, p *penstock) {
	p.expect(t, 200, "POST", "/streams/programs", limited("memory: 128MiB", programYAML(t)))
	pid := assertEnforced(t, p.server, "programs").PID
	a := p.call(t, "POST", "/programs/post", fmt.Sprint("hold ", 512*mib))
	if cgroupVersion() == 2 {
		assert.Equal(t, 502, a.Status, "%s", a)
		s := awaitEnd(t, p.client, "programs", "oom", "running")
		assert.EqualValues(t, 128*mib, s.LastExit.LimitBytes)
	} else {
		assert.Contains(t, a.Text(), "signal: killed")
		assert.Equal(t, pid, mustStatus(t, p.client, "programs").PID)
		assert.EqualValues(t, 1, assertCounted(t, p.client, "programs")["memory.oom_kills"])
		assert.EqualValues(t, 1, scrape(t, p.client)[`penstock_runner_oom_kills_total{stream="programs"}`])
	}
	p.expect(t, 200, "DELETE", "/streams/programs", "")
}

// exceedCPU: a stream that could use a whole core gets its share.
func exceedCPU(t *testing.T, p *penstock) {
	const share = 0.2
	p.expect(t, 200, "POST", "/streams/spin", limited("cpu: 0.2, cpu_weight: 50", `
input: {generate: {interval: "", mapping: 'root = range(0, 1000 + counter() % 2).sum()'}}
output: {drop: {}}
`))
	pid := assertEnforced(t, p.server, "spin").PID
	before, began := assertCounted(t, p.client, "spin"), time.Now()
	var after map[string]float64
	var lasted, used float64
	// Where others have the CPU, it may take a while to get its share at all; and
	// where the host halts a processor, the stream that has it is charged for that
	// time, and pays it back in the periods after.
	await(t, patience, "ten periods of the limit, of which one held it back", func() error {
		after = kernelUsage(t, pid)
		lasted, used = time.Since(began).Seconds(), after["cpu.seconds"]-before["cpu.seconds"]
		if after["cpu.periods"] < before["cpu.periods"]+10 || after["cpu.throttled_periods"] == before["cpu.throttled_periods"] {
			return fmt.Errorf("after %v it is %v", before, after)
		}
		// One period's share may have been left over, and one be had in advance.
		if used > share*(lasted+0.2) {
			return fmt.Errorf("it got %.3f s of the CPU in %.3f s", used, lasted)
		}
		return nil
	})
	t.Logf("it used %.3f s of the CPU in %.3f s", used, lasted)
	assert.Positive(t, used)
	told := assertCounted(t, p.client, "spin")
	assert.Greater(t, told["cpu.throttled_periods"], before["cpu.throttled_periods"])
	assert.Greater(t, told["cpu.throttled_seconds"], before["cpu.throttled_seconds"])
	p.expect(t, 200, "DELETE", "/streams/spin", "")
}

// exceedPIDs: what would be one more process is refused, and the stream goes
// on.
func exceedPIDs(t *testing.T, p *penstock) {
	const limit = 80
	p.expect(t, 200, "POST", "/streams/forks", limited("pids: 80", programYAML(t)))
	pid := assertEnforced(t, p.server, "forks").PID
	a := p.expect(t, 200, "POST", "/forks/post", "forks 500")
	assert.Contains(t, a.Text(), "resource temporarily unavailable")
	assert.Positive(t, assertCounted(t, p.client, "forks")["pids.refused"])
	var made int
	_, err := fmt.Sscan(a.Text(), &made)
	require.NoError(t, err, "%s", a)
	assert.Less(t, made, limit)
	assert.Positive(t, made)
	await(t, patience, "room for a process", func() error {
		if a := p.call(t, "POST", "/forks/post", "forks 1"); !strings.HasPrefix(a.Text(), "1 ") {
			return fmt.Errorf("it answered %s", a)
		}
		return nil
	})
	assert.Equal(t, pid, mustStatus(t, p.client, "forks").PID)
	p.expect(t, 200, "DELETE", "/streams/forks", "")
}

// exceedThreads: a stream whose own threads are refused ends, and says why. Each
// of its inputs takes one, for a file that nobody writes to.
func exceedThreads(t *testing.T, p *penstock) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	p.expect(t, 200, "POST", "/streams/threads", strings.Replace(limited("pids: 64", fmt.Sprintf(`
input: {broker: {copies: 100, inputs: [{file: {paths: ['%s']}}]}}
output: {drop: {}}
`, pipe)), "limits:", "restart: {policy: never}, limits:", 1))
	s := awaitEnd(t, p.client, "threads", "exited", "failed")
	assert.Contains(t, s.LastExit.Message, "failed to create new OS thread")
	p.expect(t, 200, "DELETE", "/streams/threads", "")
}

// exceedIO: reads and writes of the disk take as long as the limits have it,
// each kind of limit by itself.
func exceedIO(t *testing.T, p *penstock) {
	dir := t.TempDir()
	p.expect(t, 200, "POST", "/streams/unlimited", programYAML(t))
	// All blocks but the first ones have to wait: with what may be had in
	// advance, at least three quarters of the time.
	const least, most = 1500, 8000
	transfers := []struct {
		id, limit, program string
		size, blocks       int
		counted            string
		before             map[string]float64
		pending            <-chan outcome
	}{
		{id: "read_bps", limit: "2MiB", program: "read", size: mib / 4, blocks: 16, counted: "io.read_bytes"},
		{id: "write_bps", limit: "2MiB", program: "write", size: mib / 4, blocks: 16, counted: "io.write_bytes"},
		{id: "read_iops", limit: "20", program: "read", size: 4096, blocks: 40, counted: "io.reads"},
		{id: "write_iops", limit: "20", program: "write", size: 4096, blocks: 40, counted: "io.writes"},
	}
	for i, c := range transfers {
		// What the program is made of is in the system's cache then, and the blocks
		// of its file have their places on the disk.
		path := filepath.Join(dir, c.id)
		free := runProgram(t, p.client, "unlimited", "write", path, mib, 4)[0]
		assert.Less(t, free, float64(least), "without a limit")
		p.expect(t, 200, "POST", "/streams/"+c.id, limited("io: {"+c.id+": "+c.limit+"}", programYAML(t)))
		transfers[i].before = kernelUsage(t, assertEnforced(t, p.server, c.id).PID)
		transfers[i].pending = begin(t, p.client, request{
			Method: "POST", Path: "/" + c.id + "/post", Body: fmt.Sprint(c.program, " ", path, " ", c.size, " ", c.blocks),
		})
	}
	p.expect(t, 200, "DELETE", "/streams/unlimited", "")
	for _, c := range transfers {
		took := programNumbers(t, end(t, c.program, c.pending).answer)[0]
		after := assertCounted(t, p.client, c.id)
		t.Logf("%s %s: %d blocks of %d bytes in %v ms", c.id, c.limit, c.blocks, c.size, took)
		assert.GreaterOrEqual(t, took, float64(least), c.id)
		assert.LessOrEqual(t, took, float64(most), c.id)
		want := c.blocks
		if strings.HasSuffix(c.counted, "bytes") {
			want *= c.size
		}
		assert.GreaterOrEqual(t, after[c.counted]-c.before[c.counted], float64(want), c.id)
		p.expect(t, 200, "DELETE", "/streams/"+c.id, "")
	}
}

// exceedNoFile: what would be one more connection fails with the kernel's
// error; the stream, and what asks about it, goes on.
func exceedNoFile(t *testing.T, p *penstock) {
	// Some are the runner's own for a moment, and free when nobody asks any more.
	const limit, requests, own = 100, 200, 5
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "answered")
	}))
	defer slow.Close()
	defer free()
	p.expect(t, 200, "POST", "/streams/files", limited("nofile: 100", fmt.Sprintf(`
input: {http_server: {path: /post, timeout: 30s}}
pipeline:
  processors:
    - mapping: 'root = range(0, this.n)'
    - unarchive: {format: json_array}
    - http: {url: '%s', verb: POST, parallel: true, retries: 0, timeout: 30s}
    - catch: [{mapping: 'root = error()'}]
    - archive: {format: lines}
output: {sync_response: {}}
`, slow.URL)))
	pid := assertEnforced(t, p.server, "files").PID
	pending := begin(t, p.client, request{Method: "POST", Path: "/files/post", Body: fmt.Sprintf(`{"n":%d}`, requests)})
	// Those that are refused are gone at once: long enough for all to have asked.
	looks := 0
	await(t, patience, "all its files to be open, and to stay so", func() error {
		open, err := openFiles(pid)
		assert.LessOrEqual(t, open, limit)
		if looks++; err == nil && open < limit-own {
			looks, err = 0, fmt.Errorf("there are %d", open)
		}
		if err == nil && looks < 50 {
			err = fmt.Errorf("there are %d, and that has been seen %d times", open, looks)
		}
		return err
	})
	s := statusOfLimits(t, p.client, "files")
	assert.Equal(t, "running", s.State)
	p.expect(t, 200, "GET", "/streams/files/stats", "")
	free()
	o := end(t, "the requests of a stream", pending)
	require.Equal(t, 200, o.Status, "%s", o.answer)
	refused, answered := strings.Count(o.Text(), "too many open files"), strings.Count(o.Text(), "answered")
	t.Logf("%d were answered, %d refused", answered, refused)
	assert.Positive(t, refused)
	assert.Positive(t, answered)
	assert.Equal(t, requests, refused+answered, "%s", o.answer)
	assert.Equal(t, "answered", p.expect(t, 200, "POST", "/files/post", `{"n":1}`).Text())
	assert.Equal(t, pid, mustStatus(t, p.client, "files").PID)
	p.expect(t, 200, "DELETE", "/streams/files", "")
}

// exceedDisk: no file may become larger than the limit, and a stream that has
// too many files ends. Its logs, for which the server has a limit, come on top.
func exceedDisk(t *testing.T, p *penstock) {
	const limit, logs, chunk = 2 * mib, 4 * mib, mib
	p.expect(t, 200, "POST", "/streams/files", strings.Replace(limited("disk: 2MiB", `
input: {http_server: {path: /post, timeout: 30s}}
output:
  fallback:
    - file: {path: '${! meta("folder") | env("PENSTOCK_STREAM_DIR") }/${! counter() }', codec: all-bytes}
    - sync_response: {}
      processors: [{mapping: 'root = meta("fallback_error")'}]
`), "limits:", "restart: {policy: never}, limits:", 1))
	assert.EqualValues(t, limit, assertEnforced(t, p.server, "files").Isolation.Limits.Disk)
	// Elsewhere, so that the size of the one file is all that it exceeds.
	a := p.expect(t, 200, "POST", "/files/post?folder="+t.TempDir(), strings.Repeat("x", limit+1))
	assert.Contains(t, a.Text(), "file too large")
	for range (limit + logs) / chunk {
		if p.call(t, "POST", "/files/post", strings.Repeat("x", chunk)).Status != 200 {
			break
		}
	}
	s := awaitEnd(t, p.client, "files", "disk", "failed")
	assert.EqualValues(t, limit, s.LastExit.LimitBytes)
	assert.Greater(t, s.LastExit.UsedBytes, float64(limit))
	assert.Less(t, s.LastExit.UsedBytes, float64(limit+logs+3*chunk))
	assert.Contains(t, s.Reason, "of disk space and its limit is 2.0 MiB")
	assert.EqualValues(t, 1, scrape(t, p.client)[`penstock_runner_exits_total{reason="disk"}`])
	p.expect(t, 200, "DELETE", "/streams/files", "")
	assert.NoDirExists(t, filepath.Join(p.DataDir, "streams", "files"))
}

package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// unhurried are the settings of supervisors whose runners take their time to
// start, since the machine is an emulated one, and keep small logs.
var unhurried = []string{
	"--set", "timeouts.start=1m", "--set", "timeouts.prepare=1m", "--set", "timeouts.rpc=20s", "--set", "stream_logs.max_megabytes=1",
}

// TestLimitsKernel has one stream exceed every limit, one after another, each of
// which is lowered for it while the stream runs: with as few starts as that can
// be had, for a machine where a start takes seconds.
func TestLimitsKernel(t *testing.T) {
	needRoot(t)
	t.Parallel()
	r := newRestartable(t)
	r.start(t, unhurried...)
	b := newBystander(t, r.client, 10*often)
	text, figures := allLimits(256, 0, 2, 50, 2000, 1000, 500, 10000)
	r.expect(t, 200, "POST", "/streams/all", limited(text+", disk: 64MiB", programYAML(t)))
	s := assertEnforced(t, r.server, "all")
	assert.Equal(t, figures, s.Isolation.Limits.limitFigures)
	pid := s.PID
	change := func(limits string) {
		t.Helper()
		r.expect(t, 200, "PATCH", "/streams/all", limited(limits, ""))
		assert.Equal(t, pid, assertEnforced(t, r.server, "all").PID, "the process after a change")
	}
	post := func(words ...any) string {
		t.Helper()
		return r.expect(t, 200, "POST", "/all/post", strings.TrimSpace(fmt.Sprintln(words...))).Text()
	}

	change("cpu: 0.5")
	exceedShare(t, r.client, func() { post("spin", 300) })
	change("cpu: 2")

	change("pids: 64")
	assert.Contains(t, post("forks", 64), "resource temporarily unavailable")
	assert.Positive(t, assertCounted(t, r.client, "all")["pids.refused"])
	change("pids: 1000")
	assert.Equal(t, "64 <nil>", post("forks", 64))

	limitedTransfers(t, r.client, post, change)

	change("nofile: 64")
	assert.Contains(t, post("open", 64), "too many open files")
	assert.Contains(t, post("open", 20), "20 <nil>")

	change("disk: 2MiB")

	// The next supervisor's streams are under the same limits.
	change("memory: 64MiB")
	is := statusOfLimits(t, r.client, "all").Isolation.Limits.limitFigures
	b.unharmed(t)
	r.kill9(t)
	r.start(t, unhurried...)
	s = assertEnforced(t, r.server, "all")
	assert.Equal(t, pid, s.PID)
	assert.Equal(t, is, s.Isolation.Limits.limitFigures)
	assert.EqualValues(t, 64*mib, is.Memory)
	assert.Equal(t, 502, r.call(t, "POST", "/all/post", fmt.Sprint("repeat ", 100*mib)).Status)
	s = awaitEnd(t, r.client, "all", "oom", "running")
	assert.EqualValues(t, 64*mib, s.LastExit.LimitBytes)
	// At its peak, which may have been before the limit was lowered.
	assert.Greater(t, s.LastExit.UsedBytes, 0.9*64*mib)
	assert.Equal(t, 1, s.Restarts)
	assert.Equal(t, is, assertEnforced(t, r.server, "all").Isolation.Limits.limitFigures)
	r.expect(t, 200, "PATCH", "/streams/all", "runtime: {restart: {policy: never}}")
	// What no file may hold, wherever it is, and then what all of the stream's own
	// may not: that may end it before it answers.
	assert.Contains(t, post("fill", filepath.Join(t.TempDir(), "large"), 2*mib+1), "file too large")
	r.call(t, "POST", "/all/post", fmt.Sprint("fill ", filepath.Join(r.DataDir, "streams", "all", "data", "large"), " ", 2*mib))
	s = awaitEnd(t, r.client, "all", "disk", "failed")
	assert.EqualValues(t, 2*mib, s.LastExit.LimitBytes)
	assert.Greater(t, s.LastExit.UsedBytes, s.LastExit.LimitBytes)
	series := scrape(t, r.client)
	assert.EqualValues(t, 1, series["penstock_oom_kills_total"])
	assert.EqualValues(t, 1, series[`penstock_runner_exits_total{reason="disk"}`])

	r.expect(t, 200, "DELETE", "/streams/all", "")
	assert.Equal(t, b.pid, mustStatus(t, r.client, bystanderID).PID)
	cgroup := statusOfLimits(t, r.client, bystanderID).Isolation.Limits.Cgroup
	awaitLeaves(t, cgroup, 1)
	r.stop(t)
	assert.Empty(t, leavesOf(t, cgroup))
}

// exceedShare has a stream compute until its limit of half a core has held it
// back, and what it got is no more than that: how soon depends on what the host
// leaves to it. Where an emulated processor stands still for a while, a stream
// that has it is charged for that time, and pays it back in the periods after.
func exceedShare(t *testing.T, c *client, compute func()) {
	t.Helper()
	before, began := assertCounted(t, c, "all"), time.Now()
	var after map[string]float64
	var lasted, used float64
	await(t, patience, "the limit to hold it back", func() error {
		compute()
		after = assertCounted(t, c, "all")
		lasted, used = time.Since(began).Seconds(), after["cpu.seconds"]-before["cpu.seconds"]
		if after["cpu.throttled_periods"] == before["cpu.throttled_periods"] {
			return errors.New("it did not")
		}
		// One period's share may have been left over, and one be had in advance.
		if used > 0.5*(lasted+0.2) {
			return fmt.Errorf("it got %.2f s of the CPU in %.2f s", used, lasted)
		}
		return nil
	})
	t.Logf("%.2f s of the CPU in %.2f s", used, lasted)
	assert.GreaterOrEqual(t, used, 0.3)
	assert.Greater(t, after["cpu.throttled_seconds"], before["cpu.throttled_seconds"])
}

// limitedTransfers has a stream read and write at once, one bounded by bytes and
// the other by requests, and then the other way round.
func limitedTransfers(t *testing.T, c *client, post func(words ...any) string, change func(limits string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	post("write", file, mib, 2)
	// Either takes two seconds, less what may be had in advance.
	const least, bytes, requests = 1500, "bps: 1MiB", "iops: 20"
	blocks := map[string]string{bytes: fmt.Sprint(mib/4, " ", 8), requests: "4096 40"}
	for _, limits := range []struct{ read, write string }{{bytes, requests}, {requests, bytes}} {
		change("io: {read_" + limits.read + ", write_" + limits.write + "}")
		reading := begin(t, c, request{Method: "POST", Path: "/all/post", Body: "read " + file + " " + blocks[limits.read]})
		wrote := post("write", file, blocks[limits.write])
		read := end(t, "what is read", reading).Text()
		t.Logf("read_%s: %s ms; write_%s: %s ms", limits.read, read, limits.write, wrote)
		for limit, took := range map[string]string{limits.read: read, limits.write: wrote} {
			ms, err := strconv.Atoi(took)
			if assert.NoError(t, err, limit) {
				assert.GreaterOrEqual(t, ms, least, limit)
			}
		}
		change("io: {read_bps: 500MiB, write_bps: 500MiB, read_iops: 10000, write_iops: 10000}")
	}
}

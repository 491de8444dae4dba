package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allLimits are limits of every kind, as they are written and as they are told.
func allLimits(memoryMiB, swapMiB int, cpu float64, weight, pids, nofile, bpsMiB, iops int) (text string, l limitFigures) {
	l.Memory, l.Swap, l.CPU, l.CPUWeight = float64(memoryMiB*mib), float64(swapMiB*mib), cpu, float64(weight)
	l.PIDs, l.NoFile = float64(pids), float64(nofile)
	l.IO.ReadBPS, l.IO.WriteBPS = float64(bpsMiB*mib), float64(2*bpsMiB*mib)
	l.IO.ReadIOPS, l.IO.WriteIOPS = float64(iops), float64(2*iops)
	return fmt.Sprintf("memory: %dMiB, swap: %dMiB, cpu: %v, cpu_weight: %d, pids: %d, nofile: %d, "+
		"io: {read_bps: %dMiB, write_bps: %dMiB, read_iops: %d, write_iops: %d}",
		memoryMiB, swapMiB, cpu, weight, pids, nofile, bpsMiB, 2*bpsMiB, iops, 2*iops), l
}

// TestLimitsLive changes every limit of a stream that serves: the kernel
// has the new ones at once, and its process and its requests go on.
func TestLimitsLive(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	first, firstFigures := allLimits(128, 32, 0.5, 50, 100, 256, 500, 10000)
	p.expect(t, 200, "POST", "/streams/a", limited(first, echo("a")))
	awaitEcho(t, p.client, "/a/post", "a")
	s := assertEnforced(t, p.server, "a")
	assert.Equal(t, firstFigures, s.Isolation.Limits.limitFigures)
	pid := s.PID
	environment, err := os.ReadFile(procFile(pid, "environ"))
	require.NoError(t, err)
	assert.Contains(t, string(environment), "GOMAXPROCS=1\x00", "what its runtime is told: whole cores")
	assert.Regexp(t, fmt.Sprintf("GOMEMLIMIT=%d\\d\\d\x00", 128*mib/100*90/100), string(environment), "and 90 % of the memory")
	requests := newSteady(t)
	requests.post(p.Base, "a", 10*time.Millisecond)

	second, secondFigures := allLimits(256, 0, 1.5, 200, 200, 128, 400, 5000)
	p.expect(t, 200, "PATCH", "/streams/a", limited(second, ""))
	s = assertEnforced(t, p.server, "a")
	assert.Equal(t, secondFigures, s.Isolation.Limits.limitFigures)
	assert.Equal(t, pid, s.PID)
	assert.Equal(t, 2, s.Revision)
	assert.Contains(t, p.expect(t, 200, "GET", "/streams/a", "").Text(), "256MiB")

	p.expect(t, 200, "PUT", "/streams/a", limited("nofile: 128", echo("a")))
	s = assertEnforced(t, p.server, "a")
	assert.Equal(t, limitFigures{NoFile: 128}, s.Isolation.Limits.limitFigures, "all but one are lifted")
	assert.Equal(t, pid, s.PID)

	p.expect(t, 200, "PUT", "/streams/a", limited(strings.Replace(first, "nofile: 256", "nofile: 128", 1), echo("a")))
	s = assertEnforced(t, p.server, "a")
	assert.EqualValues(t, 128*mib, s.Isolation.Limits.Memory)
	assert.Equal(t, pid, s.PID)

	// A set does it as well.
	second = strings.Replace(second, "weight: 200", "weight: 300", 1)
	p.expect(t, 200, "POST", "/streams", "a:\n"+indent(limited(second, echo("a"))))
	s = assertEnforced(t, p.server, "a")
	assert.EqualValues(t, 300, s.Isolation.Limits.CPUWeight)
	assert.Equal(t, pid, s.PID)

	// More files than it was started with: that may take a new process, which
	// the requests must not notice either.
	p.expect(t, 200, "POST", "/streams/a/rollback?revision=1", "")
	s = assertEnforced(t, p.server, "a")
	assert.Equal(t, firstFigures, s.Isolation.Limits.limitFigures)
	p.expect(t, 200, "PUT", "/streams/a", echo("a"))
	s = assertEnforced(t, p.server, "a")
	assert.Equal(t, limitFigures{}, s.Isolation.Limits.limitFigures)
	assert.Equal(t, "none", s.Isolation.Limits.Enforcement)
	assert.Zero(t, s.Restarts)
	awaitLeaves(t, s.Isolation.Limits.Cgroup, 1)

	requests.awaitAnswers(t)
	served := requests.sum()
	t.Logf("requests: %s", served)
	assert.Empty(t, served.Failures)

	// One that is paused has them once it goes on.
	p.expect(t, 200, "POST", "/streams/a/pause", "")
	p.expect(t, 200, "PATCH", "/streams/a", limited("memory: 64MiB, nofile: 300", ""))
	p.expect(t, 200, "POST", "/streams/a/resume", "")
	assert.Equal(t, limitFigures{Memory: 64 * mib, NoFile: 300}, assertEnforced(t, p.server, "a").Isolation.Limits.limitFigures)
}

// TestLimitsRaised: what a stream was refused it may do once its limits
// were raised, in the same process. Memory that it uses cannot be taken from it,
// and a change that asks that changes nothing.
func TestLimitsRaised(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	const large = 50 * mib
	p.expect(t, 200, "POST", "/streams/hog", limited("memory: 48MiB", repeatYAML))
	p.expect(t, 502, "POST", "/hog/post", fmt.Sprintf(`{"n":%d}`, large))
	pid := awaitEnd(t, p.client, "hog", "oom", "running").PID
	p.expect(t, 200, "PATCH", "/streams/hog", limited("memory: 400MiB", ""))
	a := p.expect(t, 200, "POST", "/hog/post", fmt.Sprintf(`{"n":%d}`, large))
	assert.Len(t, a.Body, large)
	s := assertEnforced(t, p.server, "hog")
	assert.Equal(t, pid, s.PID)
	assert.Greater(t, assertCounted(t, p.client, "hog")["memory.peak_bytes"], float64(large))
	p.expect(t, 200, "DELETE", "/streams/hog", "")

	p.expect(t, 200, "POST", "/streams/full", limited("memory: 400MiB, nofile: 200, pids: 100", fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "x".repeat(counter() * %d)'}}
output: {http_server: {path: /get}}
`, large)))
	await(t, changeTimeout, "the stream's memory", func() error {
		if used := assertCounted(t, p.client, "full")["memory.bytes"]; used < large {
			return fmt.Errorf("it uses %v bytes", used)
		}
		return nil
	})
	before := assertEnforced(t, p.server, "full")
	a = p.expect(t, 400, "PATCH", "/streams/full", limited("memory: 32MiB, nofile: 100, pids: 90", ""))
	assert.Contains(t, a.Text(), "uses more memory than its new limit")
	after := assertEnforced(t, p.server, "full")
	assert.Equal(t, before.Isolation.Limits.limitFigures, after.Isolation.Limits.limitFigures, "after a change that was refused")
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, before.Revision, after.Revision)
	assert.Contains(t, p.expect(t, 200, "GET", "/streams/full", "").Text(), `"memory":"400MiB","nofile":200,"pids":100`)
	require.Len(t, p.expect(t, 200, "GET", "/full/get", "").Body, large)
}

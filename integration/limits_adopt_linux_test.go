package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tooLarge has repeatYAML take more memory than any stream of these tests may.
const tooLarge = `{"n":200000000}`

// TestLimitsAdopted kills the supervisor again and again: the limits of
// its streams hold on, and the next one knows them, with other defaults than the
// last one had, too.
func TestLimitsAdopted(t *testing.T) {
	needRoot(t)
	t.Parallel()
	r := newRestartable(t)
	withDefaults := func(memory string, pids int) []string {
		return []string{"--set", "limits.default.memory=" + memory, "--set", fmt.Sprint("limits.default.pids=", pids)}
	}
	r.start(t, withDefaults("96MiB", 200)...)
	own := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	r.expect(t, 200, "POST", "/streams/own", limited("memory: 64MiB, cpu: 0.5, pids: 100, nofile: 200, disk: 10MiB", repeatYAML))
	r.expect(t, 200, "POST", "/streams/away", limited("memory: 64MiB", strings.Replace(repeatYAML, "{path:", "{address: '"+own+"', path:", 1)))
	r.expect(t, 200, "POST", "/streams/default", repeatYAML)
	before := map[string]limitedStatus{}
	for _, id := range []string{"own", "away", "default"} {
		before[id] = assertEnforced(t, r.server, id)
	}
	b := newBystander(t, r.client, often)
	b.sum()

	// One of them exceeds its limit while nobody is there to see it.
	r.kill9(t)
	res, err := http.Post("http://"+own+"/post", "application/json", strings.NewReader(tooLarge))
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	require.Error(t, err, "an answer of a stream without memory")
	await(t, changeTimeout, "its end", func() error { return ended(before["away"].PID) })

	r.start(t, withDefaults("160MiB", 150)...)
	again := assertEnforced(t, r.server, "own")
	assert.Equal(t, before["own"].PID, again.PID)
	was, is := before["own"].Isolation.Limits, again.Isolation.Limits
	was.DiskUsed, is.DiskUsed = 0, 0 // measured again
	assert.Equal(t, was, is)
	away := awaitEnd(t, r.client, "away", "oom", "running")
	assert.EqualValues(t, 64*mib, away.LastExit.LimitBytes)
	assert.InEpsilon(t, 64*mib, away.LastExit.UsedBytes, 0.1)
	assertEnforced(t, r.server, "away")
	awaitDefaults(t, r, before["default"].PID, 160*mib, 150)

	// Those that were taken over are under their limits as ever.
	for id, limit := range map[string]float64{"own": 64 * mib, "default": 160 * mib} {
		r.expect(t, 502, "POST", "/"+id+"/post", tooLarge)
		s := awaitEnd(t, r.client, id, "oom", "running")
		assert.InDelta(t, limit, s.LastExit.LimitBytes, 0, id)
		assert.InEpsilon(t, limit, s.LastExit.UsedBytes, 0.1)
		assert.Equal(t, 1, s.Restarts)
		again := assertEnforced(t, r.server, id)
		if id == "own" {
			assert.Equal(t, before[id].Isolation.Limits.limitFigures, again.Isolation.Limits.limitFigures)
		}
	}

	// Defaults that are there and back again.
	pid := statusOfLimits(t, r.client, "default").PID
	for _, memory := range []int{320, 160} {
		r.kill9(t)
		r.start(t, withDefaults(fmt.Sprintf("%dMiB", memory), 150)...)
		awaitDefaults(t, r, pid, float64(memory*mib), 150)
	}
	assert.Equal(t, b.pid, mustStatus(t, r.client, bystanderID).PID, "nobody was replaced for it")
	cgroup := statusOfLimits(t, r.client, "own").Isolation.Limits.Cgroup
	awaitLeaves(t, cgroup, 4)
	r.stop(t)
	assert.Empty(t, leavesOf(t, cgroup))
}

// awaitDefaults waits until the stream default has, in the same process, the
// server's limits, in the kernel and in its status.
func awaitDefaults(t testing.TB, r *restartable, pid int, memory, pids float64) {
	t.Helper()
	want := limitFigures{Memory: memory, PIDs: pids}
	await(t, changeTimeout, "the new defaults", func() error {
		s := statusOfLimits(t, r.client, "default")
		if s.PID != pid {
			return fmt.Errorf("%w: it has a new process: %s", errHopeless, s)
		}
		if now := kernelLimits(t, pid, r.PID); now != want || s.Isolation.Limits.limitFigures != want {
			return fmt.Errorf("the kernel has %+v, and its status %+v", now, s.Isolation.Limits.limitFigures)
		}
		return nil
	})
}

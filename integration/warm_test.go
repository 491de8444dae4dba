package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// warmArgs have a supervisor start so many runners ahead.
func warmArgs(size int, more ...string) []string {
	return append([]string{"--set", fmt.Sprintf("warm_pool.size=%d", size)}, more...)
}

// starts is how many runners streams were given, warm ones and cold ones.
func starts(t testing.TB, c *client) (warm, cold int) {
	t.Helper()
	series := scrape(t, c)
	return int(series[`penstock_runner_starts_total{kind="warm"}`]), int(series[`penstock_runner_starts_total{kind="cold"}`])
}

// awaitWarm waits until a supervisor has so many runners that are nobody's, and
// returns their process ids.
func (p *penstock) awaitWarm(t testing.TB, size int) (pids []int) {
	t.Helper()
	await(t, patience, fmt.Sprintf("%d warm runners", size), func() error {
		series, err := scraped(t.Context(), p.client)
		if err != nil || int(series["penstock_warm_runners"]) != size {
			return errors.Join(err, fmt.Errorf("there are %v", series["penstock_warm_runners"]))
		}
		var taken []int
		for _, id := range p.ids(t) {
			taken = append(taken, mustStatus(t, p.client, id).PID)
		}
		pids = nil
		for _, r := range p.runners() {
			if !slices.Contains(taken, r.PID) {
				pids = append(pids, r.PID)
			}
		}
		if len(pids) != size {
			return fmt.Errorf("the processes are %v, of which streams have %v", p.runners(), taken)
		}
		return nil
	})
	return pids
}

// ids are the streams of a server.
func (p *penstock) ids(t testing.TB) (ids []string) {
	t.Helper()
	var streams map[string]any
	p.getJSON(t, "/streams", &streams)
	for id := range streams {
		ids = append(ids, id)
	}
	return ids
}

// TestWarmRunnersAreTaken: whatever needs a runner gets one that was there
// before, and another comes in its place.
func TestWarmRunnersAreTaken(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"none", "standard"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			assertTaken(t, startPenstock(t, warmArgs(1, "--isolation", profile)...))
		})
	}
}

func assertTaken(t *testing.T, p *penstock) {
	t.Helper()
	pid, want := 0, 0
	for _, c := range []struct {
		what   string
		change func()
		tag    string
	}{
		{"a create", func() { p.expect(t, 200, "POST", "/streams/a", echo("one")) }, "one"},
		{"a PUT", func() { p.expect(t, 200, "PUT", "/streams/a", echo("two")) }, "two"},
		{"a PATCH", func() {
			p.expect(t, 200, "PATCH", "/streams/a", `{"pipeline": {"processors": [{"mapping": "root = \"three:\" + content().string()"}]}}`)
		}, "three"},
		{"a restart", func() { p.expect(t, 200, "POST", "/streams/a/restart", "") }, "three"},
		{"a crash", func() {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			awaitPID(t, p.client, "a", pid)
			awaitState(t, p.client, "a", "running")
		}, "three"},
	} {
		warm := p.awaitWarm(t, 1)
		c.change()
		want++
		awaitEcho(t, p.client, "/a/post", c.tag)
		pid = mustStatus(t, p.client, "a").PID
		assert.Equal(t, warm, []int{pid}, "%s takes the runner that was there", c.what)
	}
	warm, cold := starts(t, p.client)
	assert.Equal(t, want, warm)
	assert.Zero(t, cold)

	// A runner that has seen a config is nobody's again.
	seen := p.awaitWarm(t, 1)
	p.expect(t, 400, "POST", "/streams/refused", "input: {nonsense: {}}")
	assert.NotContains(t, p.awaitWarm(t, 1), seen[0])
	awaitGone(t, seen[0])
}

// TestWarmRunnerIsNobodys: what waits has no stream, no folder and no config;
// one that dies is replaced; none is left behind.
func TestWarmRunnerIsNobodys(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, warmArgs(2)...)
	warm := p.awaitWarm(t, 2)
	entries, err := os.ReadDir(filepath.Join(p.DataDir, "streams"))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	assert.Empty(t, entries)
	for _, pid := range warm {
		for _, file := range links(pid) {
			assert.NotContains(t, file, filepath.Join(p.DataDir, "streams"))
			assert.NotContains(t, file, "state.db")
		}
	}
	require.NoError(t, syscall.Kill(warm[0], syscall.SIGKILL))
	awaitGone(t, warm[0])
	again := p.awaitWarm(t, 2)
	assert.NotContains(t, again, warm[0])
	assert.Contains(t, again, warm[1])
	log, err := os.ReadFile(p.LogFile)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(log), "a runner that was started ahead has ended"))
	p.stop(t)
}

// TestWarmRunnersEndWithTheirSupervisor, however that ends.
func TestWarmRunnersEndWithTheirSupervisor(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(p *penstock){
		"killed":   func(p *penstock) { p.stopped = true; p.kill() },
		"detached": func(p *penstock) { p.stopped = true; require.NoError(t, p.signal(syscall.SIGTERM)); <-p.exited },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := startPenstock(t, warmArgs(2, "--on-exit", "detach")...)
			warm := p.awaitWarm(t, 2)
			end(p)
			for _, pid := range warm {
				awaitGone(t, pid)
			}
			assert.Empty(t, p.runners())
		})
	}
}

// TestNoWarmRunners: a pool of none has none.
func TestNoWarmRunners(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, warmArgs(0)...)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	warm, cold := starts(t, p.client)
	assert.Zero(t, warm)
	assert.Equal(t, 1, cold)
	assert.Len(t, p.runners(), 1)
}

// TestWarmRunnerOfAnOldBinary: once another binary is in its place, streams are
// started by that.
func TestWarmRunnerOfAnOldBinary(t *testing.T) {
	t.Parallel()
	bin, err := product()
	require.NoError(t, err)
	runner := filepath.Join(t.TempDir(), "penstock-runner")
	require.NoError(t, exec.Command("cp", bin.Runner, runner).Run())
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(runner)), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(runner), 0o755))
	p := startPenstock(t, warmArgs(1, "--runner", runner)...)
	old := p.awaitWarm(t, 1)
	require.NoError(t, exec.Command("cp", bin.Runner, runner+".new").Run())
	require.NoError(t, os.Rename(runner+".new", runner))
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	_, cold := starts(t, p.client)
	assert.Equal(t, 1, cold)
	assert.NotContains(t, p.awaitWarm(t, 1), old[0])
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
	warm, _ := starts(t, p.client)
	assert.Equal(t, 1, warm)
}

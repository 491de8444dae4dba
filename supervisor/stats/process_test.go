package stats_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/stats"
)

func TestReadProcess(t *testing.T) {
	held, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer held.Close()

	got, err := stats.ReadProcess(t.Context(), os.Getpid())

	require.NoError(t, err)
	assert.Equal(t, os.Getpid(), got.PID)
	assert.Greater(t, got.RSSBytes, uint64(1<<20))
	assert.Greater(t, got.Threads, 1)
	assert.GreaterOrEqual(t, got.CPUSeconds, 0.0)
	assert.WithinRange(t, got.StartedAt, time.Now().Add(-time.Hour), time.Now().Add(2*time.Second))
	assert.Equal(t, time.UTC, got.StartedAt.Location())
	if runtime.GOOS == "linux" {
		assert.GreaterOrEqual(t, got.FDs, 4, "the standard three and the one held")
		if _, err := os.Stat("/proc/self/smaps_rollup"); err == nil {
			assert.Greater(t, got.PSSBytes, uint64(1<<20))
			assert.LessOrEqual(t, got.PSSBytes, 2*got.RSSBytes)
		}
	}
}

func TestReadProcessThatIsNotRunning(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	require.NoError(t, cmd.Start())
	pid := cmd.Process.Pid

	require.Eventually(t, func() bool {
		_, err := stats.ReadProcess(t.Context(), pid)
		return err != nil
	}, 10*time.Second, time.Millisecond)
	_, err := stats.ReadProcess(t.Context(), pid)
	require.ErrorIs(t, err, stats.ErrNotRunning, "ended, but not waited for")

	require.NoError(t, cmd.Wait())
	_, err = stats.ReadProcess(t.Context(), pid)
	require.ErrorIs(t, err, stats.ErrNotRunning)
	assert.Regexp(t, `^reading figures of process \d+: process is not running$`, err.Error())

	for _, pid := range []int{0, -1, 1 << 40} {
		_, err := stats.ReadProcess(t.Context(), pid)
		require.ErrorIs(t, err, stats.ErrNotRunning)
	}
}

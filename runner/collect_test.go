package runner

import (
	"os"
	"runtime/debug"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/runner/lone"
)

// TestAheadIsTheSameEverywhere: package lone cannot import rpc, which would be
// initialized after the components.
func TestAheadIsTheSameEverywhere(t *testing.T) {
	assert.Equal(t, rpc.AheadGOGC, lone.AheadGOGC)
}

// TestCollectorFollowsTheStream: only one that collects again and again has
// another target, and not for longer.
func TestCollectorFollowsTheStream(t *testing.T) {
	now := time.Unix(1000, 0)
	var targets []int
	freed := 0
	c := &collector{
		setTarget: func(percent int) { targets = append(targets, percent) },
		giveBack:  func() { freed++ },
		now:       func() time.Time { return now },
	}
	cycle := func(after time.Duration) {
		now = now.Add(after)
		c.collected()
	}
	for range 20 {
		cycle(busyCycle)
	}
	for range busyCycles {
		cycle(busyCycle - 1)
		assert.LessOrEqual(t, len(targets), 1)
	}
	require.Equal(t, []int{busyGC}, targets)
	cycle(time.Second)
	require.Equal(t, []int{busyGC}, targets, "it need not collect as often with it")

	now = now.Add(calmTime - 1)
	c.calmed()
	assert.Equal(t, []int{busyGC}, targets, "a collection came while the timer ran out")
	now = now.Add(1)
	c.calmed()
	assert.Equal(t, []int{busyGC, usualGC}, targets)
	assert.Equal(t, 1, freed)
	cycle(time.Second)
	for range busyCycles {
		cycle(busyCycle - 1)
	}
	assert.Equal(t, []int{busyGC, usualGC, busyGC}, targets, "the same again")
	c.calm.Stop()
}

// TestCollectorIsTold has this process collect.
func TestCollectorIsTold(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	t.Setenv("GOGC", rpc.StartGOGC)
	adaptCollector()
	require.Equal(t, usualGC, gcTarget())
	require.Eventually(t, func() bool {
		garbage()
		return gcTarget() == busyGC
	}, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool { return gcTarget() == usualGC }, 4*calmTime, 10*time.Millisecond)
}

// TestCollectorIsHurried: a runner that was started ahead is not collected more
// often than another once it has a config, whether or not it was confined for
// that.
func TestCollectorIsHurried(t *testing.T) {
	t.Cleanup(func() { debug.SetGCPercent(usualGC) })
	// Not t.TempDir: its path is too long for a socket.
	dir, err := os.MkdirTemp("", "penstock-runner")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	for _, confined := range []bool{false, true} {
		t.Setenv("GOGC", rpc.AheadGOGC)
		// Preparing forgets it.
		t.Setenv(plugin.EnvUnixSocketDir, dir)
		debug.SetGCPercent(50)
		s, err := newServer("")
		require.NoError(t, err)
		if confined {
			require.NoError(t, s.Assume(t.Context(), rpc.Assignment{}))
		}
		_, err = s.Prepare(t.Context(), rpc.PrepareRequest{StreamID: "a", LogLevel: "info", Config: []byte("input: {nonsense: {}}")})
		require.Error(t, err)
		assert.Equal(t, startGC, gcTarget(), "confined: %t", confined)
		require.NoError(t, s.listener.Close())
	}
}

// gcTarget is the collector's target now.
func gcTarget() int {
	percent := debug.SetGCPercent(-1)
	debug.SetGCPercent(percent)
	return percent
}

var sink []byte

func garbage() {
	for range 16 {
		sink = make([]byte, 1<<20)
	}
	sink = nil
}

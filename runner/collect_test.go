package runner

import (
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

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
	target := func() int {
		percent := debug.SetGCPercent(-1)
		debug.SetGCPercent(percent)
		return percent
	}
	require.Equal(t, usualGC, target())
	require.Eventually(t, func() bool {
		garbage()
		return target() == busyGC
	}, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return target() == usualGC }, 4*calmTime, 10*time.Millisecond)
}

var sink []byte

func garbage() {
	for range 16 {
		sink = make([]byte, 1<<20)
	}
	sink = nil
}

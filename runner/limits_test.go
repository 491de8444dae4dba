package runner

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func TestSetLimits(t *testing.T) {
	memory, cpus := debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0)
	t.Cleanup(func() {
		debug.SetMemoryLimit(memory)
		runtime.GOMAXPROCS(cpus)
	})
	ctx := context.Background()
	s := &server{}
	for _, c := range []struct {
		set    rpc.Limits
		memory int64
		cpus   int
	}{
		{rpc.Limits{MemoryBytes: 1 << 40, CPUs: cpus + 1}, 1 << 40, cpus + 1},
		{rpc.Limits{MemoryBytes: 1 << 41}, 1 << 41, cpus},
		{rpc.Limits{CPUs: 1}, math.MaxInt64, 1},
		{rpc.Limits{}, math.MaxInt64, cpus},
	} {
		require.NoError(t, s.SetLimits(ctx, c.set))
		assert.Equal(t, c.memory, debug.SetMemoryLimit(-1), "%+v", c.set)
		assert.Equal(t, c.cpus, runtime.GOMAXPROCS(0), "%+v", c.set)
	}
	for _, wrong := range []rpc.Limits{{MemoryBytes: -1, CPUs: 2}, {CPUs: -1}} {
		require.ErrorContains(t, s.SetLimits(ctx, wrong), "below zero: use 0 for none")
		assert.Equal(t, cpus, runtime.GOMAXPROCS(0), "nothing is changed")
	}
}

// TestSetLimitsInEveryPhase has a real runner take them before there is a
// stream, and while it runs.
func TestSetLimitsInEveryPhase(t *testing.T) {
	ctx := context.Background()
	p := start(t)
	require.NoError(t, p.SetLimits(ctx, rpc.Limits{MemoryBytes: 64 << 20, CPUs: 1}))
	p.prepare(t, idle)
	require.NoError(t, p.SetLimits(ctx, rpc.Limits{}))
	require.NoError(t, p.Run(ctx))
	require.NoError(t, p.SetLimits(ctx, rpc.Limits{MemoryBytes: 128 << 20, CPUs: 2}))
	require.ErrorContains(t, p.SetLimits(ctx, rpc.Limits{CPUs: -1}), "below zero")
	assert.Equal(t, rpc.PhaseRunning, p.phase(t))
}

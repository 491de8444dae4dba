package runner

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func TestAssume(t *testing.T) {
	memory, cpus := debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0)
	t.Cleanup(func() {
		debug.SetMemoryLimit(memory)
		runtime.GOMAXPROCS(cpus)
	})
	ctx := context.Background()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PENSTOCK_TEST_ASSUMED", "before")
	inner := t.TempDir()

	s := &server{}
	require.NoError(t, s.Assume(ctx, rpc.Assignment{
		WorkDir: inner, Environment: map[string]string{"PENSTOCK_TEST_ASSUMED": "after"},
		Limits: rpc.Limits{MemoryBytes: 1 << 40},
	}))
	at, err := os.Getwd()
	require.NoError(t, err)
	assert.Equal(t, inner, at)
	assert.Equal(t, "after", os.Getenv("PENSTOCK_TEST_ASSUMED"))
	assert.Equal(t, int64(1<<40), debug.SetMemoryLimit(-1))
	assert.Equal(t, cpus, runtime.GOMAXPROCS(0), "what there is no limit for stays")
	require.ErrorIs(t, s.Assume(ctx, rpc.Assignment{}), rpc.ErrPrepared, "it is somebody's")

	s = &server{}
	require.NoError(t, s.Assume(ctx, rpc.Assignment{Limits: rpc.Limits{CPUs: cpus + 1}}))
	assert.Equal(t, cpus+1, runtime.GOMAXPROCS(0))
	assert.Equal(t, int64(1<<40), debug.SetMemoryLimit(-1))

	require.ErrorIs(t, (&server{}).Assume(ctx, rpc.Assignment{WorkDir: dir + "/none"}), os.ErrNotExist)
}

// TestAssumeComesFirst: nobody becomes anybody else once there was a config.
func TestAssumeComesFirst(t *testing.T) {
	p := start(t)
	ctx := context.Background()
	id, err := p.Identify(ctx)
	require.NoError(t, err)
	assert.True(t, id.CanAssume)
	p.prepare(t, idle)
	require.ErrorIs(t, p.Assume(ctx, rpc.Assignment{WorkDir: t.TempDir()}), rpc.ErrPrepared)
}

// TestAbandoned: a runner that had a supervisor and has no stream does not wait
// for another for long; one that has a stream waits as long as it was told.
func TestAbandoned(t *testing.T) {
	w := newOrphanWatch(func() {})
	defer w.timer.Stop()
	assert.Equal(t, firstContact, w.timeout)
	w.attach()
	w.detach()
	assert.Equal(t, abandoned, w.timeout)
	w.attach()
	w.setTimeout(time.Hour)
	w.detach()
	w.attach()
	w.detach()
	assert.Equal(t, time.Hour, w.timeout)
}

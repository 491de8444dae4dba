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

// TestRehearse: a runner that keeps to a policy runs nothing under another one, and
// rehearses once.
func TestRehearse(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct{ rehearsed, prepared rpc.ComponentPolicy }{
		"less":    {rpc.ComponentPolicy{}, strict},
		"more":    {strict, rpc.ComponentPolicy{}},
		"another": {deny(rpc.ClassInputs, "generate"), deny(rpc.ClassInputs, "file")},
	} {
		p := start(t)
		require.NoError(t, p.Rehearse(ctx, c.rehearsed), name)
		require.ErrorContains(t, p.Rehearse(ctx, c.rehearsed), "made ready", name)
		_, err := p.Prepare(ctx, rpc.PrepareRequest{StreamID: "s", Config: []byte(idle), Policy: c.prepared})
		require.ErrorContains(t, err, "the runner was made ready for another component policy", name)
	}
	p := start(t)
	require.NoError(t, p.Assume(ctx, rpc.Assignment{}))
	require.ErrorIs(t, p.Rehearse(ctx, strict), rpc.ErrPrepared, "it is somebody's")
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

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// set changes the limits and reads them back.
func set(t *testing.T, l *Leaf, from, to Limits) Limits {
	t.Helper()
	require.NoError(t, l.Set(from, to))
	assert.Equal(t, to, limitsOf(t, l))
	return to
}

func TestSetUpDownAndAway(t *testing.T) {
	h := open(t)
	l := create(t, h, "live", Limits{})
	p := start(t, l, "echo")
	require.Equal(t, "ready", p.line())
	now := Limits{}
	for _, to := range []Limits{
		{Memory: 256 * mib, CPU: 0.5, CPUWeight: 50, PIDs: 100, IO: IO{ReadBPS: mib, WriteBPS: 2 * mib, ReadIOPS: 10, WriteIOPS: 20}},
		{Memory: 512 * mib, Swap: 64 * mib, CPU: 1.5, CPUWeight: 10000, PIDs: 1000, IO: IO{ReadBPS: 8 * mib, WriteIOPS: 30}},
		{Memory: 128 * mib, CPU: 0.01, CPUWeight: 1, PIDs: 64, IO: IO{WriteBPS: 8 * mib}},
		{Memory: 100 * mib, Swap: 1024 * mib, CPU: 1024, IO: IO{ReadIOPS: 2}},
		{Memory: 2048 * mib, CPUWeight: 7},
		{},
		{Memory: 64 * mib, CPU: 0.123},
		{PIDs: 4096},
		{},
	} {
		now = set(t, l, now, to)
		p.answers()
	}
	// This is what the kernel shows of no limit.
	for controller, files := range map[string]map[string]string{
		"memory": {"memory.limit_in_bytes": "9223372036854771712", "memory.memsw.limit_in_bytes": "9223372036854771712", "memory.max": "max"},
		"cpu":    {"cpu.cfs_quota_us": "-1", "cpu.shares": "1024", "cpu.max": "max 100000", "cpu.weight": "100"},
		"pids":   {"pids.max": "max"},
		"blkio":  {"blkio.throttle.write_bps_device": "", "blkio.throttle.read_iops_device": ""},
		"io":     {"io.max": ""},
	} {
		for name, want := range files {
			if file := l.has(controller, name); file != "" {
				text, err := read(file)
				require.NoError(t, err)
				assert.Equal(t, want, text, name)
			}
		}
	}
}

func TestSetRefusesLessThanIsUsed(t *testing.T) {
	h := open(t)
	now := Limits{Memory: 256 * mib, CPU: 1, PIDs: 100}
	l := create(t, h, "live", now)
	hog := start(t, l, "memory 100")
	require.Equal(t, "ready", hog.line())

	for _, to := range []Limits{
		{Memory: 64 * mib, CPU: 0.5},
		{Memory: 32 * mib, Swap: 32 * mib},
		{Memory: 64 * mib, PIDs: 64, IO: IO{WriteBPS: mib}},
	} {
		err := l.Set(now, to)
		require.ErrorIs(t, err, ErrBusy)
		assert.ErrorContains(t, err, "memory: ")
		assert.ErrorContains(t, err, "start the stream again")
		assert.Equal(t, now, limitsOf(t, l), "the old limits are in force")
		hog.answers()
	}
	now = set(t, l, now, Limits{Memory: 160 * mib, CPU: 0.5})
	hog.answers()
	now = set(t, l, now, Limits{Memory: 320 * mib})
	hog.answers()
	assert.Zero(t, usageOf(t, l).OOMKills)
	set(t, l, now, Limits{})
}

// What the kernel can free is no reason to refuse.
func TestSetFreesCaches(t *testing.T) {
	h := open(t)
	now := Limits{Memory: 256 * mib}
	l := create(t, h, "cache", now)
	p := start(t, l, fmt.Sprintf("cache %s 80", filepath.Join(t.TempDir(), "data")))
	require.Equal(t, "ready", p.line())
	require.Greater(t, usageOf(t, l).MemoryBytes, uint64(72*mib))
	set(t, l, now, Limits{Memory: 64 * mib})
	assert.Zero(t, usageOf(t, l).OOMKills)
	p.answers()
}

func TestSetPutsBackAfterAnError(t *testing.T) {
	h := open(t)
	now := Limits{Memory: 64 * mib, CPU: 0.5, CPUWeight: 50, PIDs: 100}
	l := create(t, h, "live", now)
	// There is no such disk, which shows only when it is limited.
	h.disks = disks{devices: []string{"4095:1048575"}}
	err := l.Set(now, Limits{Memory: 128 * mib, CPU: 1, PIDs: 200, IO: IO{WriteBPS: mib}})
	require.ErrorIs(t, err, ErrUnenforceable)
	assert.ErrorContains(t, err, "io")
	assert.Equal(t, now, limitsOf(t, l))
	require.ErrorIs(t, l.Set(now, Limits{CPU: 0.001}), ErrUnenforceable)
	assert.Equal(t, now, limitsOf(t, l))

	_, err = h.Create("failed", Limits{Memory: 64 * mib, IO: IO{WriteBPS: mib}})
	require.ErrorIs(t, err, ErrUnenforceable)
	for _, tree := range h.trees {
		assert.NoDirExists(t, filepath.Join(tree.dir, "failed"))
	}
}

// A page is what memory is counted in.
func TestMemoryIsRoundedToPages(t *testing.T) {
	h := open(t)
	l, err := h.Create("odd", Limits{Memory: 64*mib + 1, Swap: int64(os.Getpagesize()) + 1})
	require.NoError(t, err)
	assert.Equal(t, Limits{Memory: 64 * mib, Swap: int64(os.Getpagesize())}, limitsOf(t, l))
}

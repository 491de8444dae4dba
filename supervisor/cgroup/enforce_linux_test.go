package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMemoryEndsTheLeafAlone(t *testing.T) {
	h := open(t)
	neighbour := create(t, h, "neighbour", Limits{Memory: 64 * mib})
	other := start(t, neighbour, "echo")
	require.Equal(t, "ready", other.line())

	const limit = 48 * mib
	l := create(t, h, "hog", Limits{Memory: limit})
	hog := start(t, l, "memory 256")
	hog.killed()

	usage := usageOf(t, l)
	assert.Positive(t, usage.OOMKills)
	kills, err := l.OOMKills()
	require.NoError(t, err)
	assert.Equal(t, usage.OOMKills, kills)
	if exists(filepath.Join(h.tree("memory").dir, "memory.current")) && l.has("memory", "memory.peak") == "" {
		assert.Zero(t, usage.MemoryPeakBytes, "kernels before 5.19 do not keep it in version 2")
	} else {
		assert.InDelta(t, limit, usage.MemoryPeakBytes, 0.1*limit)
	}
	other.answers()
	assert.Zero(t, usageOf(t, neighbour).OOMKills)
	assert.Positive(t, usageOf(t, neighbour).MemoryBytes)
}

func TestMemoryEndsWhatBelongsTogether(t *testing.T) {
	h := open(t)
	l := create(t, h, "family", Limits{Memory: 48 * mib})
	start(t, l, "family 256").killed()
	if h.Version() == 2 {
		require.Eventually(t, func() bool { return empty(l) }, patience, tick, "the child outlived the limit")
	}
	require.NoError(t, l.Kill())
	assert.True(t, empty(l))
	require.NoError(t, l.Remove())
}

func TestSwapIsNoneUnlessAllowed(t *testing.T) {
	h := open(t)
	with := Limits{Memory: 64 * mib, Swap: 16 * mib}
	l := create(t, h, "with", with)
	none := create(t, h, "none", Limits{})
	text := func(l *Leaf, name string) string {
		text, err := read(l.file("memory", name))
		require.NoError(t, err)
		return text
	}
	if h.Version() == 2 {
		assert.Equal(t, "0", text(none, "memory.swap.max"))
		assert.Equal(t, fmt.Sprint(16*mib), text(l, "memory.swap.max"))
		return
	}
	assert.Equal(t, "0", text(none, "memory.swappiness"))
	assert.NotEqual(t, "0", text(l, "memory.swappiness"))
	assert.Equal(t, fmt.Sprint(80*mib), text(l, "memory.memsw.limit_in_bytes"))
	require.NoError(t, l.Set(with, Limits{Memory: 64 * mib}))
	assert.Equal(t, "0", text(l, "memory.swappiness"))
	assert.Equal(t, fmt.Sprint(64*mib), text(l, "memory.memsw.limit_in_bytes"))
}

func TestCPUIsHeld(t *testing.T) {
	const limit = 0.2
	h := open(t)
	l := create(t, h, "spin", Limits{CPU: limit})
	require.Equal(t, "ready", start(t, l, "cpu").line())
	before, began := usageOf(t, l), time.Now()
	require.Eventually(t, func() bool { return usageOf(t, l).Periods >= before.Periods+15 }, patience, 20*tick)
	after, lasted := usageOf(t, l), time.Since(began).Seconds()

	// A busy core may be late to notice; both cores would take many times more.
	assert.Less(t, after.CPUSeconds-before.CPUSeconds, 1.5*limit*lasted+0.1)
	assert.Positive(t, after.CPUSeconds-before.CPUSeconds)
	assert.Greater(t, after.ThrottledPeriods, before.ThrottledPeriods)
	assert.LessOrEqual(t, after.ThrottledPeriods, after.Periods)
	assert.Greater(t, after.ThrottledSeconds, before.ThrottledSeconds)
}

func TestCPUWeightIsShared(t *testing.T) {
	h := open(t)
	heavy := create(t, h, "heavy", Limits{CPUWeight: 1000})
	light := create(t, h, "light", Limits{CPUWeight: 10})
	// The heavy one is the last to start, and so the first to be ended: beside
	// it, an older scheduler gives the light one no time even to die.
	for _, l := range []*Leaf{light, heavy} {
		require.Equal(t, "ready", start(t, l, "cpu0").line())
	}
	most, least := usageOf(t, heavy).CPUSeconds, usageOf(t, light).CPUSeconds
	require.Eventually(t, func() bool { return usageOf(t, heavy).CPUSeconds > most+0.5 }, patience, 4*tick)
	// The Go runtime computes a little on other cores, too.
	assert.Less(t, 2*(usageOf(t, light).CPUSeconds-least), usageOf(t, heavy).CPUSeconds-most)
}

func TestPIDsAreRefused(t *testing.T) {
	const limit = 64
	h := open(t)
	l := create(t, h, "forks", Limits{PIDs: limit})
	forks := start(t, l, "forks")
	var made int
	var why string
	_, err := fmt.Sscanf(forks.line(), "%d %s", &made, &why)
	require.NoError(t, err)
	assert.Less(t, made, limit)
	assert.Greater(t, made, limit/2)
	assert.Equal(t, "resource", why, "as the kernel says it: resource temporarily unavailable")

	usage := usageOf(t, l)
	assert.Positive(t, usage.PIDsRefused)
	assert.LessOrEqual(t, usage.PIDs, uint64(limit))
	assert.Greater(t, usage.PIDs, uint64(limit/2))
	forks.answersAfterReady()
}

func (p *process) answersAfterReady() {
	p.t.Helper()
	require.Equal(p.t, "ready", p.line())
	p.answers()
}

func TestIOIsHeldBack(t *testing.T) {
	h := open(t)
	require.NoError(t, h.disks.err)
	file := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		name   string
		limits IO
		role   string
		// blocks of so many bytes are transferred.
		bytes, blocks int
		least         time.Duration
		held, free    func(Usage) uint64
	}{
		{
			name: "write_bps", limits: IO{WriteBPS: 4 * mib}, role: "write", bytes: mib, blocks: 6, least: time.Second,
			held: func(u Usage) uint64 { return u.IOWriteBytes }, free: func(u Usage) uint64 { return u.IOReadBytes },
		},
		{
			name: "read_bps", limits: IO{ReadBPS: 4 * mib}, role: "read", bytes: mib, blocks: 6, least: time.Second,
			held: func(u Usage) uint64 { return u.IOReadBytes }, free: func(u Usage) uint64 { return u.IOWriteBytes },
		},
		{
			name: "write_iops", limits: IO{WriteIOPS: 40}, role: "write", bytes: 4096, blocks: 60, least: time.Second,
			held: func(u Usage) uint64 { return u.IOWriteBytes }, free: func(u Usage) uint64 { return u.IOReadBytes },
		},
		{
			name: "read_iops", limits: IO{ReadIOPS: 40}, role: "read", bytes: 4096, blocks: 60, least: time.Second,
			held: func(u Usage) uint64 { return u.IOReadBytes }, free: func(u Usage) uint64 { return u.IOWriteBytes },
		},
		{
			name: "none", role: "write", bytes: mib, blocks: 6,
			held: func(u Usage) uint64 { return u.IOWriteBytes }, free: func(u Usage) uint64 { return u.IOReadBytes },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := create(t, h, c.name, Limits{IO: c.limits})
			p := start(t, l, fmt.Sprintf("%s %s %d %d", c.role, file, c.bytes, c.blocks))
			took := time.Duration(number64(p.line())) * time.Millisecond
			usage := usageOf(t, l)
			assert.GreaterOrEqual(t, c.held(usage), uint64(c.bytes*c.blocks))
			assert.GreaterOrEqual(t, usage.IOReads+usage.IOWrites, uint64(c.blocks*c.bytes/mib))
			assert.Less(t, c.free(usage), uint64(c.bytes*c.blocks))
			if c.least == 0 {
				assert.Less(t, took, time.Second, "it is not limited")
				return
			}
			assert.Greater(t, took, c.least)
			if usage.Pressure != nil {
				assert.Greater(t, usage.IOWaitSeconds, c.least.Seconds()/2)
				assert.Positive(t, usage.Pressure.IO.SomeTotal)
			}
		})
	}
}

func TestPressureIsThatOfTheLeaf(t *testing.T) {
	h := open(t)
	busy := create(t, h, "busy", Limits{CPU: 0.1})
	idle := create(t, h, "idle", Limits{})
	require.Equal(t, "ready", start(t, busy, "cpu").line())
	require.Equal(t, "ready", start(t, idle, "echo").line())
	if _, ok := must(inspect()).v2(); !ok || !exists("/proc/pressure/cpu") {
		assert.Nil(t, usageOf(t, busy).Pressure)
		return
	}
	require.NotNil(t, usageOf(t, busy).Pressure)
	require.Eventually(t, func() bool { return usageOf(t, busy).Pressure.CPU.SomeTotal > 500_000 }, patience, 10*tick)
	assert.Less(t, usageOf(t, idle).Pressure.CPU.SomeTotal, usageOf(t, busy).Pressure.CPU.SomeTotal)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// A process may join by cgroup.procs too, where a container forbids clone3.
func TestJoinsWithoutClone3(t *testing.T) {
	h := open(t)
	for i := range h.trees {
		h.trees[i].forks = false
	}
	l := create(t, h, "joined", Limits{Memory: 48 * mib})
	folder, err := l.Open()
	require.NoError(t, err)
	require.Nil(t, folder)
	require.Len(t, l.Procs(), len(h.trees))
	p := start(t, l, "echo")
	require.Equal(t, "ready", p.line())
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.cmd.Process.Pid))
	require.NoError(t, err)
	for _, tree := range h.trees {
		pids, err := processes(l.dir(tree))
		require.NoError(t, err)
		assert.Equal(t, []int{p.cmd.Process.Pid}, pids)
		assert.Contains(t, string(own), h.Path()+"/joined")
	}
	start(t, l, "memory 256").killed()
}

func TestMemoryOfTheParent(t *testing.T) {
	h := open(t)
	var info unix.Sysinfo_t
	require.NoError(t, unix.Sysinfo(&info))
	total, err := h.Memory()
	require.NoError(t, err)
	assert.LessOrEqual(t, total, info.Totalram*uint64(info.Unit))
	assert.Positive(t, total)

	file := map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[h.Version()]
	above := filepath.Join(filepath.Dir(h.tree("memory").dir), file)
	require.NoError(t, write(above, fmt.Sprint(256*mib)))
	limited, err := h.Memory()
	require.NoError(t, err)
	assert.Equal(t, uint64(256*mib), limited)
	require.NoError(t, write(above, map[int]string{1: "-1", 2: "max"}[h.Version()]))
	again, err := h.Memory()
	require.NoError(t, err)
	assert.Equal(t, total, again)
	assert.True(t, h.HasMemory())
	assert.True(t, strings.HasSuffix(h.Path(), "/sup"))
}

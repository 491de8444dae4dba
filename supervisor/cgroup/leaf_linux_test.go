package cgroup

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	h := open(t)
	for _, name := range []string{"", ".", "..", "a/b", "/a", "a.b", "memory.max", "a b", "a\n", "ä", strings.Repeat("a", 129)} {
		_, err := h.Create(name, Limits{})
		assert.ErrorContains(t, err, "letters, digits", "%q", name)
		_, err = h.Find(name)
		assert.ErrorContains(t, err, "letters, digits", "%q", name)
	}
	for _, cfg := range []Config{{}, {Name: "a/b"}, {Name: "supervisor"}, {Name: "a", Parent: "b"}, {Name: "a", Parent: "/b/../c"}, {Name: "a", Parent: "/b/"}} {
		_, err := Open(cfg)
		assert.Error(t, err, "%+v", cfg)
		assert.NotErrorIs(t, err, ErrUnavailable, "%+v", cfg)
	}
	create(t, h, strings.Repeat("a-_Z9", 25), Limits{})
}

func TestCheckRefusesWhatNoKernelEnforces(t *testing.T) {
	h := open(t)
	for _, c := range []struct {
		limits Limits
		names  string
	}{
		{Limits{Memory: -1}, "memory"},
		{Limits{Swap: mib}, "swap"},
		{Limits{Memory: 1 << 62}, "memory"},
		{Limits{CPU: 0.009}, "cpu"},
		{Limits{CPU: -1}, "cpu"},
		{Limits{CPU: 1025}, "cpu"},
		{Limits{CPUWeight: 10001}, "cpu_weight"},
		{Limits{PIDs: -1}, "pids"},
		{Limits{IO: IO{ReadBPS: -1}}, "io.read_bps"},
		{Limits{IO: IO{WriteBPS: 1}}, "io.write_bps"},
		{Limits{IO: IO{WriteIOPS: 1 << 32}}, "io.write_iops"},
	} {
		err := h.Check(c.limits)
		require.ErrorIs(t, err, ErrUnenforceable, "%+v", c.limits)
		assert.ErrorContains(t, err, c.names+":")
		_, err = h.Create("refused", c.limits)
		assert.ErrorIs(t, err, ErrUnenforceable)
	}
	assert.NoError(t, h.Check(Limits{}))
	assert.NoError(t, h.Check(Limits{Memory: mib, Swap: mib, CPU: 0.01, CPUWeight: 1, PIDs: 1, IO: IO{2, 2, 2, 2}}))
}

func TestIONeedsADisk(t *testing.T) {
	h, err := Open(Config{Parent: testParent(t), Name: "sup", Paths: []string{"/dev/shm", "/proc/self"}})
	require.NoError(t, err)
	defer h.Close()
	err = h.Check(Limits{IO: IO{WriteBPS: mib}})
	require.ErrorIs(t, err, ErrUnenforceable)
	assert.ErrorContains(t, err, "/proc/")
	assert.ErrorContains(t, err, "keep the data on one")
	assert.NoError(t, h.Check(Limits{PIDs: 100}), "other limits need none")
	assert.ErrorContains(t, findDisks([]string{"/dev/shm"}).err, "no disk holds /dev/shm")
	assert.ErrorContains(t, findDisks(nil).err, "no disk")
}

func TestDisksOfWhatIsNotThereYet(t *testing.T) {
	dir := t.TempDir()
	found := findDisks([]string{dir})
	require.NoError(t, found.err)
	assert.Equal(t, found, findDisks([]string{filepath.Join(dir, "a/b/c"), dir}))
	for _, device := range found.devices {
		assert.False(t, stacked(device))
		assert.NoFileExists(t, filepath.Join(sysBlock, device, "partition"))
	}
}

func TestFind(t *testing.T) {
	h := open(t)
	_, err := h.Find("there")
	require.ErrorIs(t, err, fs.ErrNotExist)
	limits := Limits{Memory: 64 * mib, PIDs: 100}
	made := create(t, h, "there", limits)
	p := start(t, made, "echo")
	require.Equal(t, "ready", p.line())

	_, err = h.Create("there", Limits{})
	require.ErrorIs(t, err, fs.ErrExist)
	found, err := h.Find("there")
	require.NoError(t, err)
	assert.Equal(t, "there", found.Name())
	assert.Equal(t, limits, limitsOf(t, found))
	assert.Positive(t, usageOf(t, found).PIDs)
	require.NoError(t, found.Kill())
	p.killed()
	require.NoError(t, found.Remove())
	_, err = made.Usage()
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = made.Limits()
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = made.OOMKills()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, made.Kill(), "it is gone, as it should be")
	require.NoError(t, made.Remove())
}

func TestKillEndsAForkBomb(t *testing.T) {
	h := open(t)
	const most = 64
	ways := map[string]*Hierarchy{"at once": h}
	if h.Version() == 1 {
		// Without version 2 beside it, each process has to be killed.
		alone := *h
		alone.trees = nil
		for _, tree := range h.trees {
			if !tree.companion {
				alone.trees = append(alone.trees, tree)
			}
		}
		ways["one by one"] = &alone
	}
	for name, h := range ways {
		t.Run(name, func(t *testing.T) {
			l := create(t, h, "bomb", Limits{PIDs: most, CPU: 0.5})
			p := start(t, l, "bomb")
			require.Equal(t, "ready", p.line())
			require.Eventually(t, func() bool { return usageOf(t, l).PIDsRefused > 0 }, patience, tick)
			began := time.Now()
			require.NoError(t, l.Kill())
			t.Logf("%d processes ended in %s", most, time.Since(began))
			assert.True(t, empty(l))
			p.killed()
			require.NoError(t, l.Remove())
			for _, tree := range h.trees {
				assert.NoDirExists(t, l.dir(tree))
			}
		})
	}
}

func TestRemoveRefusesWhatIsInUse(t *testing.T) {
	h := open(t)
	l := create(t, h, "used", Limits{})
	p := start(t, l, "echo")
	require.Equal(t, "ready", p.line())
	err := l.Remove()
	require.ErrorIs(t, err, errOccupied)
	assert.ErrorContains(t, err, "kill them first")
	p.answers()
	require.NoError(t, l.Kill())
	require.NoError(t, l.Remove())
}

func TestSweep(t *testing.T) {
	h := open(t)
	running := map[string]*process{}
	for _, name := range []string{"kept", "swept", "empty"} {
		l := create(t, h, name, Limits{Memory: 64 * mib})
		if name != "empty" {
			running[name] = start(t, l, "echo")
			require.Equal(t, "ready", running[name].line())
		}
	}
	// These are not ours: one with a name that we would not give, and a file.
	foreign := filepath.Join(h.trees[0].dir, "not.ours")
	require.NoError(t, unix.Mkdir(foreign, 0o755))
	// A supervisor that ended may have left a leaf in some of the trees only.
	require.NoError(t, unix.Mkdir(filepath.Join(h.trees[0].dir, "half"), 0o755))
	_, err := h.Find("kept")
	require.NoError(t, err)

	var asked []string
	require.NoError(t, h.Sweep(func(name string) bool {
		asked = append(asked, name)
		return name == "kept"
	}))
	assert.Equal(t, []string{"empty", "half", "kept", "swept"}, asked)
	running["swept"].killed()
	running["kept"].answers()
	assert.DirExists(t, foreign)
	for _, tree := range h.trees {
		assert.DirExists(t, filepath.Join(tree.dir, "kept"))
		for _, name := range []string{"swept", "empty", "half"} {
			assert.NoDirExists(t, filepath.Join(tree.dir, name))
		}
	}
	require.NoError(t, h.Close(), "it is not empty, and stays")
	_, err = h.Find("kept")
	require.NoError(t, err)
	require.NoError(t, unix.Rmdir(foreign))
}

// A supervisor that starts finds what the one before left.
func TestOpenAgain(t *testing.T) {
	first := open(t)
	limits := Limits{Memory: 64 * mib, CPU: 0.5}
	p := start(t, create(t, first, "left", limits), "echo")
	require.Equal(t, "ready", p.line())
	again, err := Open(Config{Parent: filepath.Dir(first.Path()), Name: "sup", Paths: []string{t.TempDir()}})
	require.NoError(t, err)
	assert.Equal(t, first.Path(), again.Path())
	assert.Equal(t, first.Version(), again.Version())
	l, err := again.Find("left")
	require.NoError(t, err)
	assert.Equal(t, limits, limitsOf(t, l))
	require.NoError(t, again.Sweep(nil))
	p.killed()
	require.NoError(t, again.Close())
}

func BenchmarkLeaf(b *testing.B) {
	h := open(b)
	limits := Limits{Memory: 256 * mib, CPU: 0.5, CPUWeight: 50, PIDs: 100, IO: IO{ReadBPS: mib, WriteBPS: mib}}
	b.Run("create", func(b *testing.B) {
		for b.Loop() {
			l, err := h.Create("bench", limits)
			require.NoError(b, err)
			b.StopTimer()
			require.NoError(b, l.Remove())
			b.StartTimer()
		}
	})
	l, err := h.Create("bench", limits)
	require.NoError(b, err)
	b.Run("usage", func(b *testing.B) {
		for b.Loop() {
			_, err := l.Usage()
			require.NoError(b, err)
		}
	})
	b.Run("kill-empty", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, l.Kill())
		}
	})
}

package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMounts(t *testing.T) {
	text := `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/ab /sys/fs/cgroup/with\040space ro,relatime master:11 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
what is this
`
	mounts := parseMounts(text)
	assert.Equal(t, []mount{
		{point: "/sys/fs/cgroup/cpu,cpuacct", root: "/", controllers: []string{"rw", "cpu", "cpuacct"}},
		{point: "/sys/fs/cgroup/with space", root: "/docker/ab", controllers: []string{"rw", "memory"}},
		{point: "/sys/fs/cgroup/systemd", root: "/", controllers: []string{"rw", "xattr", "name=systemd"}},
		{point: "/sys/fs/cgroup/unified", root: "/", unified: true},
	}, mounts)
	s := system{mounts: mounts}
	m, ok := s.holding("memory")
	assert.True(t, ok)
	assert.Equal(t, "/sys/fs/cgroup/with space", m.point)
	_, ok = s.holding("pids")
	assert.False(t, ok)
	m, ok = s.v2()
	assert.True(t, ok)
	assert.Equal(t, "/sys/fs/cgroup/unified", m.point)
}

func TestVersion(t *testing.T) {
	v1 := func(names ...string) (mounts []mount) {
		for _, name := range names {
			mounts = append(mounts, mount{controllers: []string{"rw", name}})
		}
		return append(mounts, mount{unified: true})
	}
	for _, c := range []struct {
		name      string
		mounts    []mount
		available []string
		want      int
	}{
		{"nothing", nil, nil, 0},
		{"version 2 without controllers", v1(), nil, 0},
		{"version 2", v1(), []string{"memory", "cpu"}, 2},
		{"hybrid", v1("memory", "cpu", "pids", "blkio"), nil, 1},
		{"hybrid, some moved", v1("memory", "cpu"), []string{"pids", "io"}, 1},
		{"memory moved", v1("cpu", "pids"), []string{"memory"}, 2},
		{"no memory at all", v1("pids"), []string{"cpu"}, 1},
		{"no memory, version 2", v1(), []string{"cpu"}, 2},
		{"a hierarchy for names alone", v1("name=systemd"), nil, 0},
	} {
		assert.Equal(t, c.want, system{mounts: c.mounts}.version(c.available), c.name)
	}
}

func TestInside(t *testing.T) {
	for _, c := range []struct {
		root, cgroup, want string
		known              bool
	}{
		{"/", "/a/b", "/a/b", true},
		{"/docker/x", "/docker/x", "/", true},
		{"/docker/x", "/docker/x/y", "/y", true},
		{"/docker/x", "/docker/xy", "", false},
		{"/../..", "/", "", false},
	} {
		got, known := mount{root: c.root}.inside(c.cgroup)
		assert.Equal(t, c.known, known, "%+v", c)
		assert.Equal(t, c.want, got, "%+v", c)
	}
}

func TestUnit(t *testing.T) {
	m := func(root string, names ...string) mount { return mount{root: root, controllers: names} }
	for _, c := range []struct {
		name   string
		mounts []mount
		own    map[string]string
		want   string
	}{
		{"none", []mount{m("/", "memory")}, map[string]string{"memory": "/"}, ""},
		{"systemd's own", []mount{m("/", "name=systemd"), m("/", "memory")},
			map[string]string{"name=systemd": "/system.slice/a.service", "memory": "/system.slice"}, "/system.slice/a.service"},
		{"a controller's", []mount{m("/", "memory")}, map[string]string{"memory": "/user.slice/session-1.scope"}, "/user.slice/session-1.scope"},
		{"a container's", []mount{m("/system.slice/docker-1.scope", "memory")}, map[string]string{"memory": "/system.slice/docker-1.scope"}, ""},
		{"not mounted", nil, map[string]string{"name=systemd": "/a.service"}, ""},
	} {
		got, ok := system{mounts: c.mounts, legacy: c.own}.unit()
		assert.Equal(t, c.want, got, c.name)
		assert.Equal(t, c.want != "", ok, c.name)
	}
}

func TestWeightsOfBothVersions(t *testing.T) {
	for n := 1; n <= 10000; n++ {
		var s uint64
		for _, digit := range shares(n) {
			s = 10*s + uint64(digit-'0')
		}
		want := n
		if n == 100 {
			want = 0 // the default
		}
		assert.Equal(t, want, weight(s))
	}
	assert.Equal(t, "1024", shares(0))
	assert.Equal(t, "102400", shares(10000))
}

func TestParsePressure(t *testing.T) {
	assert.Equal(t,
		PressureLine{SomeAvg10: 1.5, SomeAvg60: 0.25, SomeTotal: 12345678, FullAvg10: 1, FullTotal: 9},
		parsePressure("some avg10=1.50 avg60=0.25 avg300=0.01 total=12345678\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=9\n"))
	assert.Equal(t, PressureLine{SomeTotal: 1}, parsePressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"), "old kernels have no full for the cpu")
	assert.Zero(t, parsePressure(""))
}

// The kernel describes devices by folders: a partition's is in its disk's, and
// a logical volume's has links to what it is on.
func TestWholeDisks(t *testing.T) {
	root := t.TempDir()
	links := filepath.Join(root, "dev/block")
	require.NoError(t, os.MkdirAll(links, 0o755))
	device := func(path, number string, slaves ...string) {
		dir := filepath.Join(root, "devices", path)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "slaves"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "dev"), []byte(number+"\n"), 0o644))
		require.NoError(t, os.Symlink(dir, filepath.Join(links, number)))
		for _, slave := range slaves {
			require.NoError(t, os.Symlink(filepath.Join(root, "devices", slave), filepath.Join(dir, "slaves", filepath.Base(slave))))
		}
	}
	device("sda", "8:0")
	device("sda/sda2", "8:2")
	require.NoError(t, os.WriteFile(filepath.Join(root, "devices/sda/sda2/partition"), []byte("2\n"), 0o644))
	device("sdb", "8:16")
	device("md0", "9:0", "sda/sda2", "sdb")
	device("dm-0", "253:0", "md0")
	for number, want := range map[string][]string{
		"8:0": {"8:0"}, "8:2": {"8:0"}, "8:16": {"8:16"},
		"9:0": {"8:0", "8:16"}, "253:0": {"8:0", "8:16"},
	} {
		got, err := wholeDisks(links, number)
		require.NoError(t, err)
		assert.Equal(t, want, got, number)
	}
	_, err := wholeDisks(links, "8:99")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

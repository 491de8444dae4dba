package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// kernelView is what the kernel says of a stream's process that has to be the
// same for every start of it.
type kernelView struct {
	Threads                    []string
	Limits, OOM, Seccomp, Exe  string
	WorkDir, Cgroup            string
	Priority, Dumpable, Signal string
	Mounts, Environment        []string
	Names                      string
}

// viewOf reads it. What is the process's own is replaced: ids, its folder.
func viewOf(t *testing.T, s strictStatus, own ...string) (v kernelView) {
	t.Helper()
	tasks, err := filepath.Glob(procFile(s.PID, "task/*/status"))
	require.NoError(t, err)
	for _, task := range tasks {
		kernel := taskStatus(t, task)
		if kernel == nil {
			continue
		}
		var text []string
		for _, name := range []string{
			"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
			"Seccomp_filters", "Umask", "Cpus_allowed", "Mems_allowed",
		} {
			text = append(text, name+"="+strings.Join(kernel[name], ","))
		}
		v.Threads = append(v.Threads, strings.Join(text, " "))
	}
	slices.Sort(v.Threads)
	v.Threads = slices.Compact(v.Threads)
	plain := func(text string) string {
		dir := filepath.Base(filepath.Dir(socketIn(t, s.PID)))
		return strings.NewReplacer(append([]string{dir, "RUN"}, own...)...).Replace(text)
	}
	v.Limits = readText(t, procFile(s.PID, "limits"))
	v.OOM = readText(t, procFile(s.PID, "oom_score_adj"))
	v.Cgroup = plain(readText(t, procFile(s.PID, "cgroup")))
	v.Exe, _ = os.Readlink(procFile(s.PID, "exe"))
	cwd, err := os.Readlink(procFile(s.PID, "cwd"))
	require.NoError(t, err)
	v.WorkDir = plain(cwd)
	priority, err := unix.Getpriority(unix.PRIO_PGRP, s.PID)
	require.NoError(t, err)
	v.Priority = fmt.Sprint(20 - priority)
	// Who owns /proc/PID follows from whether the process is dumpable.
	info, err := os.Stat(procFile(s.PID, "environ"))
	require.NoError(t, err)
	v.Dumpable = plain(fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid))
	for line := range strings.Lines(readText(t, procFile(s.PID, "mountinfo"))) {
		fields := strings.Fields(line)
		// Without ids of mounts and devices. That of /tmp tells whose it was made
		// for, which for a warm runner was nobody; whose it is is looked at below.
		text := plain(strings.Join(append(fields[3:6:6], fields[6:]...), " "))
		text = strings.ReplaceAll(text, ",uid=USER,gid=USER", "")
		v.Mounts = append(v.Mounts, text)
	}
	slices.Sort(v.Mounts)
	for _, file := range []string{"etc/passwd", "etc/group"} {
		v.Names += plain(readText(t, procFile(s.PID, "root/"+file)))
	}
	var tmp syscall.Stat_t
	require.NoError(t, syscall.Stat(procFile(s.PID, "root/tmp/."), &tmp))
	v.Names += plain(fmt.Sprintf("/tmp %o of %d:%d", tmp.Mode, tmp.Uid, tmp.Gid))
	return v
}

// socketIn is the socket of a runner by its own environment.
func socketIn(t *testing.T, pid int) string {
	t.Helper()
	return socketOf(t, "/", pid)
}

// TestWarmStrictStreamIsAsAColdOne: the kernel says the same of a stream whose
// runner was started ahead as of one whose was not.
func TestWarmStrictStreamIsAsAColdOne(t *testing.T) {
	t.Parallel()
	const limits = "memory: 128MiB, cpu: 0.5, cpu_weight: 50, pids: 100, nofile: 512, disk: 4MiB"
	for name, config := range map[string]string{"without limits": echo("x"), "with limits": limited(limits, echo("x"))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			views := map[int]kernelView{}
			statuses := map[int]strictStatus{}
			for _, size := range []int{0, 1} {
				p, _ := startStrict(t, warmArgs(size)...)
				if size > 0 {
					assertUnassigned(t, p, p.awaitWarm(t, size)[0])
				}
				p.expect(t, 200, "POST", "/streams/a", config)
				warm, cold := starts(t, p.client)
				assert.Equal(t, []int{size, 1 - size}, []int{warm, cold})
				s := strictly(t, p.client, "a")
				assertConfined(t, s)
				if name == "with limits" {
					assertEnforced(t, p.server, "a")
				}
				user := fmt.Sprint(s.Sandbox.UID)
				views[size] = viewOf(t, s, filepath.Dir(p.DataDir), "TEST", instanceOf(s), "INSTANCE", user, "USER")
				s.PID, s.Isolation.Limits.Cgroup = 0, ""
				statuses[size] = s
			}
			assert.Equal(t, views[0], views[1])
			assert.Equal(t, statuses[0], statuses[1])
		})
	}
}

// instanceOf is the part of a cgroup's path that is the server's.
func instanceOf(s strictStatus) string {
	return filepath.Base(filepath.Dir(s.Isolation.Limits.Cgroup))
}

// assertUnassigned: a runner that is nobody's is in its sandbox, has nothing of
// anybody in it, and no more privileges than it takes to become a user.
func assertUnassigned(t *testing.T, p *penstock, pid int) {
	t.Helper()
	tasks, err := filepath.Glob(procFile(pid, "task/*/status"))
	require.NoError(t, err)
	for _, task := range tasks {
		kernel := taskStatus(t, task)
		if kernel == nil {
			continue
		}
		const changeUser, none = "00000000000000c0", "0000000000000000" // CAP_SETGID, CAP_SETUID
		for set, want := range map[string]string{
			"CapPrm": changeUser, "CapEff": changeUser, "CapBnd": none, "CapInh": none, "CapAmb": none,
		} {
			assert.Equal(t, []string{want}, kernel[set], "%s of %s", set, task)
		}
		assert.Empty(t, kernel["Groups"])
		assert.Equal(t, []string{"1"}, kernel["NoNewPrivs"])
		assert.Equal(t, []string{"2"}, kernel["Seccomp"])
	}
	for _, kind := range []string{"mnt", "pid", "ipc", "uts"} {
		assert.NotEqual(t, namespaceOf(t, os.Getpid(), kind), namespaceOf(t, pid, kind), kind)
	}
	mounts := readText(t, procFile(pid, "mountinfo"))
	assert.NotContains(t, mounts, filepath.Join(p.DataDir, "streams"))
	streams, err := os.ReadDir(procFile(pid, "root/"+filepath.Join(p.DataDir, "streams")))
	require.NoError(t, err)
	assert.Empty(t, streams)
	assert.Empty(t, readText(t, procFile(pid, "root/etc/passwd")))
}

// TestWarmStrictRunnersAreTaken by everything that needs one, and no two streams
// share anything.
func TestWarmStrictRunnersAreTaken(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t, warmArgs(1)...)
	assertTaken(t, p)
	p.awaitWarm(t, 1)
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
	a, b := strictly(t, p.client, "a"), strictly(t, p.client, "b")
	assert.NotEqual(t, a.Sandbox.UID, b.Sandbox.UID)
	for _, kind := range a.Sandbox.Namespaces {
		assert.NotEqual(t, namespaceOf(t, a.PID, kind), namespaceOf(t, b.PID, kind), kind)
	}
	for s, other := range map[*strictStatus]string{&a: "b", &b: "a"} {
		assertConfined(t, *s)
		assert.NotContains(t, readText(t, procFile(s.PID, "mountinfo")), filepath.Join(p.DataDir, "streams", other)+" ")
		_, err := os.Stat(procFile(s.PID, "root/"+filepath.Join(p.DataDir, "streams", other)))
		assert.ErrorIs(t, err, os.ErrNotExist)
	}
}

// TestWarmStrictFiles: Landlock and the mounts let a stream whose runner was
// started ahead have its own files, /tmp and /proc, and nothing besides.
func TestWarmStrictFiles(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t, warmArgs(2, readerArgs...)...)
	p.awaitWarm(t, 2)
	p.expect(t, 200, "POST", "/streams/reader", readerYAML)
	own := filepath.Join(streamFolder(p.DataDir, "reader"), "file")
	p.expect(t, 200, "POST", "/streams/keeper", keeperYAML(filepath.Join(streamFolder(p.DataDir, "keeper"), "kept")))
	warm, cold := starts(t, p.client)
	require.Equal(t, []int{2, 0}, []int{warm, cold})
	user := int(strictly(t, p.client, "reader").Sandbox.UID)
	require.NoError(t, os.WriteFile(own, []byte("mine"), 0o600))
	require.NoError(t, os.Chown(own, user, user))
	p.expect(t, 200, "POST", "/keeper/post", "kept")
	read := func(path string) string { return p.expect(t, 200, "POST", "/reader/post", path).Text() }
	assert.Equal(t, "mine", read(own))
	assert.Contains(t, read("/etc/passwd"), fmt.Sprintf("penstock:x:%d:%d:", user, user))
	assert.Contains(t, read("/proc/self/environ"), "PLUGIN_UNIX_SOCKET_DIR=")
	for path, want := range map[string]string{
		filepath.Join(streamFolder(p.DataDir, "keeper"), "kept"): "no such file",
		filepath.Join(p.DataDir, "state.db"):                     "no such file",
		filepath.Join(p.DataDir, "streams"):                      "permission denied",
		"/etc/shadow":                                            "no such file",
		"/proc/1/mem":                                            "failed",
		"/":                                                      "permission denied",
	} {
		assert.Contains(t, read(path), want, path)
	}
	// Beside its own folder there is nothing to be written.
	for _, path := range []string{filepath.Join(p.DataDir, "streams", "new"), filepath.Join(p.DataDir, "new"), "/new"} {
		p.awaitWarm(t, 2)
		p.expect(t, 200, "POST", "/streams/writer", keeperYAML(path))
		a := p.call(t, "POST", "/writer/post", "x")
		assert.NotEqual(t, 200, a.Status, "%s could be written: %s", path, a)
		_, err := os.Lstat(path)
		assert.ErrorIs(t, err, os.ErrNotExist)
		p.expect(t, 200, "DELETE", "/streams/writer?timeout=1s", "")
	}
	// Its /tmp is its own.
	p.awaitWarm(t, 2)
	p.expect(t, 200, "POST", "/streams/writer", keeperYAML("/tmp/x"))
	p.expect(t, 200, "POST", "/writer/post", "x")
}

// TestWarmLimits: what was taken out of the pool is held to the limits of its
// stream, by the kernel and by the watch.
func TestWarmLimits(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t, warmArgs(1, "--set", "stream_logs.max_megabytes=1")...)
	for name, exceed := range map[string]func(*testing.T, *penstock){
		"memory": exceedMemory, "pids": exceedPIDs, "nofile": exceedNoFile, "disk": exceedDisk,
	} {
		p.awaitWarm(t, 1)
		before, _ := starts(t, p.client)
		t.Run(name, func(t *testing.T) { exceed(t, p) })
		after, _ := starts(t, p.client)
		assert.Greater(t, after, before, name)
	}
}

// TestWarmDoesNotFit: what a process that runs cannot be given, it is started
// with.
func TestWarmDoesNotFit(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(folder), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "f"), []byte("shared"), 0o644))
	require.NoError(t, os.Chmod(folder, 0o755))
	args := slices.Concat(readerArgs, []string{"--set", "isolation.read=[" + folder + "]"})
	p, _ := startStrict(t, warmArgs(1, args...)...)
	for id, config := range map[string]string{
		"folders": "runtime: {sandbox: {read: [" + folder + "]}}\n" + readerYAML,
		"files":   limited("nofile: 17000", readerYAML),
	} {
		warm := p.awaitWarm(t, 1)
		_, before := starts(t, p.client)
		p.expect(t, 200, "POST", "/streams/"+id, config)
		_, after := starts(t, p.client)
		assert.Equal(t, before+1, after, id)
		assertConfined(t, strictly(t, p.client, id))
		assert.Equal(t, warm, p.awaitWarm(t, 1), "what did not fit is left")
	}
	assert.Equal(t, "shared", p.expect(t, 200, "POST", "/folders/post", filepath.Join(folder, "f")).Text())
}

// TestWarmStrictAdoption: a runner that was started ahead is adopted as any
// other, and those that are nobody's are not.
func TestWarmStrictAdoption(t *testing.T) {
	t.Parallel()
	r, _ := newStrictRestartable(t)
	args := strictArgs(warmArgs(1)...)
	r.start(t, args...)
	p := &penstock{server: r.server, DataDir: r.DataDir}
	p.awaitWarm(t, 1)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	warm, _ := starts(t, r.client)
	require.Equal(t, 1, warm)
	before := strictly(t, r.client, "a")
	left := p.awaitWarm(t, 1)
	for range 2 {
		r.kill9(t)
		r.start(t, args...)
		awaitState(t, r.client, "a", "running")
		assert.Equal(t, before, strictly(t, r.client, "a"))
		assertConfined(t, strictly(t, r.client, "a"))
		awaitEcho(t, r.client, "/a/post", "a")
		awaitGone(t, left[0])
		p.server = r.server
		left = p.awaitWarm(t, 1)
	}
}

package integration

import (
	"errors"
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

// taskStatus reads what the kernel says of a process or thread, line by line;
// nil for a thread that has ended.
func taskStatus(t testing.TB, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	require.NoError(t, err)
	fields := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		name, values, _ := strings.Cut(line, ":")
		fields[name] = strings.Fields(values)
	}
	return fields
}

// namespaceOf names one of the namespaces that a process is in.
func namespaceOf(t testing.TB, pid int, kind string) string {
	t.Helper()
	name, err := os.Readlink(procFile(pid, "ns/"+kind))
	require.NoError(t, err)
	return name
}

// assertConfined compares what a status says of a runner, field by field, with
// what the kernel says of each of its threads.
func assertConfined(t testing.TB, s strictStatus) {
	t.Helper()
	tasks, err := filepath.Glob(procFile(s.PID, "task/*/status"))
	require.NoError(t, err)
	require.NotEmpty(t, tasks, "the runner's threads")
	user, none := fmt.Sprint(s.Sandbox.UID), "0000000000000000"
	for _, task := range tasks {
		kernel := taskStatus(t, task)
		if kernel == nil {
			continue
		}
		assert.Equal(t, []string{user, user, user, user}, kernel["Uid"], task)
		assert.Equal(t, []string{user, user, user, user}, kernel["Gid"], task)
		assert.Empty(t, kernel["Groups"], task)
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			assert.Equal(t, []string{none}, kernel[set], "%s of %s", set, task)
		}
		assert.Equal(t, []string{"1"}, kernel["NoNewPrivs"], task)
		assert.Equal(t, []string{"2"}, kernel["Seccomp"], task)
		assert.Equal(t, "1", kernel["NStgid"][1], "the first process of its own pid namespace")
	}
	assert.False(t, s.Sandbox.Capabilities)
	assert.True(t, s.Sandbox.NoNewPrivs)
	assert.True(t, s.Sandbox.Seccomp)
	assert.Equal(t, s.Sandbox.UID, s.Sandbox.GID)

	var own []string
	for _, kind := range []string{"mnt", "pid", "ipc", "uts", "user"} {
		if namespaceOf(t, s.PID, kind) != namespaceOf(t, os.Getpid(), kind) {
			own = append(own, kind)
		}
	}
	assert.Equal(t, s.Sandbox.Namespaces, own)
	assert.Equal(t, []string{"mnt", "pid", "ipc", "uts"}, own)

	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	require.Zero(t, errno)
	assert.Equal(t, int(abi), s.Sandbox.LandlockABI)

	assert.True(t, s.Sandbox.PrivateRoot)
	var there, here syscall.Stat_t
	require.NoError(t, syscall.Stat(procFile(s.PID, "root/."), &there))
	require.NoError(t, syscall.Stat("/", &here))
	assert.NotEqual(t, here.Dev, there.Dev, "its root is the host's")
	for _, path := range []string{"etc/shadow", "etc/ssh", "root", "home", "sys", "proc/sys", "proc/kcore", "run", "boot"} {
		_, err := os.Lstat(procFile(s.PID, "root/"+path))
		assert.ErrorIs(t, err, os.ErrNotExist, path)
	}
}

// TestStrictLayers: whatever a status says of a stream's confinement, the kernel
// says too.
func TestStrictLayers(t *testing.T) {
	t.Parallel()
	p, n := startStrict(t, "--set", "isolation.uids=310000-310099")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, echo(id))
	}
	a, b := strictly(t, p.client, "a"), strictly(t, p.client, "b")
	for id, s := range map[string]strictStatus{"a": a, "b": b} {
		assert.Equal(t, "strict", s.Isolation.Profile)
		assertConfined(t, s)
		assert.Equal(t, namespaceOf(t, p.PID, "net"), namespaceOf(t, s.PID, "net"), "the network is the host's")
		assert.GreaterOrEqual(t, s.Sandbox.UID, uint32(310000))
		assert.LessOrEqual(t, s.Sandbox.UID, uint32(310099))
		// What each of these means is what the other tests are about.
		assert.True(t, s.Sandbox.Egress)
		assert.False(t, s.Sandbox.Exec)
		assert.True(t, s.Sandbox.ComponentPolicy)

		// What no field tells of.
		assert.Equal(t, "500", strings.TrimSpace(readText(t, procFile(s.PID, "oom_score_adj"))), id)
		limits := readText(t, procFile(s.PID, "limits"))
		assert.Regexp(t, `Max core file size +0 +0 `, limits, id)
		assert.Regexp(t, `Max locked memory +0 +0 `, limits, id)
		for _, file := range links(s.PID) {
			assert.NotContains(t, file, p.DataDir+"/state.db", id)
			assert.NotContains(t, file, p.DataDir+"/lock", id)
			assert.NotContains(t, file, "plan", id)
		}
		assert.Contains(t, readText(t, procFile(s.PID, "cgroup")), s.Isolation.Limits.Cgroup+"\n", id)
	}
	assert.NotEqual(t, a.Sandbox.UID, b.Sandbox.UID)
	for _, kind := range a.Sandbox.Namespaces {
		assert.NotEqual(t, namespaceOf(t, a.PID, kind), namespaceOf(t, b.PID, kind), "they share a namespace: %s", kind)
	}
	assert.NotEqual(t, a.Isolation.Limits.Cgroup, b.Isolation.Limits.Cgroup)
	require.Len(t, n.tables(), 1)

	// A stream keeps its user, whatever becomes of its runner.
	pid := a.PID
	for what, change := range map[string]func(){
		"a restart": func() { p.expect(t, 200, "POST", "/streams/a/restart", "") },
		"a PUT":     func() { p.expect(t, 200, "PUT", "/streams/a", echo("new")) },
		"a crash": func() {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			awaitPID(t, p.client, "a", pid)
			awaitState(t, p.client, "a", "running")
		},
		"a pause": func() {
			p.expect(t, 200, "POST", "/streams/a/pause", "")
			p.expect(t, 200, "POST", "/streams/a/resume", "")
		},
	} {
		change()
		after := strictly(t, p.client, "a")
		assert.NotEqual(t, pid, after.PID, what)
		pid = after.PID
		assert.Equal(t, a.Sandbox, after.Sandbox, what)
		assertConfined(t, after)
	}
	assert.Equal(t, b, strictly(t, p.client, "b"))

	// It is nobody else's, and that of a stream that has gone comes last.
	p.expect(t, 200, "DELETE", "/streams/a", "")
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	assert.NotContains(t, []uint32{a.Sandbox.UID, b.Sandbox.UID}, strictly(t, p.client, "a").Sandbox.UID)
	p.stop(t)
	assert.Empty(t, n.tables(), "rules that outlived their supervisor")
}

// TestStrictUsersRunOut: there are as many streams as there are users for them;
// configs that are refused keep none.
func TestStrictUsersRunOut(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t, "--set", "isolation.uids=310000-310002")
	for range 5 {
		p.expect(t, 400, "POST", "/streams/refused", misspeltYAML)
		p.expect(t, 400, "POST", "/streams/refused", unbuildableYAML)
		p.expect(t, 400, "POST", "/streams", "refused:\n"+indent(unbuildableYAML))
	}
	var users []uint32
	for _, id := range []string{"a", "b", "c"} {
		p.expect(t, 200, "POST", "/streams/"+id, echo(id))
		users = append(users, strictly(t, p.client, id).Sandbox.UID)
	}
	slices.Sort(users)
	assert.Equal(t, []uint32{310000, 310001, 310002}, users)
	for range 3 {
		a := p.expect(t, 507, "POST", "/streams/d", echo("d"))
		assert.Contains(t, a.Text(), "all 3 users of isolation.uids are taken")
		p.expect(t, 404, "GET", "/streams/d", "")
	}
	// Those that there are can change.
	p.expect(t, 200, "PUT", "/streams/a", echo("new"))
	p.expect(t, 200, "DELETE", "/streams/b", "")
	p.expect(t, 200, "POST", "/streams/d", echo("d"))
	awaitEcho(t, p.client, "/d/post", "d")
	awaitEcho(t, p.client, "/a/post", "new")
}

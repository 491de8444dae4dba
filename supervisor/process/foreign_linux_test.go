package process

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bystander is a process that has nothing to do with any runner, in the place
// of one: its identity is true but for the socket.
func bystander(t *testing.T, l *Launcher, attr *syscall.SysProcAttr) Identity {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "600")
	cmd.SysProcAttr = attr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dir := filepath.Join(l.runDir, "rbystander")
	require.NoError(t, os.Mkdir(dir, 0o700))
	id, err := identify(cmd.Process.Pid, dir, "plugin1")
	require.NoError(t, err)
	return id
}

func refuse(t *testing.T, l *Launcher, id Identity, want error, text string) {
	t.Helper()
	_, err := l.Adopt(id, nil)
	require.ErrorIs(t, err, want)
	require.ErrorContains(t, err, text)
	stat, err := readStat(id.PID)
	require.NoError(t, err)
	assert.False(t, stat.dead(), "it lives on")
}

func TestRecycledIDIsForeign(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	other := bystander(t, l, nil)

	recycled := id
	recycled.PID = other.PID
	refuse(t, l, recycled, ErrForeign, "its id was given to another")
	later := id
	later.StartTime++
	refuse(t, l, later, ErrForeign, "its id was given to another")
	adopt(t, l, id)
}

func TestThreadIsForeign(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(id.PID), "task"))
	require.NoError(t, err)
	require.Greater(t, len(threads), 1)
	thread := id
	thread.PID, err = strconv.Atoi(threads[1].Name())
	require.NoError(t, err)
	_, err = l.Adopt(thread, nil)
	require.ErrorIs(t, err, ErrForeign)
}

func TestStaleSocketIsForeign(t *testing.T) {
	l := launcher(t)
	id := bystander(t, l, nil)
	refuse(t, l, id, ErrForeign, "nobody listens")

	path := filepath.Join(l.runDir, id.Dir, id.Socket)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	refuse(t, l, id, ErrForeign, "process "+strconv.Itoa(os.Getpid()))
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	require.FileExists(t, path)
	refuse(t, l, id, ErrForeign, "nobody listens")

	// A name cannot lead out of the run folder, either.
	id.Dir = "../run/" + id.Dir
	refuse(t, l, id, ErrForeign, "no name of a socket")
}

func TestAnotherUsersProcessIsForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start another user's process")
	}
	l := launcher(t)
	id := bystander(t, l, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	assert.EqualValues(t, 65534, id.UID)
	id.UID = 0
	refuse(t, l, id, ErrForeign, "runs as user 65534 instead of 0")
}

func TestEarlierBootIsGone(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	before := id
	before.BootID = "00000000-0000-0000-0000-000000000000"
	refuse(t, l, before, ErrGone, "started anew")
}

func TestEndOthers(t *testing.T) {
	l := launcher(t)
	kept := startEarlier(t, l, idle, time.Minute)
	config, grandchild := startsSleep(t)
	other := startEarlier(t, l, config, time.Minute)
	started := grandchild()
	stopped := startEarlier(t, l, idle, time.Minute)
	suspend(t, stopped.PID)
	require.NoError(t, os.Mkdir(filepath.Join(l.runDir, "rempty"), 0o700))
	// The socket of somebody who must never be hit: ourselves.
	require.NoError(t, os.Mkdir(filepath.Join(l.runDir, "rours"), 0o700))
	ours, err := net.Listen("unix", filepath.Join(l.runDir, "rours", "http.sock"))
	require.NoError(t, err)
	defer ours.Close()

	began := time.Now()
	l.EndOthers([]string{kept.Dir})
	assert.Less(t, time.Since(began), 2*leftoverGrace+time.Second, "all end at the same time")
	for _, pid := range []int{other.PID, started, stopped.PID} {
		awaitDead(t, pid)
	}
	left, err := os.ReadDir(l.runDir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, kept.Dir, left[0].Name())
	adopt(t, l, kept)
}

// TestMembersAreFoundWithoutTheirLeader covers what kernels before 6.9 need.
func TestMembersAreFoundWithoutTheirLeader(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 600 & echo $!; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 32)
	n, err := out.Read(line)
	require.NoError(t, err)
	member, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	require.NoError(t, err)
	leader, err := readStat(cmd.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	// One that leads another session is no member, and somebody who has the
	// leader's id by now means that no member is left.
	killMembers(cmd.Process.Pid+1, leader.startTime)
	killMembers(cmd.Process.Pid, leader.startTime+1<<40)
	stat, err := readStat(member)
	require.NoError(t, err)
	assert.False(t, stat.dead())

	killMembers(cmd.Process.Pid, leader.startTime)
	awaitDead(t, member)
}

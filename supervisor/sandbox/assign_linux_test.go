package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// becoming is the first word of a program that was started for nobody yet; its
// folder and what it does as the tenant follow.
const becoming = "become"

// step is what a program and the test tell each other when they have come as far.
const step = "ready"

// becomeTenant does what a runner does when it is told whose it is.
func becomeTenant(workDir string) error {
	await := func() error {
		fmt.Print(step)
		_, err := os.Stdin.Read(make([]byte, 1))
		return err
	}
	if err := await(); err != nil {
		return err
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	for _, call := range [][2]uintptr{
		{unix.PR_SET_SECUREBITS, uintptr(bits) | noRoot},
		{unix.PR_CAPBSET_DROP, unix.CAP_SETGID}, {unix.PR_CAPBSET_DROP, unix.CAP_SETUID}, {unix.PR_CAPBSET_DROP, unix.CAP_SETPCAP},
	} {
		_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, call[0], call[1], 0, 0, 0, 0)
		if errno != 0 && errno != unix.ENOTSUP {
			return errno
		}
	}
	return errors.Join(
		syscall.Setresgid(tenant, tenant, tenant), syscall.Setresuid(tenant, tenant, tenant),
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0), await(), os.Chdir(workDir))
}

// runAssigned is run for a plan with something vacant: the program gets its
// folder once it waits for it, and goes on once the kernel says that it is the
// tenant's.
func runAssigned(t *testing.T, cmd *exec.Cmd, plan Plan) (stdout, stderr string, err error) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = nil, &said
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pid := cmd.Process.Pid
	arrived := make([]byte, len(step))
	_, err = io.ReadFull(out, arrived)
	require.NoError(t, err, "%s", &said)

	require.Error(t, CheckAssigned(pid, tenant, tenant), "it is root's still")
	assert.Equal(t, 3, strings.Count(bitsOf(t, pid, "CapEff"), "1"), "what it takes to become somebody, and nothing else")
	require.NoError(t, Assign(pid, Assignment{UID: tenant, GID: tenant, Write: []string{plan.Args[3]}, Tmp: true}))
	_, err = stdin.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(out, arrived)
	require.NoError(t, err, "%s", &said)
	require.NoError(t, CheckAssigned(pid, tenant, tenant))
	require.Error(t, CheckAssigned(pid, tenant, tenant+1))
	require.Error(t, CheckAssigned(pid, neighbour, tenant))
	_, err = stdin.Write([]byte("x"))
	require.NoError(t, err)
	text, err := io.ReadAll(out)
	require.NoError(t, err)
	err = cmd.Wait()
	return string(text), said.String(), err
}

// bitsOf are the bits of a set of capabilities of a process.
func bitsOf(t *testing.T, pid int, set string) string {
	t.Helper()
	s, err := readStatus(fmt.Sprintf("/proc/%d", pid))
	require.NoError(t, err)
	return fmt.Sprintf("%b", s.number(set, 0, 16))
}

// A program that was started for nobody and became the tenant finds itself as one
// that was started as the tenant.
func TestAssignedProgramIsAsAnyOther(t *testing.T) {
	w := newWorld(t)
	direct, later := w.strict(t), w.nobodys(t)
	direct.Args = append(direct.Args, "self")
	later.Args = append(later.Args, becoming, w.Own, "self")
	want, got := report[self](t, direct), report[self](t, later)
	want.Args, got.Args = nil, nil
	if os.Getenv("CGO_ENABLED") != "0" && got.Securebits != want.Securebits {
		// Go with C in it does not change all threads: see runner.
		got.Securebits |= noRoot
	}
	assert.Equal(t, want, got)

	direct.Args = append(direct.Args[:2:2], "mounts")
	later.Args = append(later.Args[:2:2], becoming, w.Own, "mounts")
	assert.ElementsMatch(t, places(report[[]string](t, direct)), places(report[[]string](t, later)))
}

// places are what is mounted, where and how, without the ids of mounts and
// devices, and without whom a /tmp was made for.
func places(mounts []string) (out []string) {
	owner := fmt.Sprintf(",uid=%d,gid=%d", tenant, tenant)
	for _, line := range mounts {
		out = append(out, strings.ReplaceAll(strings.Join(strings.Fields(line)[3:], " "), owner, ""))
	}
	return out
}

// What is assigned is found as what a plan names is: no tenant's link leads it
// elsewhere.
func TestAssignFollowsNoTenant(t *testing.T) {
	w := newWorld(t)
	plan := w.nobodys(t)
	plan.Args = append(plan.Args, becoming, w.Own, "self")
	cmd, done, err := plan.Command(launcher)
	require.NoError(t, err)
	defer done()
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}()
	_, err = io.ReadFull(out, make([]byte, len(step)))
	require.NoError(t, err)
	link := filepath.Join(filepath.Dir(w.Own), "link")
	require.NoError(t, os.Symlink("/etc", link))
	require.NoError(t, os.Lchown(link, tenant, tenant))
	err = Assign(cmd.Process.Pid, Assignment{UID: tenant, GID: tenant, Write: []string{link}})
	require.ErrorContains(t, err, link+" is a symbolic link of user 200001: only root's are followed")
	err = Assign(cmd.Process.Pid, Assignment{UID: tenant, GID: tenant, Write: []string{filepath.Join(w.Own, "nothing")}})
	require.ErrorIs(t, err, os.ErrNotExist)
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid))
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), "/etc rw")

	err = Assign(1<<30, Assignment{UID: tenant, GID: tenant})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Whatever thread Assign has used, this process is where it was.
func TestAssignLeavesNoThreadBehind(t *testing.T) {
	main, err := os.Readlink("/proc/self/ns/mnt")
	require.NoError(t, err)
	for range 50 {
		var where string
		require.NoError(t, onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("it is the main thread")
			}
			if os.Geteuid() == 0 {
				if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
					return err
				}
			}
			var err error
			where, err = os.Readlink("/proc/thread-self/ns/mnt")
			return err
		}))
		if os.Geteuid() == 0 {
			assert.NotEqual(t, main, where)
		}
	}
	var threads []string
	require.Eventually(t, func() bool {
		threads, err = filepath.Glob("/proc/self/task/*/ns/mnt")
		require.NoError(t, err)
		for _, thread := range threads {
			if there, err := os.Readlink(thread); err == nil && there != main {
				return false
			}
		}
		return true
	}, 10*time.Second, 10*time.Millisecond, "threads stay in another namespace")
}

package cgroup

import (
	"bufio"
	"crypto/rand"
	"errors"
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

const (
	mib = 1 << 20
	// patience is for what happens at once, on a machine that is slow and busy.
	patience = time.Minute
	tick     = 5 * time.Millisecond
)

// needRoot skips a test that a user cannot run.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root, which CI has to give it")
	}
	t.Skip("needs root, to make cgroups anywhere")
}

// testParent is a parent cgroup of the test's own, which it removes with
// everything in it.
func testParent(t testing.TB) string {
	t.Helper()
	needRoot(t)
	parent := "/penstock-test-" + strings.ToLower(rand.Text()[:8])
	t.Cleanup(func() {
		s, err := inspect()
		require.NoError(t, err)
		for _, m := range s.mounts {
			dir := filepath.Join(m.point, parent)
			if exists(dir) {
				assert.NoError(t, removeAll(dir), "what the test made remains")
			}
		}
	})
	return parent
}

// removeAll removes a cgroup with all below it.
func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeAll(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return await(patience, func() error {
		if err := signal(dir); err != nil {
			return err
		}
		return unix.Rmdir(dir)
	})
}

// open opens a hierarchy of the test's own.
func open(t testing.TB) *Hierarchy {
	t.Helper()
	h, err := Open(Config{Parent: testParent(t), Name: "sup", Paths: []string{t.TempDir()}})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, h.Sweep(nil))
		assert.NoError(t, h.Close())
		for _, tree := range h.trees {
			assert.NoDirExists(t, tree.dir)
		}
	})
	return h
}

func create(t testing.TB, h *Hierarchy, name string, limits Limits) *Leaf {
	t.Helper()
	l, err := h.Create(name, limits)
	require.NoError(t, err)
	assert.Equal(t, limits, limitsOf(t, l), "the limits that the kernel says are in force")
	return l
}

func limitsOf(t testing.TB, l *Leaf) Limits {
	t.Helper()
	limits, err := l.Limits()
	require.NoError(t, err)
	return limits
}

func usageOf(t testing.TB, l *Leaf) Usage {
	t.Helper()
	usage, err := l.Usage()
	require.NoError(t, err)
	return usage
}

// process is the test binary in one of its roles.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	ended chan error
}

// start starts a role in a leaf; without a leaf, where the test is.
func start(t testing.TB, l *Leaf, role string, mend ...func(*exec.Cmd)) *process {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	// As a file that is open, any user can execute it.
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Stderr = os.Stderr
	cmd.Env = []string{roleEnv + "=" + role}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if l != nil {
		cmd.Env = append(cmd.Env, joinEnv+"="+strings.Join(l.Procs(), ":"))
		folder, err := l.Open()
		require.NoError(t, err)
		if folder != nil {
			defer folder.Close()
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(folder.Fd())
		}
	}
	for _, m := range mend {
		m(cmd)
	}
	p := &process{t: t, cmd: cmd, lines: make(chan string, 64), ended: make(chan error, 1)}
	p.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	// Not a StdoutPipe: what the process leaves behind holds it open, and the
	// end of the process itself is to be seen.
	out, into, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout = into
	err = cmd.Start()
	into.Close()
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if l != nil {
			assert.NoError(t, l.Kill())
		}
		p.in.Close()
		out.Close()
	})
	go func() { p.ended <- cmd.Wait() }()
	go func() {
		defer close(p.lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
	}()
	return p
}

// line is what the process prints next.
func (p *process) line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		require.True(p.t, ok, "the process has ended")
		require.False(p.t, strings.HasPrefix(line, "error "), line)
		return line
	case <-time.After(patience):
		require.Fail(p.t, "the process says nothing")
		return ""
	}
}

// answers tells whether an echo is alive.
func (p *process) answers() {
	p.t.Helper()
	_, err := io.WriteString(p.in, "hello\n")
	require.NoError(p.t, err)
	require.Equal(p.t, "hello", p.line())
}

// killed waits for the process to be ended by SIGKILL.
func (p *process) killed() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		var exit *exec.ExitError
		require.True(p.t, errors.As(err, &exit), "the process ended well: %v", err)
		status := exit.Sys().(syscall.WaitStatus)
		require.True(p.t, status.Signaled() && status.Signal() == syscall.SIGKILL, "the process was not killed: %v", exit)
	case <-time.After(patience):
		require.Fail(p.t, "the process was not killed")
	}
}

// empty tells whether no process is left in a leaf.
func empty(l *Leaf) bool {
	pids, err := l.processes()
	return err == nil && len(pids) == 0
}

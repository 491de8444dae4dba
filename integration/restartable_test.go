package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// restartable is a supervisor that may die and be started again: on the same
// data directory and the same address. Whatever is left of it is ended when
// the test ends; that nothing is left is for the test to check.
type restartable struct {
	// server is the supervisor started last. Its client serves all of them.
	*server
	// DataDir is the --data-dir of every supervisor; its path tells their
	// runners from all other processes.
	DataDir string
	// Penstock and Runner are the binaries the next start uses.
	Penstock, Runner string

	where place
}

// newRestartable prepares a supervisor with the shipped binaries. Nothing runs
// before start.
func newRestartable(t testing.TB) *restartable {
	t.Helper()
	return newRestartableIn(t, host{})
}

// newRestartableIn is newRestartable in another place.
func newRestartableIn(t testing.TB, where place) *restartable {
	t.Helper()
	bin, err := product()
	require.NoError(t, err)
	// Not t.TempDir: its long path would not leave room for socket names.
	dir, err := os.MkdirTemp("", "penstock-data-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	r := &restartable{
		server:   &server{client: newClientIn(where, fmt.Sprintf("http://127.0.0.1:%d", lastingPort(t))), LogFile: filepath.Join(dir, "log")},
		DataDir:  filepath.Join(dir, "data"),
		Penstock: bin.Penstock, Runner: bin.Runner, where: where,
	}
	t.Cleanup(func() { r.end(t) })
	return r
}

// start starts a supervisor and returns the time from its exec to its first
// pong. A runner lives for an hour without one. args are appended: further
// flags, stream files.
func (r *restartable) start(t testing.TB, args ...string) time.Duration {
	t.Helper()
	began := time.Now()
	require.NoError(t, r.exec(args...))
	await(t, startTimeout, "the supervisor's first pong", r.pong)
	return time.Since(began)
}

// exec is start without the wait for an answer.
func (r *restartable) exec(args ...string) error {
	if r.running() {
		return errors.New("the supervisor runs already")
	}
	log, err := os.OpenFile(r.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s := &server{client: r.client, LogFile: r.LogFile, exited: make(chan struct{})}
	s.cmd = exec.Command(r.Penstock, append([]string{
		"serve", "--listen", strings.TrimPrefix(r.Base, "http://"), "--data-dir", r.DataDir,
		"--runner", r.Runner, "--log-level", "debug", "--set", "orphan_timeout=1h",
		"--set", "limits.cgroup_parent=" + cgroupParent(), "--set", warmPool(),
	}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := r.where.start(s.cmd); err != nil {
		return err
	}
	s.PID = s.cmd.Process.Pid
	go func() {
		s.exitErr = s.cmd.Wait()
		close(s.exited)
	}()
	r.server = s
	return nil
}

// kill9 ends the supervisor as a crash does and waits for its exit. Its
// runners are left alone.
func (r *restartable) kill9(t testing.TB) {
	t.Helper()
	require.NoError(t, r.alive(), "the supervisor ended before it was killed")
	r.close()
	r.kill()
}

// stop sends SIGTERM and checks that the supervisor ends in time with status 0.
func (r *restartable) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, r.alive(), "the supervisor ended before it was stopped")
	r.close()
	require.NoError(t, r.signal(syscall.SIGTERM))
	select {
	case <-r.exited:
		assert.NoError(t, r.exitErr, "the supervisor's exit status")
	case <-time.After(stopTimeout):
		require.Fail(t, "the supervisor did not end", "%s after SIGTERM; its runners: %v", stopTimeout, r.runners())
	}
}

// runners returns the live processes of all supervisors so far, themselves
// left out. It may be called while another goroutine starts or kills one.
func (r *restartable) runners() []process {
	return slices.DeleteFunc(mentioning(r.DataDir), func(p process) bool {
		return p.State == "Z" || strings.Contains(p.Cmdline, " serve --listen ")
	})
}

// running tells whether a supervisor was started and has not ended.
func (r *restartable) running() bool {
	return r.cmd != nil && r.alive() == nil
}

// end kills whatever still lives.
func (r *restartable) end(t testing.TB) {
	r.close()
	if r.running() {
		r.kill()
	}
	assert.NoError(t, poll(stopTimeout, func() error {
		left := mentioning(r.DataDir)
		for _, p := range left {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		if len(left) > 0 {
			return fmt.Errorf("killed processes that live on: %v", left)
		}
		return nil
	}))
	log, err := os.ReadFile(r.LogFile)
	if !errors.Is(err, os.ErrNotExist) {
		assert.NoError(t, err)
	}
	assert.NotContains(t, string(log), "DATA RACE")
	if t.Failed() {
		t.Logf("the last lines of penstock's log:\n%s", r.logTail())
	}
}

// lastingPort returns a port of 127.0.0.1 that is free and stays so while
// nobody listens on it: the kernel gives none below 32768 to whoever asks for
// any.
func lastingPort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	require.Fail(t, "no free port between 20000 and 32000")
	return 0
}

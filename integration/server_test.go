package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// startTimeout bounds the time from exec to the first answered /ping.
	startTimeout = 30 * time.Second
	// stopTimeout is what a supervisor may take from SIGTERM to its exit: its
	// default shutdown timeout and some margin.
	stopTimeout = 25 * time.Second
	// logTail is how many lines of a server's log a failed test shows.
	logTail = 150
)

// server is a process that serves HTTP, with a client of it.
type server struct {
	*client
	// PID is the process's id.
	PID int
	// LogFile holds all it wrote to standard output and error.
	LogFile string

	cmd    *exec.Cmd
	exited chan struct{}
	// exitErr may be read once exited is closed.
	exitErr error
}

// penstock is a running supervisor. It is stopped, and its stop checked, when
// the test ends; a test may call stop itself before.
type penstock struct {
	*server
	// DataDir is its --data-dir, which no other supervisor shares: the path
	// tells its runners from all other processes.
	DataDir string

	stopped bool
}

// warmEnv has the servers of the tests start so many runners ahead, where a test
// says nothing else.
const warmEnv = "PENSTOCK_WARM_POOL"

// warmPool is the setting of the pool of warm runners. There is none by default:
// many tests count the processes of a server.
func warmPool() string { return "warm_pool.size=" + cmp.Or(os.Getenv(warmEnv), "0") }

// startPenstock starts `penstock serve` on a free port of 127.0.0.1 with a
// data directory of its own. args are appended: further flags, stream files.
func startPenstock(t testing.TB, args ...string) *penstock {
	t.Helper()
	return startPenstockIn(t, host{}, args...)
}

// place is where a process is started and reached.
type place interface {
	start(cmd *exec.Cmd) error
	dial(ctx context.Context, network, address string) (net.Conn, error)
}

// host is the place where the tests themselves run.
type host struct{}

func (host) start(cmd *exec.Cmd) error { return cmd.Start() }

func (host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// startPenstockIn is startPenstock in another place.
func startPenstockIn(t testing.TB, where place, args ...string) *penstock {
	t.Helper()
	bin, err := product()
	require.NoError(t, err)
	// Not t.TempDir: its long path would not leave room for socket names.
	dir, err := os.MkdirTemp("", "penstock-data-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })

	addrFile := filepath.Join(dir, "address")
	p := &penstock{DataDir: filepath.Join(dir, "data")}
	p.server, err = startServerIn(t, where, bin.Penstock, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--addr-file", addrFile,
		"--data-dir", p.DataDir, "--runner", bin.Runner, "--log-level", "debug",
		"--set", "limits.cgroup_parent=" + cgroupParent(), "--set", warmPool(),
	}, args...)...)
	require.NoError(t, err)
	t.Cleanup(func() { p.stop(t) })
	await(t, startTimeout, "the supervisor's address file", func() error {
		addr, err := os.ReadFile(addrFile)
		p.Base = "http://" + strings.TrimSpace(string(addr))
		return errors.Join(err, p.alive())
	})
	await(t, startTimeout, "the supervisor's first pong", p.pong)
	return p
}

// runners returns the live processes of this supervisor besides itself.
func (p *penstock) runners() []process {
	var found []process
	for _, c := range mentioning(p.DataDir) {
		if c.PID != p.PID {
			found = append(found, c)
		}
	}
	return found
}

// stop sends SIGTERM and checks how the supervisor ends: in time, with status
// 0, and with no runner left. It does so once.
func (p *penstock) stop(t testing.TB) {
	t.Helper()
	if p.stopped {
		return
	}
	p.stopped = true
	p.close()
	began := time.Now()
	assert.NoError(t, p.signal(syscall.SIGTERM), "the supervisor ended before it was stopped")
	select {
	case <-p.exited:
		assert.NoError(t, p.exitErr, "the supervisor's exit status")
	case <-time.After(stopTimeout):
		assert.Fail(t, "the supervisor did not end", "%s after SIGTERM; its runners: %v", time.Since(began), p.runners())
		p.kill()
	}
	left := p.runners()
	assert.Empty(t, left, "processes that outlived their supervisor")
	for _, r := range left {
		_ = syscall.Kill(r.PID, syscall.SIGKILL)
	}
	log, err := os.ReadFile(p.LogFile)
	assert.NoError(t, err)
	assert.NotContains(t, string(log), "DATA RACE")
}

// startReference starts upstream's streams mode on a free port of 127.0.0.1.
// args are appended: further flags, stream files.
func startReference(t testing.TB, args ...string) *server {
	t.Helper()
	bin, err := reference()
	require.NoError(t, err)
	// It cannot be told port 0, so another process may take the port between
	// the choice and the bind: then it ends, and the next port is tried.
	for range 5 {
		port := freePort(t)
		config := filepath.Join(t.TempDir(), "reference.yaml")
		text := fmt.Sprintf("http:\n  address: 127.0.0.1:%d\nlogger:\n  level: DEBUG\n", port)
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		s, err := startServer(t, bin, append([]string{"streams", "-o", config}, args...)...)
		require.NoError(t, err)
		t.Cleanup(func() {
			s.close()
			s.kill()
		})
		s.Base = fmt.Sprintf("http://127.0.0.1:%d", port)
		err = poll(startTimeout, func() error {
			if err := s.alive(); err != nil || listensOn(s.PID, port) {
				return err
			}
			return errors.New("it does not listen")
		})
		if err == nil {
			await(t, startTimeout, "the reference's first pong", s.pong)
			return s
		}
		t.Logf("reference on port %d: %v", port, err)
		s.kill()
	}
	require.Fail(t, "the reference did not start in 5 attempts")
	return nil
}

// startServer starts a binary with its output in a file, which is shown when
// the test fails. It says nothing about whether the server listens.
func startServer(t testing.TB, bin string, args ...string) (*server, error) {
	t.Helper()
	return startServerIn(t, host{}, bin, args...)
}

func startServerIn(t testing.TB, where place, bin string, args ...string) (*server, error) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(bin)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{client: newClientIn(where, ""), LogFile: log.Name(), exited: make(chan struct{})}
	s.cmd = exec.Command(bin, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := where.start(s.cmd); err != nil {
		return nil, err
	}
	s.PID = s.cmd.Process.Pid
	go func() {
		s.exitErr = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of %s (pid %d):\n%s", filepath.Base(bin), s.PID, s.logTail())
		}
	})
	return s, nil
}

// alive returns errHopeless once the process has ended.
func (s *server) alive() error {
	select {
	case <-s.exited:
		return fmt.Errorf("%w: %s has ended: %s", errHopeless, filepath.Base(s.cmd.Path), s.cmd.ProcessState)
	default:
		return nil
	}
}

func (s *server) signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// kill ends the process at once and waits for its exit.
func (s *server) kill() {
	_ = s.signal(syscall.SIGKILL)
	<-s.exited
}

func (s *server) pong() error {
	if err := s.alive(); err != nil {
		return err
	}
	res, err := s.http.Get(s.Base + "/ping")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Errorf("GET /ping answered %s", res.Status)
	}
	return nil
}

func (s *server) logTail() string {
	log, err := os.ReadFile(s.LogFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-logTail):], "\n")
}

// freePort returns a TCP port of 127.0.0.1 that was free a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

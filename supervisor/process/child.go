package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/go-plugin/runner"
)

var errNotStarted = errors.New("the runner was not started")

// child is the operating system's side of a runner, as go-plugin drives it.
type child struct {
	cmd    *exec.Cmd
	dir    string
	stdout *os.File

	running atomic.Bool
	exited  chan struct{}
	exit    Exit

	// reaping guards the time from which the process's id may be another's.
	reaping sync.Mutex
	reaped  bool
}

var _ runner.Runner = (*child)(nil)

func newChild(binary, dir string) *child {
	return &child{cmd: exec.Command(binary), dir: dir, exited: make(chan struct{})}
}

// Start implements runner.Runner.
func (c *child) Start(context.Context) error {
	stderr, err := os.OpenFile(c.stderrPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("making the runner's standard error: %w", err)
	}
	defer stderr.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making the runner's handshake pipe: %w", err)
	}
	defer write.Close()
	// Standard error is a file, since a pipe whose reader died would kill the
	// runner. Standard output carries the handshake and nothing after it.
	c.stdout, c.cmd.Stdout, c.cmd.Stderr = read, write, stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.cmd.Start(); err != nil {
		_ = read.Close()
		return fmt.Errorf("starting the runner's process: %w", err)
	}
	c.running.Store(true)
	go c.watch()
	return nil
}

// watch waits for the end of the process and takes down how it ended.
func (c *child) watch() {
	c.reap()
	c.exit = Exit{Code: c.cmd.ProcessState.ExitCode(), Message: c.lastWords()}
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		c.exit.Signal = status.Signal()
	}
	close(c.exited)
	_ = c.stdout.Close()
}

func (c *child) started() bool { return c.running.Load() }

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill kills the process's whole group. A process that was not reaped keeps
// its group's id from being given to another.
func (c *child) kill() {
	if !c.started() {
		return
	}
	c.reaping.Lock()
	defer c.reaping.Unlock()
	if !c.reaped {
		c.killGroup()
	}
}

func (c *child) killGroup() { _ = syscall.Kill(-c.pid(), syscall.SIGKILL) }

// lastWords is the first line of a panic in the runner's standard error, or
// else its first line.
func (c *child) lastWords() string {
	file, err := os.Open(c.stderrPath())
	if err != nil {
		return ""
	}
	defer file.Close()
	const enough = 64 << 10
	head, err := io.ReadAll(io.LimitReader(file, enough))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(head)), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "runtime: ") {
			return line
		}
	}
	return lines[0]
}

func (c *child) stderrPath() string { return filepath.Join(c.dir, "stderr.log") }

// Wait implements runner.Runner.
func (c *child) Wait(ctx context.Context) error {
	if !c.started() {
		return errNotStarted
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill implements runner.Runner.
func (c *child) Kill(ctx context.Context) error {
	c.kill()
	return c.Wait(ctx)
}

// Stdout implements runner.Runner: go-plugin reads the handshake from it.
func (c *child) Stdout() io.ReadCloser { return c.stdout }

// Stderr implements runner.Runner: it is a file that nobody follows.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (c *child) Name() string { return c.cmd.Path }

// ID implements runner.Runner.
func (c *child) ID() string { return strconv.Itoa(c.pid()) }

// Diagnose implements runner.Runner.
func (c *child) Diagnose(context.Context) string { return c.lastWords() }

// PluginToHost implements runner.Runner: both ends see the same files.
func (c *child) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.Runner.
func (c *child) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

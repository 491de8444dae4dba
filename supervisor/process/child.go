package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/go-plugin/runner"

	"penstock/supervisor/cgroup"
	"penstock/supervisor/folder"
)

var errNotStarted = errors.New("the runner was not started")

// child is the operating system's side of a runner that we started, as
// go-plugin drives it.
type child struct {
	ending
	sameHost
	letGo

	// command makes cmd when it is time to start.
	command func() (cmd *exec.Cmd, done func(), err error)
	cmd     *exec.Cmd
	// background has the process give way to all others.
	background bool
	stdout     *os.File
	// exits becomes readable when the process ends; nil where the system
	// cannot say so.
	exits *os.File

	running atomic.Bool

	// reaping guards the time from which the process's id may be another's.
	reaping sync.Mutex
	reaped  bool
}

var _ runner.Runner = (*child)(nil)

func newChild(dir string, leaf *cgroup.Leaf) *child {
	return &child{ending: newEnding(dir, leaf), letGo: newLetGo()}
}

// Start implements runner.Runner.
func (c *child) Start(context.Context) error {
	cmd, done, err := c.command()
	if err != nil {
		return err
	}
	defer done()
	c.cmd = cmd
	stderr, err := folder.Create(c.dir, stderrFile)
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
	if err := c.cmd.Start(); err != nil {
		_ = read.Close()
		return fmt.Errorf("starting the runner's process: %w", err)
	}
	if c.background {
		giveWay(c.cmd.Process.Pid)
	}
	c.exits = openExits(c.cmd.Process.Pid)
	c.running.Store(true)
	go c.watch()
	return nil
}

// watch waits for the end of the process and takes down how it ended.
func (c *child) watch() {
	if !c.reap() {
		return
	}
	// Wait4 is how every Unix tells.
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		c.conclude(status)
	} else {
		c.concludeUnseen()
	}
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
	if !c.reaped && !c.isReleased() {
		c.killed.Store(true)
		c.killGroup()
	}
}

func (c *child) killGroup() { _ = syscall.Kill(-c.pid(), syscall.SIGKILL) }

// release ends the watch of a process that is to live on.
func (c *child) release() {
	c.letGo.release()
	if c.exits != nil {
		_ = c.exits.Close()
	}
	if c.stdout != nil {
		_ = c.stdout.Close()
	}
}

// Wait implements runner.Runner.
func (c *child) Wait(ctx context.Context) error {
	if !c.started() {
		return errNotStarted
	}
	return c.wait(ctx, c.exited)
}

// Kill implements runner.Runner.
func (c *child) Kill(ctx context.Context) error {
	c.kill()
	return c.Wait(ctx)
}

// Stdout implements runner.Runner: go-plugin reads the handshake from it, which is
// one line. It would read on for as long as the runner lives, with two goroutines
// and a pipe for each.
func (c *child) Stdout() io.ReadCloser { return &firstLine{from: c.stdout} }

// Stderr implements runner.Runner: it is a file that nobody follows.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (c *child) Name() string { return c.dir }

// ID implements runner.Runner: to go-plugin, none is that there is nothing to
// end, as of a process that the system could not start.
func (c *child) ID() string {
	if !c.started() {
		return ""
	}
	return strconv.Itoa(c.pid())
}

// Diagnose implements runner.Runner.
func (c *child) Diagnose(context.Context) string { return lastWords(c.dir) }

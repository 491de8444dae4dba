package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/folder"
)

// Reason says in a word how a process ended.
type Reason string

const (
	// Exited means that the process ended by itself, with Exit.Code.
	Exited Reason = "exited"
	// Signaled means that a signal ended it which we did not send.
	Signaled Reason = "signaled"
	// OOM means that it was killed because it exceeded its memory limit, by the
	// kernel or by us.
	OOM Reason = "oom"
	// Disk means that we killed it because its files exceeded their limit.
	Disk Reason = "disk"
	// Killed means that we killed it: by Kill, or because Close took too long.
	Killed Reason = "killed"
	// Lost means that it ended while nobody watched and left no trace.
	Lost Reason = "lost"
)

// Exit says how a process ended.
type Exit struct {
	Reason Reason
	// Code is the exit code, -1 when a signal ended it or nobody knows.
	Code int
	// Signal is the signal that ended it, 0 when none did or nobody knows.
	Signal syscall.Signal
	// At is when the end was noticed, or when the process recorded it; zero
	// when nobody knows.
	At time.Time
	// Message is the beginning of a panic, or else the first line, of what the
	// process wrote to its standard error: whole lines, as many as there are in
	// 1 KiB, or that much of one line.
	Message string
	// Record is what the runner left about the end of its stream; nil when
	// it left nothing.
	Record *rpc.ExitRecord
	// Excess is what it exceeded; nil unless Reason is OOM or Disk.
	Excess *Excess
}

// Excess is a limit and what was used, in bytes.
type Excess struct {
	Used, Limit uint64
}

// String gives the exit in one line.
func (e Exit) String() string {
	var text string
	switch {
	case e.Reason == Lost:
		text = "ended unseen"
	case e.Excess != nil:
		return e.excess()
	case e.Signal != 0:
		text = fmt.Sprintf("was ended by signal %d (%s)", e.Signal, e.Signal)
	default:
		text = fmt.Sprintf("exited with code %d", e.Code)
	}
	if e.Message != "" {
		first, _, _ := strings.Cut(e.Message, "\n")
		text += ": " + first
	}
	return text
}

// excess says what was exceeded.
func (e Exit) excess() string {
	what := "memory"
	if e.Reason == Disk {
		what = "disk space"
	}
	if e.Excess.Limit == 0 {
		return "was killed for lack of " + what
	}
	return fmt.Sprintf("was killed because it used %s of %s and its limit is %s",
		humanize.IBytes(max(e.Excess.Used, e.Excess.Limit)), what, humanize.IBytes(e.Excess.Limit))
}

// ending is the end of a process, which comes once.
type ending struct {
	dir string
	// leaf is the process's cgroup; nil when it has none of its own.
	leaf *cgroup.Leaf
	// breach is set before we kill the process for what it exceeded.
	breach atomic.Pointer[breach]
	// killed is set before we kill the process.
	killed atomic.Bool
	exited chan struct{}
	exit   Exit
}

// breach is what a process was killed for.
type breach struct {
	reason Reason
	Excess
}

func newEnding(dir string, leaf *cgroup.Leaf) ending {
	return ending{dir: dir, leaf: leaf, exited: make(chan struct{})}
}

// settle ends whatever is left of the process in its cgroup, and adds to its
// exit what the cgroup knows of it.
func (e *ending) settle(exit Exit) {
	if b := e.breach.Load(); b != nil && (exit.Reason == Killed || exit.Reason == Lost) {
		exit.Reason, exit.Excess = b.reason, &b.Excess
	}
	if e.leaf != nil {
		if exit.Reason == Signaled || exit.Reason == Lost {
			exit.outOfMemory(e.leaf)
		}
		// What cannot be ended is swept by the next supervisor.
		_ = e.leaf.Kill()
	}
	e.exit = exit
	close(e.exited)
}

// outOfMemory finds out whether the kernel has killed the process for its
// memory limit.
func (e *Exit) outOfMemory(leaf *cgroup.Leaf) {
	if e.Signal != syscall.SIGKILL && e.Reason != Lost {
		return
	}
	usage, err := leaf.Usage()
	if err != nil || usage.OOMKills == 0 {
		return
	}
	e.Reason, e.Excess = OOM, &Excess{Used: usage.MemoryPeakBytes}
	if limits, err := leaf.Limits(); err == nil {
		e.Excess.Limit = uint64(limits.Memory)
	}
}

// conclude takes down how the process ended, by its wait status.
func (e *ending) conclude(status syscall.WaitStatus) {
	exit := traces(e.dir)
	exit.At = time.Now()
	if status.Signaled() {
		exit.Code, exit.Signal, exit.Reason = -1, status.Signal(), Signaled
		if exit.Signal == syscall.SIGKILL && e.killed.Load() {
			exit.Reason = Killed
		}
	} else {
		exit.Code, exit.Reason = status.ExitStatus(), Exited
	}
	e.settle(exit)
}

// concludeUnseen takes down the end of a process whose wait status nobody
// knows.
func (e *ending) concludeUnseen() {
	exit := lastExit(e.dir)
	exit.At = time.Now()
	if e.killed.Load() {
		exit.Reason, exit.Code, exit.Signal = Killed, -1, syscall.SIGKILL
	}
	e.settle(exit)
}

func (e *ending) over() bool {
	select {
	case <-e.exited:
		return true
	default:
		return false
	}
}

// traces is what a process left in its folder about its end.
func traces(dir string) Exit {
	exit := Exit{Message: lastWords(dir)}
	// A record that cannot be read is as good as none.
	if text, err := folder.Read(dir, rpc.ExitFile, rpc.MaxExitRecordBytes); err == nil {
		if record, err := rpc.DecodeExitRecord(text); err == nil {
			exit.Record = &record
		}
	}
	return exit
}

// lastExit tells the end of a process by nothing but its traces: a runner that
// recorded the end of its stream goes on to exit in peace, and the Go runtime
// ends a process that panics with code 2.
func lastExit(dir string) Exit {
	exit := traces(dir)
	switch {
	case exit.Record != nil:
		exit.Reason, exit.At = Exited, exit.Record.At
	case isPanic(exit.Message):
		exit.Reason, exit.Code = Exited, 2
		if info, err := os.Lstat(stderrPath(dir)); err == nil {
			exit.At = info.ModTime()
		}
	default:
		exit.Reason, exit.Code = Lost, -1
	}
	return exit
}

// LastExit tells the end of a runner that lives no more, by what it left in its
// folder, whose name is Identity.Dir. The reason is Lost when it left nothing,
// or the folder is gone. hierarchy is where it may have a leaf still.
func (l *Launcher) LastExit(dir string, hierarchy *cgroup.Hierarchy) Exit {
	exit := lastExit(filepath.Join(l.runDir, dir))
	if leaf, err := findLeaf(hierarchy, dir); err == nil && leaf != nil && exit.Reason == Lost {
		exit.outOfMemory(leaf)
	}
	return exit
}

// LastStderr is what such a runner wrote to its standard error, as
// Process.Stderr has it; empty when it wrote nothing or its folder is gone.
func (l *Launcher) LastStderr(dir string) ([]byte, error) {
	return readStderr(filepath.Join(l.runDir, dir))
}

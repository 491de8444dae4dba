package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"penstock/rpc"
)

// Reason says in a word how a process ended.
type Reason string

const (
	// Exited means that the process ended by itself, with Exit.Code.
	Exited Reason = "exited"
	// Signaled means that a signal ended it which we did not send.
	Signaled Reason = "signaled"
	// OOM means that the kernel killed it for lack of memory.
	OOM Reason = "oom"
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
}

// String gives the exit in one line.
func (e Exit) String() string {
	var text string
	switch {
	case e.Reason == Lost:
		text = "ended unseen"
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

// ending is the end of a process, which comes once.
type ending struct {
	dir string
	// killed is set before we kill the process.
	killed atomic.Bool
	exited chan struct{}
	exit   Exit
}

func newEnding(dir string) ending { return ending{dir: dir, exited: make(chan struct{})} }

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
	e.exit = exit
	close(e.exited)
}

// concludeUnseen takes down the end of a process whose wait status nobody
// knows.
func (e *ending) concludeUnseen() {
	exit := lastExit(e.dir)
	exit.At = time.Now()
	if e.killed.Load() {
		exit.Reason, exit.Code, exit.Signal = Killed, -1, syscall.SIGKILL
	}
	e.exit = exit
	close(e.exited)
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
	if record, ok, err := rpc.ReadExitRecord(dir); ok && err == nil {
		exit.Record = &record
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
		if info, err := os.Stat(stderrPath(dir)); err == nil {
			exit.At = info.ModTime()
		}
	default:
		exit.Reason, exit.Code = Lost, -1
	}
	return exit
}

// LastExit tells the end of a runner that lives no more, by what it left in its
// folder, whose name is Identity.Dir. The reason is Lost when it left nothing,
// or the folder is gone.
func (l *Launcher) LastExit(dir string) Exit { return lastExit(filepath.Join(l.runDir, dir)) }

// LastStderr is what such a runner wrote to its standard error, as
// Process.Stderr has it; empty when it wrote nothing or its folder is gone.
func (l *Launcher) LastStderr(dir string) ([]byte, error) {
	return readStderr(filepath.Join(l.runDir, dir))
}

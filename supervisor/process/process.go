package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/hashicorp/go-plugin"
	psnet "github.com/shirou/gopsutil/v3/net"

	"penstock/rpc"
)

// Process is a runner that was started. Its rpc.Client speaks to it.
type Process struct {
	*rpc.Client
	plugin *plugin.Client
	child  *child
	dir    string

	closeOnce sync.Once
}

// Exit says how a process ended.
type Exit struct {
	// Code is the exit code, -1 when a signal ended it.
	Code int
	// Signal is the signal that ended it, 0 when none did.
	Signal syscall.Signal
	// Message is the first line of a panic, if the process printed one.
	Message string
}

// String gives the exit in one line.
func (e Exit) String() string {
	text := fmt.Sprintf("exited with code %d", e.Code)
	if e.Signal != 0 {
		text = fmt.Sprintf("was ended by signal %d (%s)", e.Signal, e.Signal)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// PID is the process id. It is the id of the process's group and session too.
func (p *Process) PID() int { return p.child.pid() }

// Exited is closed when the process has ended and was reaped.
func (p *Process) Exited() <-chan struct{} { return p.child.exited }

// Exit says how the process ended. Valid after Exited.
func (p *Process) Exit() Exit { return p.child.exit }

// Close ends a process whose stream was stopped, and its whole group.
// It asks first, and kills when the context ends or two seconds have passed.
func (p *Process) Close(ctx context.Context) {
	undo := context.AfterFunc(ctx, p.child.kill)
	defer undo()
	p.cleanUp()
}

// Kill ends the process and its whole group at once, and waits until
// it is gone.
func (p *Process) Kill() {
	p.child.kill()
	p.cleanUp()
}

// cleanUp lets go-plugin end the process and then removes what is left of it.
func (p *Process) cleanUp() {
	p.closeOnce.Do(func() {
		p.plugin.Kill()
		if p.child.started() {
			<-p.child.exited
		}
		// What cannot be removed is cleared at the next start.
		_ = os.RemoveAll(p.dir)
	})
}

// Listens reports whether the process holds a listening socket on the port of
// the address, which is host:port.
func (p *Process) Listens(ctx context.Context, address string) bool {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return false
	}
	sockets, err := psnet.ConnectionsPidWithContext(ctx, "tcp", int32(p.PID()))
	return err == nil && slices.ContainsFunc(sockets, func(s psnet.ConnectionStat) bool {
		return s.Status == "LISTEN" && uint64(s.Laddr.Port) == port
	})
}

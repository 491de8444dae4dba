package process

import (
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	psnet "github.com/shirou/gopsutil/v3/net"
	"google.golang.org/grpc"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

// closeGrace is how long a process may take to exit when it is closed.
const closeGrace = 2 * time.Second

// Process is a runner that was started or adopted. Its rpc.Client speaks to
// it.
type Process struct {
	*rpc.Client
	// conn is the client's connection.
	conn   *grpc.ClientConn
	plugin *plugin.Client
	handle handle
	ending *ending

	protocol    int
	identity    Identity
	identityErr error

	closeOnce sync.Once
}

// PID is the process id. It is the id of the process's group and session too.
func (p *Process) PID() int { return p.handle.pid() }

// Identity is what a later supervisor needs to adopt the process. An error
// says why it cannot be adopted.
func (p *Process) Identity() (Identity, error) { return p.identity, p.identityErr }

// Protocol is the version of the contract that the process speaks.
func (p *Process) Protocol() int { return p.protocol }

// Exited is closed when the process has ended. After Release it stays open.
func (p *Process) Exited() <-chan struct{} { return p.ending.exited }

// Exit says how the process ended. Valid after Exited.
func (p *Process) Exit() Exit { return p.ending.exit }

// Stderr is the beginning of what the process wrote to its standard error, at
// most 256 KiB: the Go runtime's last words. Components print elsewhere.
// It is gone after Close and Kill.
func (p *Process) Stderr() ([]byte, error) { return readStderr(p.ending.dir) }

// Leaf is the cgroup of the process; nil when it has none of its own.
func (p *Process) Leaf() *cgroup.Leaf { return p.ending.leaf }

// Dir is the path of the process's own folder.
func (p *Process) Dir() string { return p.ending.dir }

// Breach kills the process because it has exceeded a limit, which becomes the
// reason of its exit: OOM or Disk. It does not wait.
func (p *Process) Breach(reason Reason, excess Excess) {
	p.ending.breach.CompareAndSwap(nil, &breach{reason, excess})
	p.handle.kill()
}

// Close ends a process whose stream was stopped, and its whole group.
// It asks first, and kills when the context ends or two seconds have passed.
func (p *Process) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	undo := context.AfterFunc(ctx, p.handle.kill)
	defer undo()
	p.cleanUp()
}

// Kill ends the process and its whole group at once, and waits until
// it is gone.
func (p *Process) Kill() {
	p.handle.kill()
	p.cleanUp()
}

// cleanUp lets go-plugin end the process and then removes what is left of it.
func (p *Process) cleanUp() {
	p.closeOnce.Do(func() {
		p.plugin.Kill()
		if p.handle.started() {
			<-p.ending.exited
		}
		if p.ending.leaf != nil {
			_ = p.ending.leaf.Remove()
		}
		// What cannot be removed is cleared at the next start.
		_ = os.RemoveAll(p.ending.dir)
	})
}

// Release lets go of the process and leaves it running for the next supervisor
// to adopt: connections are closed, nothing is signalled or removed, and
// nobody waits for its exit any more. Close and Kill do nothing after it.
func (p *Process) Release() {
	p.closeOnce.Do(func() {
		_ = p.conn.Close()
		p.handle.release()
	})
}

// Listening is an address of a port, other than that of the address except, on
// which the process holds a listening socket; empty when there is none.
func (p *Process) Listening(ctx context.Context, except string) string {
	_, own, _ := net.SplitHostPort(except)
	sockets, err := psnet.ConnectionsPidWithContext(ctx, "tcp", int32(p.PID()))
	if err != nil {
		return ""
	}
	for _, s := range sockets {
		if port := strconv.Itoa(int(s.Laddr.Port)); s.Status == "LISTEN" && port != own {
			return net.JoinHostPort(s.Laddr.IP, port)
		}
	}
	return ""
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

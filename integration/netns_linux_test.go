package integration

import (
	"context"
	"net"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// netns is a network namespace of a test's own, with a loopback interface: what
// rules of egress do there, they do to nobody else.
type netns struct {
	t testing.TB
	// do has the namespace's own thread call something.
	do chan func()
}

// The main goroutine keeps the main thread, so that none of another namespace
// runs on it: /proc/self tells of the main thread.
func init() { runtime.LockOSThread() }

// newNetns makes a network namespace, which goes with the test. It needs root.
func newNetns(t testing.TB) *netns {
	t.Helper()
	n := &netns{t: t, do: make(chan func())}
	made := make(chan error)
	go func() {
		// The thread is never given back: it ends with its goroutine, and takes
		// the namespace along.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = raiseLoopback()
		}
		made <- err
		for call := range n.do {
			call()
		}
	}()
	require.NoError(t, <-made, "making a network namespace")
	t.Cleanup(func() { close(n.do) })
	return n
}

// raiseLoopback brings the interface lo of the calling thread's namespace up.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifreq, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifreq.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifreq)
}

// inside calls f on a thread in the namespace: what it starts and opens belongs
// there.
func (n *netns) inside(f func()) {
	done := make(chan struct{})
	n.do <- func() { defer close(done); f() }
	<-done
}

// start starts a process in the namespace.
func (n *netns) start(cmd *exec.Cmd) (err error) {
	n.inside(func() { err = cmd.Start() })
	return err
}

// dial connects to an address in the namespace. The address is to be one of an
// interface, not a name.
func (n *netns) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	n.inside(func() {
		// Without attempts side by side, which other threads would make.
		d := net.Dialer{FallbackDelay: -1}
		conn, err = d.DialContext(ctx, network, address)
	})
	return conn, err
}

// listen listens on an address in the namespace until the test ends.
func (n *netns) listen(network, address string) net.Listener {
	n.t.Helper()
	var l net.Listener
	var err error
	n.inside(func() { l, err = net.Listen(network, address) })
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = l.Close() })
	return l
}

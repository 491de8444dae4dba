package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// netns is a network namespace with a loopback interface: the rules that a
// supervisor makes there are nobody else's.
type netns struct {
	// do has the namespace's own thread call something.
	do chan func()
}

// newNetns makes a network namespace. It needs root.
func newNetns() (*netns, error) {
	n := &netns{do: make(chan func())}
	made := make(chan error)
	go func() {
		// The thread is never given back: it ends with its goroutine.
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
	if err := <-made; err != nil {
		n.close()
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return n, nil
}

// close gives the namespace up. It goes with the last process in it.
func (n *netns) close() { close(n.do) }

// raiseLoopback brings the interface lo of the calling thread's namespace up.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// inside calls f on the thread in the namespace: what it starts and opens
// belongs there.
func (n *netns) inside(f func()) {
	done := make(chan struct{})
	n.do <- func() { defer close(done); f() }
	<-done
}

func (n *netns) start(cmd *exec.Cmd) (err error) {
	n.inside(func() { err = cmd.Start() })
	return err
}

func (n *netns) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	n.inside(func() { conn, err = host{}.dial(ctx, network, address) })
	return conn, err
}

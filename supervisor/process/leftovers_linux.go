package process

import (
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leftoverGrace is how long a runner without a supervisor may drain before it
// is killed, when the next supervisor wants its place.
const leftoverGrace = 2 * time.Second

// endLeftovers ends the runners whose sockets are below runDir. Two copies of
// a stream would take each other's input, or each other's address.
func endLeftovers(runDir string) {
	sockets, err := filepath.Glob(filepath.Join(runDir, "*", "http.sock"))
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, socket := range sockets {
		wg.Go(func() { endLeftover(socket) })
	}
	wg.Wait()
}

// endLeftover ends the process that listens on a socket, if there is one. It
// is the one that the kernel names as the connection's peer, which lives as
// long as the socket answers.
func endLeftover(socket string) {
	conn, err := net.DialTimeout("unix", socket, leftoverGrace)
	if err != nil {
		return
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return
	}
	var peer *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { peer, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || credErr != nil || peer.Pid <= 1 {
		return
	}
	pidfd, err := unix.PidfdOpen(int(peer.Pid), 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	_ = unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0)
	if !ended(pidfd, leftoverGrace) {
		_ = syscall.Kill(-int(peer.Pid), syscall.SIGKILL)
		ended(pidfd, leftoverGrace)
	}
}

// ended waits for the end of a process.
func ended(pidfd int, patience time.Duration) bool {
	deadline := time.Now().Add(patience)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 || err != nil && err != unix.EINTR {
			return n > 0
		}
	}
}

package runner

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// fromSupervisor asks the kernel who opened the connection. A supervisor
// outside of the runner's pid namespace has no process id there, so that it is
// told by its user: root, which a runner with a user of its own shares with
// nobody, or the runner's user. The stream itself, which has that user and may
// connect to sockets, is not its own supervisor.
func fromSupervisor(conn net.Conn) bool {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || peerErr != nil || int(peer.Pid) == os.Getpid() {
		return false
	}
	return peer.Uid == 0 || peer.Uid == uint32(os.Geteuid())
}

package runner

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// fromSupervisor asks the kernel who opened the connection.
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
	return err == nil && peerErr == nil && (peer.Uid == 0 || peer.Uid == uint32(os.Geteuid()))
}

package process

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf is the process that listens on the other end of a unix socket.
func peerOf(conn net.Conn) (pid int, known bool, err error) {
	peer, err := credentialsOf(conn)
	if err != nil {
		return 0, false, err
	}
	return int(peer.Pid), true, nil
}

// credentialsOf asks the kernel who listens on the other end.
func credentialsOf(conn net.Conn) (*unix.Ucred, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%s is no unix socket", conn.RemoteAddr())
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = peerErr
	}
	if err != nil {
		return nil, fmt.Errorf("asking who listens on %s: %w", conn.RemoteAddr(), err)
	}
	return peer, nil
}

package process

import (
	"context"
	"fmt"
	"io/fs"
	"net"

	"golang.org/x/sys/unix"
)

// dialSocket connects to a unix socket in a runner's folder. Should the runner
// have put a link in its place, even a connection that is closed at once would
// be somebody else's to notice: so the socket is held first, and then it is
// connected to what is held. What is no socket is as good as nothing.
func dialSocket(ctx context.Context, socket string) (net.Conn, error) {
	fd, err := unix.Open(socket, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: socket, Err: err}
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, &fs.PathError{Op: "fstat", Path: socket, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, fmt.Errorf("a runner has put something else in the place of its socket: %w", &fs.PathError{Op: "dial", Path: socket, Err: fs.ErrNotExist})
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
}

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

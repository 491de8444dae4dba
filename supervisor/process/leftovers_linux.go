package process

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// leftoverGrace is how long a runner that nobody wants may drain before it is
// killed.
const leftoverGrace = 2 * time.Second

// endLeftover ends the runner that listens on the sockets in dir, if there is
// one.
func endLeftover(dir string) {
	// One of the two may be closed already in a runner that is on its way out.
	sockets, err := filepath.Glob(filepath.Join(dir, "plugin*"))
	if err != nil {
		return
	}
	for _, socket := range append(sockets, filepath.Join(dir, "http.sock")) {
		if endListener(socket) {
			return
		}
	}
}

// endListener ends the process that listens on a socket, and reports whether
// there was one.
func endListener(socket string) bool {
	if !isOwnSocket(socket) {
		return false
	}
	peer, err := listenerOf(socket)
	if err != nil || peer.Pid <= 1 || int(peer.Pid) == os.Getpid() {
		return false
	}
	pid := int(peer.Pid)
	pidfd, err := openPidfd(pid)
	if err != nil {
		return false
	}
	defer pidfd.Close()
	stat, err := readStat(pid)
	if err != nil {
		return false
	}
	// It still listens: then the pidfd is its own, for its id was not free.
	if again, err := listenerOf(socket); err != nil || again.Pid != peer.Pid {
		return false
	}
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return false
	}
	// Control fails only on a file that is closed.
	_ = raw.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), unix.SIGTERM, nil, 0) })
	_ = awaitEnd(pidfd, time.Now().Add(leftoverGrace))
	// What it started goes with it, whether it went by itself or not.
	_ = raw.Control(func(fd uintptr) { killGroupOf(int(fd), pid, stat.startTime) })
	_ = awaitEnd(pidfd, time.Now().Add(leftoverGrace))
	return true
}

// isOwnSocket says whether a path is a socket that belongs to the user of the
// folder it is in. A runner may have put a link in its place that leads to
// another one's.
func isOwnSocket(path string) bool {
	var socket, dir unix.Stat_t
	if unix.Lstat(path, &socket) != nil || unix.Lstat(filepath.Dir(path), &dir) != nil {
		return false
	}
	return socket.Mode&unix.S_IFMT == unix.S_IFSOCK && socket.Uid == dir.Uid
}

package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// reap ends whatever the process left behind, and only then takes its exit:
// until it is reaped its group's id cannot be given to another.
func (c *child) reap() {
	awaitExit(c.cmd.Process)
	c.reaping.Lock()
	defer c.reaping.Unlock()
	c.killGroup()
	_ = c.cmd.Wait()
	c.reaped = true
	// The orphans of the group are ours to reap where we are the init process.
	for {
		_, err := unix.Wait4(-c.pid(), nil, 0, nil)
		if err != nil && err != unix.EINTR {
			return
		}
	}
}

// awaitExit returns when the process has ended, without reaping it. A pidfd
// parks on the runtime's poller, where waiting for the process itself would
// hold one thread for each runner.
func awaitExit(proc *os.Process) {
	fd, err := unix.PidfdOpen(proc.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		awaitExitBlocking(proc.Pid)
		return
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	conn, err := file.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
			return err != nil && err != unix.EINTR || info.Signo != 0
		})
	}
	if err != nil {
		awaitExitBlocking(proc.Pid)
	}
}

// awaitExitBlocking is for kernels before 5.3, which have no pidfd.
func awaitExitBlocking(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

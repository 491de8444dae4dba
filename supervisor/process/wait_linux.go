package process

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openExits opens what awaitEnd waits for; nil on kernels before 5.3, which
// have no pidfd. The caller makes sure that pid is the process it means.
func openExits(pid int) *os.File {
	pidfd, err := openPidfd(pid)
	if err != nil {
		return nil
	}
	return pidfd
}

// openPidfd opens a pidfd that parks on the runtime's poller: waiting for the
// process itself would hold one thread for each runner.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	// PIDFD_NONBLOCK would do it at once, but needs Linux 5.10.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// errStillAlive is what awaitEnd gives when its time is over.
var errStillAlive = errors.New("the process still lives")

// awaitEnd returns when the process of a pidfd has ended, whoever's child it
// is; an error says that the pidfd was closed or the deadline has passed. A
// zero deadline is none.
func awaitEnd(pidfd *os.File, deadline time.Time) error {
	if err := pidfd.SetReadDeadline(deadline); err != nil {
		return err
	}
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStillAlive
	}
	return err
}

// reap ends whatever the process left behind, and only then takes its exit:
// until it is reaped its group's id cannot be given to another. It reports
// false when the process was released instead.
func (c *child) reap() bool {
	if !c.awaitExit() {
		return false
	}
	c.reaping.Lock()
	defer c.reaping.Unlock()
	c.killGroup()
	_ = c.cmd.Wait()
	c.reaped = true
	reapGroup(c.pid())
	return true
}

// reapGroup reaps the orphans of a group, which are ours where we are the init
// process.
func reapGroup(pid int) {
	for {
		_, err := unix.Wait4(-pid, nil, 0, nil)
		if err != nil && err != unix.EINTR {
			return
		}
	}
}

// awaitExit returns when the process has ended, without reaping it, or false
// when it was released.
func (c *child) awaitExit() bool {
	if c.exits != nil {
		err := awaitEnd(c.exits, time.Time{})
		if !c.isReleased() {
			_ = c.exits.Close()
		}
		if err == nil {
			return !c.isReleased()
		}
	}
	if !c.isReleased() {
		awaitExitBlocking(c.pid())
	}
	return !c.isReleased()
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

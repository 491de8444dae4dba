package process

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/supervisor/cgroup"
)

// attached is the operating system's side of a runner that an earlier
// supervisor started.
type attached struct {
	ending
	sameHost
	letGo

	id    int
	start uint64
	pidfd *os.File
}

var _ handle = (*attached)(nil)

// attach verifies a process and watches it.
func attach(id Identity, dir string, leaf *cgroup.Leaf) (handle, *ending, error) {
	pidfd, err := verify(id, dir)
	if err != nil {
		return nil, nil, err
	}
	a := &attached{ending: newEnding(dir, leaf), letGo: newLetGo(), id: id.PID, start: id.StartTime, pidfd: pidfd}
	go a.watch()
	return a, &a.ending, nil
}

// watch waits for the end of the process and takes down how it ended.
func (a *attached) watch() {
	defer a.pidfd.Close()
	if err := awaitEnd(a.pidfd, time.Time{}); err != nil {
		// It was released.
		return
	}
	status, known := a.status()
	if known {
		a.conclude(status)
	} else {
		a.concludeUnseen()
	}
}

// status ends what the process left behind and returns its wait status, if
// anybody knows it.
func (a *attached) status() (status syscall.WaitStatus, known bool) {
	raw, err := a.pidfd.SyscallConn()
	if err != nil {
		return 0, false
	}
	// It fails only when the pidfd was closed, which is the watch's own to do.
	_ = raw.Control(func(fd uintptr) {
		killGroupOf(int(fd), a.id, a.start)
		status, known = waitStatus(int(fd), a.id, a.start)
	})
	return status, known
}

func (a *attached) pid() int { return a.id }

func (a *attached) started() bool { return true }

func (a *attached) kill() {
	if a.over() {
		return
	}
	raw, err := a.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		a.killed.Store(true)
		killGroupOf(int(fd), a.id, a.start)
	})
}

func (a *attached) release() {
	a.letGo.release()
	_ = a.pidfd.Close()
}

// ID implements runner.AttachedRunner.
func (a *attached) ID() string { return strconv.Itoa(a.id) }

// Wait implements runner.AttachedRunner.
func (a *attached) Wait(ctx context.Context) error { return a.wait(ctx, a.exited) }

// Kill implements runner.AttachedRunner.
func (a *attached) Kill(ctx context.Context) error {
	a.kill()
	return a.Wait(ctx)
}

// waitStatus is how a process has ended that its pidfd says is over. Our own
// child is reaped. Of another's the kernel tells once it is reaped (Linux
// 6.15), and /proc does until then.
func waitStatus(pidfd, pid int, start uint64) (syscall.WaitStatus, bool) {
	var child unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, pidfd, &child, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err == nil {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		reapGroup(pid)
		return syscall.WaitStatus(status), err == nil
	}
	if status, ok := pidfdStatus(pidfd); ok {
		return status, true
	}
	if stat, err := readStat(pid); err == nil && stat.startTime == start && stat.dead() {
		return syscall.WaitStatus(stat.exitCode), true
	}
	// It was reaped just now.
	return pidfdStatus(pidfd)
}

func pidfdStatus(pidfd int) (syscall.WaitStatus, bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	err := unix.IoctlPidfdInfo(pidfd, &info)
	return syscall.WaitStatus(info.Exit_code), err == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0
}

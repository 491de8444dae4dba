package process

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// killGroupOf kills the group and session that the process of a pidfd leads,
// or led: the kernel finds the group by the pidfd and not by a number that
// could be another's by now (Linux 6.9). Older kernels have each member found
// and killed by a pidfd of its own.
func killGroupOf(pidfd, pid int, start uint64) {
	err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if !errors.Is(err, unix.EINVAL) {
		return
	}
	_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	killMembers(pid, start)
}

// killMembers kills whoever is in the session that the process with this id and
// start time leads or led. The id of a session is nobody else's while it has
// a member. If another process has the id, the session has none left.
func killMembers(session int, start uint64) {
	if leader, err := readStat(session); err == nil && leader.startTime != start {
		return
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			killMember(pid, session, start)
		}
	}
}

// killMember kills a process if it belongs to the session and is no older than
// its leader.
func killMember(pid, session int, start uint64) {
	if stat, err := readStat(pid); err != nil || stat.session != session {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if stat, err := readStat(pid); err == nil && stat.session == session && stat.startTime >= start {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

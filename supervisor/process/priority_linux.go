package process

import (
	"os"

	"golang.org/x/sys/unix"
)

// nicest is the lowest priority that there is.
const nicest = 19

// giveWay gives a process group the lowest priority, unless it could not be
// given its own back. It is of use where a processor has no cgroups; nothing
// depends on it.
func giveWay(pid int) {
	if os.Geteuid() == 0 {
		_ = unix.Setpriority(unix.PRIO_PGRP, pid, nicest)
	}
}

// comeBack gives the group of a process the priority that this one has, all its
// threads.
func comeBack(pid int) error {
	// The system call answers in numbers above zero: 20 less the priority.
	ours, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	theirs, err := unix.Getpriority(unix.PRIO_PGRP, pid)
	if err != nil || theirs == ours {
		return err
	}
	return unix.Setpriority(unix.PRIO_PGRP, pid, 20-ours)
}

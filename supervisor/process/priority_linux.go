package process

import "golang.org/x/sys/unix"

// nicest is the lowest priority that there is.
const nicest = 19

// giveWay gives a process group the lowest priority, unless it could not be
// given its own back. It is of use where a processor has no cgroups; nothing
// depends on it.
func giveWay(pid int) {
	if mayRaise() {
		_ = unix.Setpriority(unix.PRIO_PGRP, pid, nicest)
	}
}

// mayRaise says whether this process may give another a higher priority.
func mayRaise() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	err := unix.Capget(&head, &held[0])
	return err == nil && held[0].Effective&(1<<unix.CAP_SYS_NICE) != 0
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

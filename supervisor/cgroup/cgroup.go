package cgroup

import "errors"

// Sentinel errors of this package. The wrapped text says what was wrong,
// where, and what to do about it.
var (
	// ErrUnavailable means that this process can write no cgroup at all.
	ErrUnavailable = errors.New("cgroups are not available")
	// ErrUnenforceable means that one limit cannot be enforced here: its
	// controller is missing, or there is no disk to limit.
	ErrUnenforceable = errors.New("limit cannot be enforced")
	// ErrBusy means that a memory limit is below what is in use and the
	// kernel could not free enough.
	ErrBusy = errors.New("more is in use than the new limit allows")
)

// Limits are what the processes of one leaf may use together. A zero field is
// not limited, except Swap, which is none unless it is given.
type Limits struct {
	// Memory is in bytes. The kernel counts in pages.
	Memory int64
	// Swap is in bytes, beyond Memory, and needs Memory.
	Swap int64
	// CPU is in cores, 0.01 to 1024: 0.5 is half of one core's time.
	CPU float64
	// CPUWeight is the share beside others when CPU time is short, 1 to 10000;
	// the kernel's default is 100.
	CPUWeight int
	// PIDs counts processes and threads.
	PIDs int
	// IO is per disk, for each of the disks that hold Config.Paths.
	IO IO
}

// IO limits what is read from and written to a disk, in bytes per second and
// in operations per second, 2 and more. Zero is not limited.
//
// Version 1 holds back reads, direct writes and those that are waited for
// (fsync). What is written to the page cache and left there, it writes to the
// disk in the kernel's own name, without a limit; version 2 limits that too.
type IO struct {
	ReadBPS, WriteBPS   int64
	ReadIOPS, WriteIOPS int
}

// Config says where a Hierarchy is.
type Config struct {
	// Parent is the cgroup below which everything is made, as a path from the
	// root of the mounted hierarchy. Empty means that it is detected.
	Parent string
	// Name names this supervisor's subtree below the parent.
	Name string
	// Paths are files or folders: IO limits are for the disks that hold them.
	Paths []string
}

// Usage is what the processes of a leaf have used since it was made.
type Usage struct {
	// MemoryPeakBytes is 0 where the kernel does not keep it (version 2 before
	// Linux 5.19).
	MemoryBytes, MemoryPeakBytes uint64
	// OOMKills counts the processes that the kernel killed because the leaf
	// was at its memory limit.
	OOMKills uint64
	// CPUSeconds is time spent on all cores together. ThrottledSeconds is how
	// long runnable processes were held back by the CPU limit.
	CPUSeconds, ThrottledSeconds float64
	// Periods counts the periods of the CPU limit in which something ran, and
	// ThrottledPeriods those in which it was held back.
	Periods, ThrottledPeriods uint64
	// PIDs counts processes and threads now, PIDsRefused the forks that the
	// limit refused.
	PIDs, PIDsRefused uint64
	// Of all disks together.
	IOReadBytes, IOWriteBytes, IOReads, IOWrites uint64
	// IOWaitSeconds is how long at least one process waited for a disk, be it
	// for a limit or for the disk itself. It is 0 where the kernel does not tell,
	// as without Pressure.
	IOWaitSeconds float64
	// Pressure is nil where the kernel has none for cgroups: on version 1
	// without version 2 beside it.
	Pressure *Pressure
}

// Pressure is the kernel's pressure stall information of a leaf.
type Pressure struct{ CPU, Memory, IO PressureLine }

// PressureLine is the share of time in percent, averaged over 10 and 60
// seconds, in which some or all of the processes waited, and the sum of that
// time in microseconds.
type PressureLine struct {
	SomeAvg10, SomeAvg60, FullAvg10, FullAvg60 float64
	SomeTotal, FullTotal                       uint64
}

//go:build amd64 || arm64

package sandbox

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filtered tells whether there is a list of system calls for this processor.
const filtered = true

// Offsets of what a filter can see: struct seccomp_data. Only the lower half of
// an argument is looked at: the kernel does not look at more of those that are
// judged here. All supported processors are little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

const allow = uint32(unix.SECCOMP_RET_ALLOW)

// refuse makes a system call fail.
func refuse(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// denied are the system calls that fail with EPERM: no stream has a use for
// them, and each is a way out, or has often been one. The kernel's own checks
// would refuse most of them; what counts is that its code is not reached.
var denied = append([]uint32{
	// other processes
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE,
	unix.SYS_PROCESS_MRELEASE, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_PERF_EVENT_OPEN,
	// mounts and namespaces
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE,
	unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT,
	unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT, unix.SYS_UNSHARE,
	unix.SYS_SETNS, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_FANOTIFY_INIT,
	unix.SYS_FANOTIFY_MARK, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	// large parts of the kernel behind one door
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_BPF, unix.SYS_IO_URING_SETUP,
	unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_USERFAULTFD, unix.SYS_MEMFD_SECRET,
	// the machine
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD,
	unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_SYSLOG, unix.SYS_VHANGUP, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_MOVE_PAGES,
	unix.SYS_MIGRATE_PAGES, unix.SYS_MBIND, unix.SYS_SET_MEMPOLICY, unix.SYS_SET_MEMPOLICY_HOME_NODE,
	unix.SYS_NFSSERVCTL, unix.SYS_LOOKUP_DCOOKIE,
}, deniedHere...)

// newNamespace are the flags of clone that make a namespace.
const newNamespace = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// filterCalls makes the kernel judge all further system calls of the process. It
// needs no_new_privs.
func filterCalls(strict bool, program int) error {
	return install(filter(strict, program))
}

// install applies a filter to all threads.
func install(code []bpf.Instruction) error {
	raw, err := bpf.Assemble(code)
	if err != nil {
		return fail("filter system calls", err, "this is a fault in penstock: report it")
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	thread, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fail("filter system calls", errno, "the kernel needs CONFIG_SECCOMP_FILTER, and an outer sandbox must not forbid seccomp")
	}
	if thread != 0 {
		return fail("filter system calls", fmt.Errorf("thread %d could not be included", thread), "this is a fault in penstock: report it")
	}
	return nil
}

// filter is the program that judges every system call. What depends on the
// number alone and is allowed, the kernel remembers and does not ask again; so
// its length matters to few calls.
func filter(strict bool, program int) []bpf.Instruction {
	code := []bpf.Instruction{
		// The same number means another system call to another processor mode:
		// on amd64, what a 32-bit program uses.
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nativeArch, SkipTrue: 1},
		bpf.RetConstant{Val: kill},
		loadNumber,
	}
	if foreignBit != 0 {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: foreignBit, SkipFalse: 1}, bpf.RetConstant{Val: kill})
	}
	code = append(code, on(unix.SYS_SOCKET, socketRule(!strict))...)
	code = append(code, on(unix.SYS_SOCKETPAIR, socketRule(false))...)
	code = append(code, on(unix.SYS_CLONE, unlessBits(0, newNamespace, unix.EPERM))...)
	// Its arguments are behind a pointer. Who uses it can do without.
	code = append(code, when(unix.SYS_CLONE3, refuse(unix.ENOSYS))...)
	code = append(code, on(unix.SYS_IOCTL, slices.Concat(
		// Both put characters into a terminal's input, as if they were typed.
		load(1), when(unix.TIOCSTI, refuse(unix.EPERM)), when(unix.TIOCLINUX, refuse(unix.EPERM)), always(allow)))...)
	code = append(code, on(unix.SYS_PERSONALITY, slices.Concat(
		load(0), when(0, allow), when(^uint32(0), allow), always(refuse(unix.EPERM))))...)
	if strict {
		code = append(code, strictRules(program)...)
	}
	for _, number := range denied {
		code = append(code, when(number, refuse(unix.EPERM))...)
	}
	return append(code, bpf.RetConstant{Val: allow})
}

// strictRules are those of strict alone. program is the file descriptor that
// may be executed, or anyProgram.
func strictRules(program int) []bpf.Instruction {
	// A file in memory has no path that Landlock could judge.
	code := when(unix.SYS_MEMFD_CREATE, refuse(unix.EPERM))
	// TCP Fast Open connects without a connect that Landlock could judge.
	code = append(code, on(unix.SYS_SENDTO, unlessBits(3, unix.MSG_FASTOPEN, unix.EOPNOTSUPP))...)
	code = append(code, on(unix.SYS_SENDMSG, unlessBits(2, unix.MSG_FASTOPEN, unix.EOPNOTSUPP))...)
	code = append(code, on(unix.SYS_SENDMMSG, unlessBits(3, unix.MSG_FASTOPEN, unix.EOPNOTSUPP))...)
	if program == anyProgram {
		return code
	}
	code = append(code, when(unix.SYS_EXECVE, refuse(unix.EPERM))...)
	return append(code, on(unix.SYS_EXECVEAT, slices.Concat(
		load(0),
		[]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(program), SkipTrue: 1}},
		always(refuse(unix.EPERM)),
		load(4), when(unix.AT_EMPTY_PATH, allow), always(refuse(unix.EPERM)),
	))...)
}

// socketRule allows unix sockets, TCP and UDP; with route also the questions
// about interfaces and addresses that go over netlink. MPTCP, SCTP and SMC
// would be ways around the rules of Landlock, which are for TCP.
func socketRule(route bool) []bpf.Instruction {
	code := slices.Concat(load(0), when(unix.AF_UNIX, allow))
	if route {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_NETLINK, SkipTrue: 4})
		code = append(code, slices.Concat(
			load(2), when(unix.NETLINK_ROUTE, allow), always(refuse(unix.EPROTONOSUPPORT)))...)
	}
	code = append(code,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 1},
		bpf.RetConstant{Val: refuse(unix.EAFNOSUPPORT)})
	code = append(code, load(1)...)
	code = append(code,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: socketTypeMask},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_DGRAM, SkipTrue: 1},
		bpf.RetConstant{Val: refuse(unix.EPERM)})
	return append(code, slices.Concat(
		load(2), when(0, allow), when(unix.IPPROTO_TCP, allow), when(unix.IPPROTO_UDP, allow),
		// What a kernel without it answers, so that programs use TCP instead.
		always(refuse(unix.EPROTONOSUPPORT)))...)
}

// socketTypeMask leaves out the flags that are given along with a type.
const socketTypeMask = 0xf

// loadNumber loads the number of the system call.
var loadNumber = bpf.LoadAbsolute{Off: offsetNumber, Size: 4}

// load loads an argument of the system call.
func load(argument uint32) []bpf.Instruction {
	return []bpf.Instruction{bpf.LoadAbsolute{Off: offsetArgs + 8*argument, Size: 4}}
}

// when ends with result if what was loaded is value.
func when(value, result uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: 1},
		bpf.RetConstant{Val: result},
	}
}

func always(result uint32) []bpf.Instruction {
	return []bpf.Instruction{bpf.RetConstant{Val: result}}
}

// unlessBits allows a call unless an argument has one of the bits.
func unlessBits(argument, bits uint32, errno unix.Errno) []bpf.Instruction {
	return slices.Concat(load(argument),
		[]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: bits, SkipFalse: 1}},
		always(refuse(errno)), always(allow))
}

// on judges the system call with this number by body, which always returns.
func on(number uint32, body []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: uint8(len(body))}}, body...)
}

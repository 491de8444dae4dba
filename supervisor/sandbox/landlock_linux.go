package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// minLandlock is the first ABI with rules for TCP ports, abstract unix sockets
// and signals. It came with Linux 6.12.
const minLandlock = 6

// What may be done below a file or folder. To execute is in none of them.
const (
	accessRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	accessWrite = accessRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
)

// accessAll is everything that Landlock can rule about files. What is not in a
// grant is refused.
const accessAll = accessWrite | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR |
	unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

// onFile leaves the rights that there are on a file, unless it is a folder.
func onFile(access uint64, dir bool) uint64 {
	if dir {
		return access
	}
	return access & (unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_IOCTL_DEV | unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX)
}

// landlockABI asks the kernel. 0 is none.
func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// restrict applies Landlock to the calling thread and what it executes. It
// needs no_new_privs.
func restrict(strict *Strict, grants []grant) error {
	const step = "apply Landlock"
	abi := landlockABI()
	if abi < minLandlock {
		return fail(step, fmt.Errorf("the kernel has ABI %d, and %d is the least", abi, minLandlock), landlockMend)
	}
	rules := unix.LandlockRulesetAttr{
		Handled_access_fs:  accessAll,
		Handled_access_net: unix.LANDLOCK_ACCESS_NET_BIND_TCP,
		Scoped:             unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL,
	}
	if abi < 9 {
		rules.Handled_access_fs &^= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	if strict.ConnectPorts != nil {
		rules.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return fail(step, errno, landlockMend)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)
	for _, g := range grants {
		// Those that the kernel has no rule for are not refused either.
		allowed := unix.LandlockPathBeneathAttr{
			Allowed_access: g.access & rules.Handled_access_fs,
			Parent_fd:      int32(g.fd),
		}
		if err := addRule(ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, unsafe.Pointer(&allowed)); err != nil {
			return fail(step, fmt.Errorf("granting %s: %w", g.path, err), landlockMend)
		}
	}
	if err := allowPorts(ruleset, strict.BindPorts, unix.LANDLOCK_ACCESS_NET_BIND_TCP); err != nil {
		return fail(step, err, landlockMend)
	}
	if err := allowPorts(ruleset, strict.ConnectPorts, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP); err != nil {
		return fail(step, err, landlockMend)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fail(step, errno, landlockMend)
	}
	return nil
}

const landlockMend = "strict needs Linux 6.12 or newer with landlock among its security modules (lsm=), and no outer sandbox that forbids it"

// rulePort is LANDLOCK_RULE_NET_PORT, and portRule its struct
// landlock_net_port_attr.
const rulePort = 2

type portRule struct{ access, port uint64 }

// allowPorts adds a rule for each port: Landlock has none for ranges.
func allowPorts(ruleset int, ranges []PortRange, access uint64) error {
	for _, ports := range ranges {
		for port := uint64(ports.First); port <= uint64(ports.Last); port++ {
			rule := portRule{access, port}
			if err := addRule(ruleset, rulePort, unsafe.Pointer(&rule)); err != nil {
				return fmt.Errorf("allowing port %d: %w", port, err)
			}
		}
	}
	return nil
}

func addRule(ruleset int, kind uintptr, rule unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), kind, uintptr(rule), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

package runner

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/rpc"
)

// canAssume says that a supervisor may start this runner ahead.
const canAssume = true

// noRoot are the flags of PR_SET_SECUREBITS (linux/securebits.h) that take from
// root's user id what is special about it, locked.
const noRoot = 1<<0 | 1<<1

// changeUser are the capabilities that a runner keeps which is nobody's yet, and
// with CAP_SETPCAP all that it was started with.
const changeUser = 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID

// giveUpRoot has a runner that was started for nobody yet give up, in all its
// threads, what it was started with and need not have any more: the bounding set,
// the special meaning of root, and the capability by which it does this. A runner
// that was started for its stream has none of them either. Any other is left as it
// is.
func giveUpRoot() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	if held != [2]unix.CapUserData{{Effective: changeUser | 1<<unix.CAP_SETPCAP, Permitted: changeUser | 1<<unix.CAP_SETPCAP}} {
		return nil
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("reading the securebits: %w", err)
	}
	for _, call := range [][2]uintptr{
		{unix.PR_SET_SECUREBITS, uintptr(bits) | noRoot},
		{unix.PR_CAPBSET_DROP, unix.CAP_SETGID}, {unix.PR_CAPBSET_DROP, unix.CAP_SETUID}, {unix.PR_CAPBSET_DROP, unix.CAP_SETPCAP},
	} {
		_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, call[0], call[1], 0, 0, 0, 0)
		if errno == unix.ENOTSUP {
			// Go does not do this in a program with C in it. The change of user
			// takes the capabilities, and no_new_privs their use of the rest.
			return nil
		}
		if errno != 0 {
			return fmt.Errorf("giving up what is root's: prctl %d: %w", call[0], errno)
		}
	}
	keep := [2]unix.CapUserData{{Effective: changeUser, Permitted: changeUser}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&keep[0])), 0)
	if errno != 0 {
		return fmt.Errorf("giving up CAP_SETPCAP: %w", errno)
	}
	return nil
}

// become changes the user and group of all threads, for good: from root's, the
// kernel takes all capabilities along.
func become(user rpc.User) error {
	if err := syscall.Setresgid(int(user.GID), int(user.GID), int(user.GID)); err != nil {
		return fmt.Errorf("becoming group %d: %w", user.GID, err)
	}
	if err := syscall.Setresuid(int(user.UID), int(user.UID), int(user.UID)); err != nil {
		return fmt.Errorf("becoming user %d: %w", user.UID, err)
	}
	// After a change of user the kernel gives /proc/self to root. A program that
	// was executed as this user has its own.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("taking /proc/self back: %w", err)
	}
	return listenAnew()
}

// listenAnew has the kernel tell callers of the user that the process has become:
// who listens on a socket is who called listen last.
func listenAnew() error {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("looking for the sockets: %w", err)
	}
	for _, file := range files {
		fd, err := strconv.Atoi(file.Name())
		if err != nil {
			continue
		}
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			continue // It is none that listens.
		}
		if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
			return fmt.Errorf("listening anew: %w", err)
		}
	}
	return nil
}

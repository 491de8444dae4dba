package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// securebits are the flags of PR_SET_SECUREBITS (linux/securebits.h) that take
// from root's user id what is special about it, for good: an execve as root
// gives no capabilities back.
const securebits = 1<<0 | 1<<1 | // NOROOT, locked
	1<<3 | // NO_SETUID_FIXUP locked as off: a change of user drops capabilities
	1<<5 | // KEEP_CAPS locked as off, for the same reason
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE, locked

// noRoot are those of the securebits that would take the capabilities from
// a program for nobody yet when it is executed.
const noRoot = 1<<0 | 1<<1

// changeUser are the capabilities of a program for nobody yet: to become another
// user, and to clear the bounding set before. By the first it loses them all: no
// user but root keeps any.
var changeUser = []uint{unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP}

// dropPrivileges takes every capability from the calling thread, and the way
// back to them; with a Strict, its user and groups too. A program for nobody yet
// keeps those that it needs to become somebody. Only this thread is
// changed, and only this thread goes on to execute the program.
func dropPrivileges(strict *Strict) error {
	privileged, err := has(unix.CAP_SETPCAP)
	if err != nil {
		return fail("read the capabilities", err, "this kernel must support them")
	}
	if strict != nil && !privileged {
		return fail("clear the bounding set", unix.EPERM, "strict needs CAP_SETPCAP: run penstock as root")
	}
	// Who may not change the bounding set could not use it either: no_new_privs
	// keeps an execve from granting anything.
	bits, kept := uintptr(securebits), []uint(nil)
	if strict != nil && len(strict.Vacant) > 0 {
		bits, kept = securebits&^noRoot, changeUser
	}
	if privileged {
		if err := unix.Prctl(unix.PR_SET_SECUREBITS, bits, 0, 0, 0); err != nil {
			return fail("set the securebits", err, "an outer sandbox must not have locked them otherwise")
		}
		if err := clearBounding(kept); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fail("clear the ambient capabilities", err, "this needs Linux 4.3")
	}
	if strict != nil {
		if err := become(strict.UID, strict.GID); err != nil {
			return err
		}
	}
	var left [2]unix.CapUserData
	for _, capability := range kept {
		left[capability/32].Permitted |= 1 << (capability % 32)
		left[capability/32].Effective |= 1 << (capability % 32)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &left[0]); err != nil {
		return fail("drop the capabilities", err, "an outer sandbox must not forbid capset")
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("set no_new_privs", err, "this needs Linux 3.5")
	}
	return nil
}

// has tells whether a capability is in effect.
func has(capability uint) (bool, error) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, err
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0, nil
}

// clearBounding drops all capabilities that this kernel knows but those kept.
func clearBounding(kept []uint) error {
	for capability := uintptr(0); ; capability++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // past the last one
		}
		if err == nil && held != 0 && !slices.Contains(kept, uint(capability)) {
			err = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		}
		if err != nil {
			return fail("drop capability "+strconv.Itoa(int(capability))+" from the bounding set", err, "run penstock as root")
		}
	}
}

// become changes user and groups for good, of this thread alone: the functions
// of package syscall would change all of them, one after the other.
func become(uid, gid uint32) error {
	// A session keyring of its own: the inherited one is root's.
	if _, _, errno := unix.RawSyscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0); errno != 0 && errno != unix.ENOSYS {
		return fail("start a session keyring", errno, "the limit of keys may be reached: see /proc/key-users")
	}
	var empty uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, uintptr(unsafe.Pointer(&empty)), 0); errno != 0 {
		return fail("leave all groups", errno, "strict needs CAP_SETGID: run penstock as root")
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return fail(fmt.Sprintf("become group %d", gid), errno, "strict needs CAP_SETGID, and a gid that this user namespace maps")
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return fail(fmt.Sprintf("become user %d", uid), errno, "strict needs CAP_SETUID, and a uid that this user namespace maps")
	}
	return nil
}

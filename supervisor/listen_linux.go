package supervisor

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// becomeOwner has what the calling goroutine makes from now on be that user's.
// Its thread ends with it, and nobody else's is changed.
func becomeOwner(uid uint32) error {
	runtime.LockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0); errno != 0 {
		return errno
	}
	// It tells nothing of a failure: who is there now has to be asked.
	if now, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0); uint32(now) != uid {
		return fmt.Errorf("the server may not make sockets of user %d", uid)
	}
	return nil
}

package store

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func init() { children["failing disk"] = childFailingDisk }

// A disk that fails is the kernel's answer to the library's system calls, here
// by a seccomp filter in a process of its own.
func TestAFailingDisk(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]struct {
		call, errno string
		want        string // "full": ErrFull and it works on; "lasting": ErrUnwritable from then on
		mayHold     bool   // whether what was refused may hold nevertheless, as a whole
	}{
		"sync: I/O error":          {"fdatasync", "EIO", "lasting", false},
		"sync: no space":           {"fdatasync", "ENOSPC", "full", false},
		"write: I/O error":         {"pwrite", "EIO", "lasting", false},
		"write: no space":          {"pwrite", "ENOSPC", "full", false},
		"write: quota":             {"pwrite", "EDQUOT", "full", false},
		"write: read-only":         {"pwrite", "EROFS", "lasting", false},
		"header: I/O error":        {"header", "EIO", "lasting", false},
		"header: no space":         {"header", "ENOSPC", "full", false},
		"header's sync: I/O error": {"second fdatasync", "EIO", "lasting", true},
		"header's sync: no space":  {"second fdatasync", "ENOSPC", "lasting", true},
		"growing: no space":        {"ftruncate", "ENOSPC", "full", false},
		"growing: I/O error":       {"ftruncate", "EIO", "lasting", false},
		"growing: too large":       {"ftruncate", "EFBIG", "full", false},
		"growing's sync":           {"fsync", "EIO", "lasting", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := memoryPath(t)
			s, err := Open(path)
			require.NoError(t, err)
			fill(t, s, 3, 1, "x")
			require.NoError(t, s.Close())
			runChild(t, "failing disk", path, "CALL="+part.call, "ERRNO="+part.errno, "WANT="+part.want)
			s = mustOpen(t, path)
			state := load(t, s)
			assert.Contains(t, state.Streams, "before")
			_, holds := state.Streams["refused"]
			_, holdsToo := state.Runners["refused"]
			assert.Equal(t, holds, holdsToo)
			assert.Equal(t, part.mayHold, holds)
			assert.NotContains(t, state.Streams, "refused later")
			assert.True(t, librarySaysSound(s))
			update(t, s, func(tx *Tx) error { return tx.PutStream(stream("after", 1, "x")) })
		})
	}
}

func childFailingDisk() error {
	s, err := Open(os.Getenv("STATE"))
	if err != nil {
		return err
	}
	if err := s.Update(func(tx *Tx) error { return tx.PutStream(stream("before", 1, "x")) }); err != nil {
		return err
	}
	before, err := s.Load()
	if err != nil {
		return err
	}
	errno := map[string]unix.Errno{"EIO": unix.EIO, "ENOSPC": unix.ENOSPC, "EDQUOT": unix.EDQUOT, "EROFS": unix.EROFS, "EFBIG": unix.EFBIG}[os.Getenv("ERRNO")]
	call := os.Getenv("CALL")
	if err := failCalls(call, errno); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	lasting := os.Getenv("WANT") == "lasting"
	want := ErrFull
	if lasting {
		want = ErrUnwritable
	}
	for _, id := range []string{"refused", "refused later", "refused later"} {
		large := stream(id, 1, strings.Repeat("x", 500_000))
		err := s.Update(func(tx *Tx) error { return errors.Join(tx.PutStream(large), tx.PutRunner(id, runner(1))) })
		if !errors.Is(err, want) || strings.Contains(err.Error(), "restart Penstock") != lasting {
			return fmt.Errorf("%s: want \"%w\", got: %w", id, want, err)
		}
	}
	after, err := s.Load()
	if err != nil || call != "second fdatasync" && !assert.ObjectsAreEqual(before, after) {
		return fmt.Errorf("%d streams, before %d: %w", len(after.Streams), len(before.Streams), err)
	}
	return s.Close()
}

// failCalls makes the kernel refuse a system call, in all threads and for good.
func failCalls(name string, errno unix.Errno) error {
	verdict, flags := uint32(unix.SECCOMP_RET_ERRNO)|uint32(errno), uintptr(unix.SECCOMP_FILTER_FLAG_TSYNC)
	if name == "second fdatasync" {
		verdict = unix.SECCOMP_RET_USER_NOTIF
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	}
	const numberAt, offsetAt = 0, 16 + 3*8 // in struct seccomp_data: the call, its fourth argument
	condition := bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: 0, SkipFalse: 1}
	if name == "header" {
		condition = bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 2 * pageSize, SkipFalse: 1}
	}
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: numberAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: map[string]uint32{
			"fdatasync": unix.SYS_FDATASYNC, "second fdatasync": unix.SYS_FDATASYNC, "fsync": unix.SYS_FSYNC,
			"ftruncate": unix.SYS_FTRUNCATE, "pwrite": unix.SYS_PWRITE64, "header": unix.SYS_PWRITE64,
		}[name], SkipFalse: 3},
		bpf.LoadAbsolute{Off: offsetAt, Size: 4},
		condition,
		bpf.RetConstant{Val: verdict},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return err
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	listener, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if failed != 0 {
		return failed
	}
	if name == "second fdatasync" {
		go failEverySecond(listener, errno)
	}
	return nil
}

// failEverySecond answers the calls that the kernel asks about: one may go on,
// the next fails after it was carried out as far as anybody can see.
func failEverySecond(listener uintptr, errno unix.Errno) {
	type notification struct {
		id         uint64
		pid, flags uint32
		data       [64]byte
	}
	type response struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
	for call := 1; ; call++ {
		var asked notification
		if _, _, failed := unix.Syscall(unix.SYS_IOCTL, listener, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); failed != 0 {
			return
		}
		answer := response{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if call%2 == 0 {
			answer = response{id: asked.id, errno: -int32(errno)}
		}
		if _, _, failed := unix.Syscall(unix.SYS_IOCTL, listener, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer))); failed != 0 {
			return
		}
	}
}

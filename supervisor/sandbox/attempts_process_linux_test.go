package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// processAttempts are about programs, other processes and privileges.
var processAttempts = []attempt{
	{"signal the supervisor", func(w world) error { return unix.Kill(w.Supervisor, 0) }, "ok", "ok", "ESRCH"},
	{"signal a sibling", func(w world) error { return unix.Kill(w.Sibling, 0) }, "ok", "EPERM", "ESRCH"},
	{"open a pidfd of a sibling", func(w world) error {
		fd, err := unix.PidfdOpen(w.Sibling, 0)
		return errors.Join(err, unix.Close(fd))
	}, "ok", "ok", "ESRCH"},
	{"change a sibling's limits", func(w world) error {
		return unix.Prlimit(w.Sibling, unix.RLIMIT_CORE, nil, &unix.Rlimit{})
	}, "-", "EPERM", "ESRCH"},
	{"execute /bin/true", func(world) error { return start("/bin/true") }, "ok", "ok", "EPERM"},
	{"execute a program in its own folder", func(w world) error { return start(filepath.Join(w.Own, "program")) }, "ok", "ok", "EPERM"},
	{"execute a program in /tmp", func(w world) error { return drop(w, "/tmp/penstock-program") }, "ok", "ok", "EPERM"},
	{"execute itself", func(world) error { return start("/proc/self/exe") }, "-", "-", "EPERM"},
	{"execute a file in memory", func(w world) error {
		text, err := os.ReadFile(filepath.Join(w.Own, "program"))
		if err != nil {
			return err
		}
		fd, err := unix.MemfdCreate("program", 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, text); err != nil {
			return err
		}
		return startFile(fd)
	}, "ok", "ok", "EPERM"},
	{"execute a file descriptor", func(w world) error {
		f, err := dropped(w)
		if err != nil {
			return err
		}
		defer f.Close()
		return call(unix.SYS_EXECVEAT, f.Fd(), pointer(""), 0, 0, unix.AT_EMPTY_PATH)
	}, "-", "-", "EPERM"},
	{"execute the number that was the program's", func(w world) error {
		return call(unix.SYS_EXECVEAT, uintptr(w.SealedProgram), pointer(""), 0, 0, unix.AT_EMPTY_PATH)
	}, "-", "-", "EBADF"},
	{"execute that number by a path", func(w world) error {
		return call(unix.SYS_EXECVEAT, uintptr(w.SealedProgram), pointer(filepath.Join(w.Own, "program")), 0, 0, 0)
	}, "-", "-", "EPERM"},
	{"take that number", func(w world) error {
		f, err := dropped(w)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Dup3(int(f.Fd()), w.SealedProgram, unix.O_CLOEXEC)
	}, "-", "-", "EBADF"},
	{"map a dropped program as code", func(w world) error {
		f, err := dropped(w)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
		return err
	}, "ok", "ok", "EPERM"},
	{"open more files than allowed", func(world) error {
		var files []*os.File
		defer func() {
			for _, f := range files {
				_ = f.Close()
			}
		}()
		for range 200 {
			f, err := os.Open("/dev/null")
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		return nil
	}, "EMFILE", "EMFILE", "EMFILE"},
	{"write more than a file may hold", func(w world) error {
		path := filepath.Join(w.Own, "large")
		if os.Getuid() == 0 {
			path = w.Canary + ".large"
		}
		return errors.Join(os.WriteFile(path, make([]byte, 3<<20), 0o600), os.Remove(path))
	}, "EFBIG", "EFBIG", "EFBIG"},
	{"raise its limit of open files", func(world) error {
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 16, Max: 1 << 16})
	}, "-", "EPERM", "EPERM"},
	{"become root", func(world) error { return call(unix.SYS_SETRESUID, 0, 0, 0) }, "ok", "ok", "EPERM"},
	{"become a neighbour", func(world) error { return call(unix.SYS_SETRESUID, neighbour, neighbour, neighbour) }, "-", "EPERM", "EPERM"},
	{"join root's group", func(world) error { return call(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(new(uint32)))) }, "ok", "EPERM", "EPERM"},
	{"regain a capability", func(world) error {
		data := [2]unix.CapUserData{{Permitted: 1 << unix.CAP_SYS_ADMIN, Effective: 1 << unix.CAP_SYS_ADMIN}}
		return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
	}, "-", "EPERM", "EPERM"},
	{"raise an ambient capability", func(world) error {
		return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN, 0, 0)
	}, "-", "EPERM", "EPERM"},
	{"unlock the securebits", func(world) error { return unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0) }, "ok", "EPERM", "EPERM"},
	{"allow itself new privileges", func(world) error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) }, "EINVAL", "EINVAL", "EINVAL"},
	{"make a user namespace by clone", func(world) error {
		return call(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_FILES, 0, 0, 0, 0)
	}, "-", "EPERM", "EPERM"},
	{"make a process by clone3", func(world) error { return call(unix.SYS_CLONE3, 0, 0) }, "EINVAL", "ENOSYS", "ENOSYS"},
	{"change its personality", func(world) error { return call(unix.SYS_PERSONALITY, 0x0020000) }, "ok", "EPERM", "EPERM"},
	{"ask for its personality", func(world) error { return call(unix.SYS_PERSONALITY, 0xffffffff) }, "ok", "ok", "ok"},
}

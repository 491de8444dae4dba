package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Assign gives a program that was started for nobody yet the files of a user: its
// folders, its /tmp and its name. It needs root. After an error the program is to
// be ended: some of it may have been done.
//
// Landlock need not be told. It looks for a rule on the way from a file up to the
// root, also where that leads out of a mount, and the vacant folder has one.
func Assign(pid int, a Assignment) error {
	mounts := make([]int, len(a.Write))
	var sources []source
	defer func() {
		for _, fd := range mounts[:len(sources)] {
			_ = unix.Close(fd)
		}
	}()
	for i, folder := range a.Write {
		from, err := open(folder)
		if err != nil {
			return fmt.Errorf("finding what process %d is to be given: %w", pid, err)
		}
		mounts[i], err = detached(from, noPrograms)
		_ = unix.Close(from.fd)
		if err != nil {
			return fmt.Errorf("finding what process %d is to be given: %w", pid, err)
		}
		sources = append(sources, from)
	}
	namespace, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	if err != nil {
		return fmt.Errorf("opening the mounts of process %d: %w", pid, err)
	}
	defer namespace.Close()
	if err := onThread(func() error { return a.mount(int(namespace.Fd()), sources, mounts) }); err != nil {
		return fmt.Errorf("giving process %d its files: %w", pid, err)
	}
	return nil
}

// onThread calls f on a thread that ends with it: nothing else may run where it
// has been.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		// The main thread does not end, and is what /proc/self tells of. As long as
		// it is held here, another one is found.
		defer runtime.UnlockOSThread()
		done <- onThread(f)
	}()
	return <-done
}

// mount has the calling thread enter a program's mount namespace, for good, and
// puts into its private root what is assigned.
func (a Assignment) mount(namespace int, sources []source, mounts []int) error {
	// The kernel has nobody enter who shares a working directory with others.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	unix.Umask(0o022)
	top, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	defer unix.Close(top)
	root := newRoot{fd: top}
	// The program's root stays read-only. What is written goes through another
	// mount of it, which is nowhere to be found.
	back, err := writableCopy(top)
	if err != nil {
		return err
	}
	defer unix.Close(back.fd)
	for _, file := range names(a.UID, a.GID) {
		if err := back.write(file.path, file.text); err != nil {
			return err
		}
	}
	for i, from := range sources {
		dir, err := back.folder(from.path)
		if err != nil {
			return err
		}
		_ = unix.Close(dir)
		if err := root.attach(mounts[i], from.path, true); err != nil {
			return err
		}
	}
	if !a.Tmp {
		return nil
	}
	tmp, err := root.folder("/tmp")
	if err != nil {
		return err
	}
	defer unix.Close(tmp)
	if err := unix.Fchownat(tmp, "", int(a.UID), int(a.GID), unix.AT_EMPTY_PATH); err != nil {
		return &fs.PathError{Op: "chown", Path: "/tmp", Err: err}
	}
	return nil
}

// writableCopy mounts the file system of a folder, and nothing below it, where
// nobody finds it.
func writableCopy(top int) (newRoot, error) {
	fd, err := unix.OpenTree(top, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return newRoot{}, &fs.PathError{Op: "open_tree", Path: "/", Err: err}
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: readOnly}); err != nil {
		_ = unix.Close(fd)
		return newRoot{}, &fs.PathError{Op: "mount_setattr", Path: "/", Err: err}
	}
	return newRoot{fd: fd}, nil
}

// write fills a file that is there, and empty.
func (r newRoot) write(name, text string) error {
	dir, err := r.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, path.Base(name), unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	_, err = unix.Write(fd, []byte(text))
	return errors.Join(err, unix.Close(fd))
}

// CheckAssigned says whether every thread of a program that was started for
// nobody yet has become that user, and has nothing left but that: no other user
// or group, no capability, no way to get one. A Go program with C in it cannot
// clear the bounding set of all its threads, and so may keep there what it was
// started with; under no_new_privs the set is of no consequence.
func CheckAssigned(pid int, uid, gid uint32) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking at the threads of process %d: %w", pid, err)
	}
	for _, thread := range threads {
		s, err := readStatus(dir + "/" + thread.Name())
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // It has just ended.
		}
		if err == nil {
			err = s.checkUser(uid, gid)
		}
		if err != nil {
			return fmt.Errorf("looking at the threads of process %d: %w", pid, err)
		}
	}
	return nil
}

// checkUser says whether a thread is that user's, and nothing else.
func (s *status) checkUser(uid, gid uint32) error {
	ids := func(name string, want uint32) bool {
		ok := true
		for i := range 4 { // real, effective, saved, of the file system
			ok = ok && s.number(name, i, 10) == uint64(want)
		}
		return ok
	}
	var beyond uint64
	for _, capability := range changeUser {
		beyond |= 1 << capability
	}
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"its users", ids("Uid", uid)}, {"its groups", ids("Gid", gid) && len(s.fields["Groups"]) == 0},
		{"its capabilities", s.held() == 0}, {"its bounding set", s.number("CapBnd", 0, 16)&^beyond == 0},
		{"no_new_privs", s.number("NoNewPrivs", 0, 10) == 1}, {"its filter of system calls", s.number("Seccomp", 0, 10) == filterMode},
	} {
		if !c.ok && s.err == nil {
			return fmt.Errorf("%s: %s: not as user %d has them: %v", s.path, c.what, uid,
				slices.Concat(s.fields["Uid"], s.fields["Gid"], s.fields["CapPrm"], s.fields["CapBnd"]))
		}
	}
	return s.err
}

package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Own gives dir and everything in it to a user and a group. It follows no link
// and leaves out what is mounted there. The folder itself comes last: once it
// belongs to them, there is nothing to do any more.
//
// The error wraps ErrTampered for what must not be given away: a device, what
// belongs neither to the user nor to the folder's owner by now, and a file of
// that owner that has hard links, since it may have been taken from elsewhere.
// Then, and when folders are nested more than 128 deep, the folder keeps its
// owner, though some of what is in it may have got the new one.
func Own(dir string, uid, gid uint32) error {
	fd, err := unbroken(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	o := owner{uid: int(uid), gid: int(gid), buffer: make([]byte, listing)}
	var state unix.Stat_t
	if err := unix.Fstat(fd, &state); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if o.has(&state) {
		return nil
	}
	o.from = state.Uid
	err = o.below(fd, dir, 1)
	if err == nil {
		err = o.give(fd, dir)
	}
	if err != nil {
		return fmt.Errorf("giving %s to user %d, group %d: %w", dir, uid, gid, err)
	}
	return nil
}

type owner struct {
	uid, gid int
	// from is whom the folder belongs to.
	from   uint32
	buffer []byte
}

func (o *owner) has(state *unix.Stat_t) bool {
	return int(state.Uid) == o.uid && int(state.Gid) == o.gid
}

// below gives away everything in a folder.
func (o *owner) below(fd int, path string, depth int) error {
	if depth > maxDepth {
		return tampered(path, fmt.Sprintf("folders are nested more than %d deep: remove them", maxDepth))
	}
	var names []string
	for {
		var err error
		if names, err = list(fd, o.buffer, names[:0]); err != nil {
			return &fs.PathError{Op: "list", Path: path, Err: err}
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if err := o.entry(fd, name, filepath.Join(path, name), depth); err != nil {
				return err
			}
		}
	}
}

// entry gives away an entry of a folder. It takes hold of it first, so that
// what was looked at is what is given away.
func (o *owner) entry(parent int, name, path string, depth int) error {
	fd, err := unbroken(func() (int, error) {
		return unix.Openat2(parent, name, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		})
	})
	switch {
	case isGone(err), errors.Is(err, unix.EXDEV):
		return nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return fmt.Errorf("the system has no openat2, or its use is denied: Linux 5.6 or newer is needed, and a container's seccomp profile that knows it: %w", err)
	case err != nil:
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var state unix.Stat_t
	if err := unix.Fstat(fd, &state); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	// Its names alone would not do: they can be changed while they are counted.
	if state.Uid != o.from && int(state.Uid) != o.uid {
		return tampered(path, fmt.Sprintf("it belongs to user %d, and may be a hard link: remove it, or give it to the folder's user, %d", state.Uid, o.from))
	}

	switch state.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := o.folder(fd, path, depth); err != nil {
			return err
		}
	case unix.S_IFBLK, unix.S_IFCHR:
		return tampered(path, "it is a device: remove it")
	default:
		if state.Nlink > 1 && !o.has(&state) {
			return tampered(path, "it has further names, which are hard links, and may be somebody else's: remove it")
		}
	}
	if o.has(&state) {
		return nil
	}
	return o.give(fd, path)
}

// folder gives away what is in a folder, which is not open for reading yet.
func (o *owner) folder(at int, path string, depth int) error {
	fd, err := unbroken(func() (int, error) {
		return unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if isGone(err) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return o.below(fd, path, depth+1)
}

func (o *owner) give(fd int, path string) error {
	if err := unix.Fchownat(fd, "", o.uid, o.gid, unix.AT_EMPTY_PATH); err != nil {
		return &fs.PathError{Op: "chown", Path: path, Err: err}
	}
	return nil
}

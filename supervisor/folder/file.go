package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrTampered says that something in a stream's folder is not what belongs
// there. The error that wraps it names it, and says what to do.
var ErrTampered = errors.New("unexpected entry in a stream's folder")

// attempts is how often Append looks again at a file that comes and goes.
const attempts = 10

// Open opens the regular file called name in dir for reading. No link in dir is
// followed, and nothing there makes it wait. The error wraps fs.ErrNotExist
// when there is no such file, and ErrTampered for a link, for what is no
// regular file, and for a file whose owner is not the folder's: it may be a hard
// link to any file of the system, and how many names a file has cannot be told
// while they change.
func Open(dir, name string) (*os.File, error) {
	top, err := openTop(dir)
	if err != nil {
		return nil, err
	}
	defer top.close()
	file, _, err := top.open(name, unix.O_RDONLY)
	return file, err
}

// Read returns what is in the regular file called name in dir. Its errors are
// those of Open, and ErrTampered for a file of more than max bytes.
func Read(dir, name string, max int64) ([]byte, error) {
	file, err := Open(dir, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, max+1))
	if err != nil {
		return nil, fmt.Errorf("reading a file of a stream's folder: %w", err)
	}
	if int64(len(data)) > max {
		return nil, tampered(file.Name(), fmt.Sprintf("it is larger than %d bytes: remove it", max))
	}
	return data, nil
}

// Create makes the file called name in dir, open for adding to its end, with
// mode 0600 and the owner of the folder. The error wraps fs.ErrExist when there
// is anything of that name.
func Create(dir, name string) (*os.File, error) {
	top, err := openTop(dir)
	if err != nil {
		return nil, err
	}
	defer top.close()
	return top.create(name)
}

// Append adds text to the end of the regular file called name in dir. One that
// does not exist is made as Create does, so that the stream's process can go on
// with it. The error wraps ErrTampered as Open's does, and also for a file that
// has hard links, since what was added to it would be added elsewhere as well.
func Append(dir, name string, text []byte) error {
	top, err := openTop(dir)
	if err != nil {
		return err
	}
	defer top.close()
	file, err := top.openToAppend(name)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("adding to a file of a stream's folder: %w", err)
	}
	return nil
}

// top is a stream's folder, open.
type top struct {
	fd    int
	path  string
	state unix.Stat_t
}

func openTop(dir string) (*top, error) {
	// A folder that is none must not make anybody wait either.
	fd, err := unbroken(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	t := &top{fd: fd, path: dir}
	if err := unix.Fstat(fd, &t.state); err != nil {
		t.close()
		return nil, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return t, nil
}

func (t *top) close() { _ = unix.Close(t.fd) }

// pathOf is the path of a file right in the folder.
func (t *top) pathOf(name string) (string, error) {
	path := filepath.Join(t.path, name)
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	return path, nil
}

// open opens an existing regular file.
func (t *top) open(name string, flags int) (*os.File, *unix.Stat_t, error) {
	path, err := t.pathOf(name)
	if err != nil {
		return nil, nil, err
	}
	var state unix.Stat_t
	if err := unix.Fstatat(t.fd, name, &state, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := regular(path, &state); err != nil {
		return nil, nil, err
	}
	fd, err := unbroken(func() (int, error) {
		return unix.Openat(t.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	switch {
	case errors.Is(err, unix.EAGAIN):
		// Otherwise the kernel would have waited for whoever holds it.
		return nil, nil, tampered(path, "a process holds a lease on it: end that process")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR):
		return nil, nil, tampered(path, "it was replaced by what is no regular file: remove it")
	case err != nil:
		return nil, nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	if err = unix.Fstat(fd, &state); err == nil {
		err = regular(path, &state)
	}
	if err == nil && state.Uid != t.state.Uid {
		err = tampered(path, fmt.Sprintf("it belongs to user %d, not to the folder's, %d, and may be a hard link: remove it", state.Uid, t.state.Uid))
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, &state, nil
}

// openToAppend opens a file that has no other name, and makes it if need be.
func (t *top) openToAppend(name string) (*os.File, error) {
	for attempt := 1; ; attempt++ {
		file, state, err := t.open(name, unix.O_WRONLY|unix.O_APPEND)
		if err == nil && state.Nlink > 1 {
			file.Close()
			return nil, tampered(file.Name(), "it has further names, which are hard links: remove it")
		}
		if errors.Is(err, fs.ErrNotExist) {
			file, err = t.create(name)
		}
		if attempt < attempts && (errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist)) {
			continue
		}
		return file, err
	}
}

// create makes a file that belongs to the folder's owner.
func (t *top) create(name string) (*os.File, error) {
	path, err := t.pathOf(name)
	if err != nil {
		return nil, err
	}
	fd, err := unbroken(func() (int, error) {
		return unix.Openat(t.fd, name, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	var state unix.Stat_t
	err = unix.Fstat(fd, &state)
	if err == nil && (state.Uid != t.state.Uid || state.Gid != t.state.Gid) {
		err = file.Chown(int(t.state.Uid), int(t.state.Gid))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("giving %s the owner of its folder: %w", path, err)
	}
	return file, nil
}

// regular refuses everything but regular files.
func regular(path string, state *unix.Stat_t) error {
	var kind string
	switch state.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFLNK:
		kind = "a symbolic link"
	case unix.S_IFDIR:
		kind = "a folder"
	case unix.S_IFIFO:
		kind = "a named pipe"
	case unix.S_IFSOCK:
		kind = "a socket"
	default:
		kind = "a device"
	}
	return tampered(path, "it is "+kind+", where a regular file belongs: remove it")
}

func tampered(path, why string) error { return fmt.Errorf("%s: %w: %s", path, ErrTampered, why) }

// unbroken repeats a system call that a signal has interrupted.
func unbroken(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

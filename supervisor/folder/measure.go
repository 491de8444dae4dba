package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// maxDepth is how deep folders may be nested. Each takes a file descriptor
	// while what is below it is looked at.
	maxDepth = 128
	// maxLinked bounds what is remembered of files that have several names.
	maxLinked = 1 << 20
	// listing is how many bytes of a folder's listing are read at once.
	listing = 32 << 10
	// blockSize is the unit of a file's blocks, whatever the file system's is.
	blockSize = 512
)

// Size is what folders take up.
type Size struct {
	// Bytes is the space on the disk, that of the folders themselves included.
	Bytes int64
	// Files counts everything below the folders, folders and links as well.
	Files int64
}

// Measure adds up what the folders take up, none of which may be within
// another. A file with several names counts once, links are not followed, and
// other file systems are left out, as is a folder that does not exist. What
// comes and goes meanwhile may count or not. A file without a name that a
// process still holds open is not seen.
//
// With an error, the size is what was counted, so that at least this much is
// taken up. The error is the context's when that ends first. It wraps
// ErrTampered when something cannot be measured since folders are nested more
// than 128 deep, one of them cannot be read, or more than a million files have
// several names.
func Measure(ctx context.Context, dirs ...string) (Size, error) {
	m := measurement{ctx: ctx, buffer: make([]byte, listing), linked: map[inode]struct{}{}}
	for _, dir := range dirs {
		if err := m.measure(dir); err != nil {
			return m.size, fmt.Errorf("measuring %s: %w", dir, err)
		}
	}
	return m.size, m.failure
}

type measurement struct {
	ctx    context.Context
	size   Size
	buffer []byte
	// device is the file system that is being measured, and devices counts the
	// ones so far: inode numbers are unique within one only.
	device  unix.Stat_t
	devices int
	linked  map[inode]struct{}
	// failure is the first thing that could not be measured.
	failure error
}

type inode struct {
	device int
	number uint64
}

func (m *measurement) measure(dir string) error {
	top, err := openTop(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.close()
	if m.devices == 0 || top.state.Dev != m.device.Dev {
		m.device = top.state
		m.devices++
	}
	m.size.Bytes += top.state.Blocks * blockSize
	return m.below(top.fd, dir, 1)
}

// below counts everything in a folder.
func (m *measurement) below(fd int, path string, depth int) error {
	var names []string
	for {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		var err error
		if names, err = list(fd, m.buffer, names[:0]); err != nil {
			return &fs.PathError{Op: "list", Path: path, Err: err}
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			if err := m.count(fd, name, path, depth); err != nil {
				return err
			}
		}
	}
}

// count counts an entry of a folder, and what is below it.
func (m *measurement) count(parent int, name, path string, depth int) error {
	var state unix.Stat_t
	err := unix.Fstatat(parent, name, &state, unix.AT_SYMLINK_NOFOLLOW)
	if isGone(err) || err == nil && state.Dev != m.device.Dev {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "stat", Path: filepath.Join(path, name), Err: err}
	}
	isFolder := state.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isFolder && state.Nlink > 1 && !m.isNew(state.Ino, path) {
		return nil
	}
	m.size.Files++
	m.size.Bytes += state.Blocks * blockSize
	if !isFolder {
		return nil
	}

	path = filepath.Join(path, name)
	if depth == maxDepth {
		m.fail(tampered(path, fmt.Sprintf("folders are nested more than %d deep and cannot be measured: remove them", maxDepth)))
		return nil
	}
	fd, err := unbroken(func() (int, error) {
		return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	switch {
	case isGone(err):
		return nil
	case errors.Is(err, fs.ErrPermission):
		m.fail(tampered(path, "the folder cannot be read, and so not measured: make it readable"))
		return nil
	case err != nil:
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return m.below(fd, path, depth+1)
}

// isNew says whether a file with several names was not counted yet.
func (m *measurement) isNew(number uint64, path string) bool {
	key := inode{m.devices, number}
	if _, seen := m.linked[key]; seen {
		return false
	}
	if len(m.linked) == maxLinked {
		m.fail(tampered(path, fmt.Sprintf("more than %d files have several names and cannot be measured: remove the hard links", maxLinked)))
		return false
	}
	m.linked[key] = struct{}{}
	return true
}

func (m *measurement) fail(err error) {
	if m.failure == nil {
		m.failure = err
	}
}

// list returns the next names of an open folder; none at its end.
func list(fd int, buffer []byte, names []string) ([]string, error) {
	for {
		n, err := unbroken(func() (int, error) { return unix.ReadDirent(fd, buffer) })
		if n == 0 || isGone(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		// A part that holds nothing but . and .. is not the end.
		if _, _, names = unix.ParseDirent(buffer[:n], -1, names); len(names) > 0 {
			return names, nil
		}
	}
}

// isGone says that an entry was removed or replaced since it was listed.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

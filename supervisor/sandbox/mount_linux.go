package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may lead through, as in the
// kernel.
const maxLinks = 40

// source is a file or folder of the host, however many symbolic links led to it.
type source struct {
	named string // as it was asked for
	path  string // where it really is
	fd    int    // opened with O_PATH
	dir   bool
	links []link // on the way
}

// link is a symbolic link of the host, at its real path.
type link struct{ at, target string }

// open finds a file of the host step by step, so that what is looked at is what
// is then mounted. A symbolic link counts only when it is root's: a tenant that
// may write a folder could otherwise point from there to any other place.
func open(named string) (_ source, retErr error) {
	found := source{named: named, path: "/"}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return found, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	// The folders on the way, for "..": the last is the current one.
	way := []int{root}
	defer func() {
		keep := len(way) - 1
		if retErr != nil {
			keep = len(way)
		}
		for _, fd := range way[:keep] {
			_ = unix.Close(fd)
		}
	}()
	var stat unix.Stat_t
	for rest := split(named); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			if last := len(way) - 1; last > 0 {
				_ = unix.Close(way[last])
				way = way[:last]
				found.path = path.Dir(found.path)
			}
			continue
		}
		at := path.Join(found.path, name)
		fd, err := unix.Openat(way[len(way)-1], name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return found, &fs.PathError{Op: "open", Path: at, Err: err}
		}
		if err := unix.Fstat(fd, &stat); err != nil {
			_ = unix.Close(fd)
			return found, &fs.PathError{Op: "stat", Path: at, Err: err}
		}
		if stat.Mode&unix.S_IFMT != unix.S_IFLNK {
			way = append(way, fd)
			found.path = at
			continue
		}
		target, err := readLink(fd)
		_ = unix.Close(fd)
		switch {
		case err != nil:
			return found, &fs.PathError{Op: "readlink", Path: at, Err: err}
		case stat.Uid != 0:
			return found, fmt.Errorf("%s is a symbolic link of user %d: only root's are followed", at, stat.Uid)
		case len(found.links) == maxLinks:
			return found, &fs.PathError{Op: "open", Path: named, Err: unix.ELOOP}
		}
		found.links = append(found.links, link{at, target})
		rest = append(split(target), rest...)
		if path.IsAbs(target) {
			for _, fd := range way[1:] {
				_ = unix.Close(fd)
			}
			way = way[:1]
			found.path = "/"
		}
	}
	found.fd = way[len(way)-1]
	if err := unix.Fstat(found.fd, &stat); err != nil {
		return found, &fs.PathError{Op: "stat", Path: found.path, Err: err}
	}
	found.dir = stat.Mode&unix.S_IFMT == unix.S_IFDIR
	return found, nil
}

// split returns the names in a path.
func split(path string) []string {
	return strings.FieldsFunc(strings.ReplaceAll(path, "/./", "/"), func(r rune) bool { return r == '/' })
}

func readLink(fd int) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buffer)
	return string(buffer[:max(n, 0)]), err
}

// newRoot is a private root while it is built.
type newRoot struct{ fd int }

// folder opens a folder of the new root, and makes what is missing on the way.
// Links are not followed: all paths are real ones.
func (r newRoot) folder(dir string) (int, error) {
	fd, err := unix.Dup(r.fd)
	if err != nil {
		return -1, err
	}
	for _, name := range split(dir) {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil && !isThere(err) {
			_ = unix.Close(fd)
			return -1, &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: dir, Err: err}
		}
		fd = next
	}
	return fd, nil
}

// isThere tells whether something could not be made because it exists. In a
// mount that cannot be written the kernel may say that first.
func isThere(err error) bool { return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EROFS) }

// file opens a file of the new root, and makes it with this text when it is
// missing.
func (r newRoot) file(name, text string) (int, error) {
	dir, err := r.folder(path.Dir(name))
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	base := path.Base(name)
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(dir, base, text); err == nil {
			fd, err = unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	}
	if err != nil {
		return -1, &fs.PathError{Op: "make", Path: name, Err: err}
	}
	return fd, nil
}

// create makes a file that everybody may read.
func create(dir int, name, text string) error {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	return errors.Join(err, unix.Close(fd))
}

// link makes a symbolic link in the new root unless it is there.
func (r newRoot) link(l link) error {
	dir, err := r.folder(path.Dir(l.at))
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = unix.Symlinkat(l.target, dir, path.Base(l.at))
	if err != nil && !isThere(err) {
		return &fs.PathError{Op: "symlink", Path: l.at, Err: err}
	}
	return nil
}

// bind mounts a file or folder of the host at the same place in the new root,
// with everything that is mounted below it, and returns the mount.
func (r newRoot) bind(from source, attributes uint64) (int, error) {
	tree, err := detached(from, attributes)
	if err != nil {
		return -1, err
	}
	if err := r.attach(tree, from.path, from.dir); err != nil {
		_ = unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// detached copies the mounts of a file or folder of the host, with everything
// that is mounted below it. What happens to the original does not reach them.
func detached(from source, attributes uint64) (int, error) {
	tree, err := unix.OpenTree(from.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return -1, &fs.PathError{Op: "open_tree", Path: from.path, Err: err}
	}
	attr := unix.MountAttr{Attr_set: attributes, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		_ = unix.Close(tree)
		return -1, &fs.PathError{Op: "mount_setattr", Path: from.path, Err: err}
	}
	return tree, nil
}

// attach puts a mount at a place in the new root.
func (r newRoot) attach(mount int, at string, dir bool) error {
	var fd int
	var err error
	if dir {
		fd, err = r.folder(at)
	} else {
		fd, err = r.file(at, "")
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.MoveMount(mount, "", fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return &fs.PathError{Op: "move_mount", Path: at, Err: err}
	}
	return nil
}

// option is one of a file system's own.
type option struct{ key, value string }

// newMount makes a file system that nothing else has mounted.
func newMount(kind string, attributes int, options ...option) (int, error) {
	fd, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, &fs.PathError{Op: "fsopen", Path: kind, Err: err}
	}
	defer unix.Close(fd)
	for _, o := range options {
		if err := unix.FsconfigSetString(fd, o.key, o.value); err != nil {
			return -1, &fs.PathError{Op: "fsconfig " + o.key + "=" + o.value, Path: kind, Err: err}
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, &fs.PathError{Op: "fsconfig", Path: kind, Err: err}
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, &fs.PathError{Op: "fsmount", Path: kind, Err: err}
	}
	return mount, nil
}

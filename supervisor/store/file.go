package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

const (
	// lockTimeout bounds the wait for a lock. A process that was killed may hold
	// it for some milliseconds yet, through a child on its way to exec.
	lockTimeout = 250 * time.Millisecond
	lockPoll    = 10 * time.Millisecond

	// smallestLimit is the least RLIMIT_FSIZE that a store can begin with, in bytes.
	smallestLimit = 256 << 10

	// unfinished marks a file that is being created.
	unfinished = ".new-"
)

// openOrCreate returns the file, open for reading and writing and locked. Where
// there is none, fill makes the contents of a new one. Nothing is written to one
// that exists.
func openOrCreate(path string, fill func(db *bolt.DB, path string) error) (*os.File, error) {
	for range 2 {
		file, err := openLocked(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
		err = createWhole(path, fill)
		// Another process may have been faster; its file is opened then.
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, explain(path, err)
		}
	}
	return nil, fmt.Errorf("%w: %s can be neither opened nor created: is it a symbolic link to nothing?", ErrUnwritable, path)
}

// openLocked returns fs.ErrNotExist as it is, other errors explained.
func openLocked(path string) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, explain(path, err)
	case !info.Mode().IsRegular():
		return nil, explain(path, damaged("it is not a regular file but %s", info.Mode().Type()))
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, explain(path, err)
	}
	if err := lock(file); err != nil {
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by another process: stop that Penstock or choose another data folder", ErrInUse, path)
		}
		return nil, explain(path, fmt.Errorf("locking it: %w", err))
	}
	return file, nil
}

// lock takes the file as the library does, so that its tools respect it too.
func lock(file *os.File) error {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockPoll) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

// createWhole makes a new file under another name, and gives it its own one
// only when it is on the disk. It never replaces a file: fs.ErrExist.
func createWhole(path string, fill func(db *bolt.DB, path string) error) (err error) {
	db, file, err := openNew(path)
	if err != nil {
		return err
	}
	name := file.Name()
	defer func() { err = errors.Join(err, removeIfThere(name)) }()
	if err := errors.Join(fill(db, name), db.Close()); err != nil {
		return err
	}
	err = os.Link(name, path)
	if errors.Is(err, fs.ErrNotExist) {
		// Another process was faster and removed it as a leftover.
		return fs.ErrExist
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// openNew makes an empty file beside the path, which is locked. The library
// closes it.
func openNew(path string) (*bolt.DB, *os.File, error) {
	limit, err := fileSizeLimit()
	if err != nil {
		return nil, nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished+"*")
	if err != nil {
		return nil, nil, err
	}
	db, err := openDB(file.Name(), limit, file)
	if err != nil {
		_ = file.Close()
		return nil, nil, errors.Join(err, removeIfThere(file.Name()))
	}
	return db, file, nil
}

// syncDir makes the names in a folder durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// removeUnfinished removes what a crash left of createWhole. The caller holds
// the lock of path, so whoever still creates one will find path taken.
func removeUnfinished(path string) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		// The folder may be one that can be searched but not listed.
		return
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), filepath.Base(path)+unfinished) {
			_ = removeIfThere(filepath.Join(dir, entry.Name()))
		}
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fileSizeLimit returns how large the file may become, in bytes, 0 = no limit.
// A process that writes beyond RLIMIT_FSIZE is killed by SIGXFSZ, so the
// library has to know.
func fileSizeLimit() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return 0, fmt.Errorf("reading RLIMIT_FSIZE: %w", err)
	}
	switch {
	case limit.Cur > math.MaxInt64:
		return 0, nil
	case limit.Cur < smallestLimit:
		return 0, fmt.Errorf("RLIMIT_FSIZE is %d bytes, less than %d: %w", limit.Cur, smallestLimit, unix.EFBIG)
	}
	return int(limit.Cur), nil
}

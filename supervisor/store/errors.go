package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrFull is wrapped when there is no space left: ENOSPC, EDQUOT, EFBIG or
	// the limit RLIMIT_FSIZE. Nothing was changed; a later call may succeed.
	ErrFull = errors.New("no space left for the state file")
	// ErrUnwritable is wrapped when the file cannot be read or written: a
	// read-only file system, permissions, an I/O error. From Update, it lasts
	// until the store is opened again.
	ErrUnwritable = errors.New("state file cannot be read or written")
	// ErrCorrupt is wrapped when the file is damaged, is not a store, or is of
	// a newer schema. The file is never modified then.
	ErrCorrupt = errors.New("unusable state file")
	// ErrInUse is wrapped by Open when another process holds the file.
	ErrInUse = errors.New("state file is in use")
	// ErrClosed is wrapped by the calls of a closed store.
	ErrClosed = errors.New("state file is closed")
)

// adviceStreams is what to do about a damaged state.db.
const adviceStreams = "put a backup in its place, or move it away to begin without streams, which ends those that still run and removes their logs"

// damage is something found in the file that no sound one has.
type damage struct{ what string }

func (d *damage) Error() string { return d.what }

func damaged(format string, args ...any) error {
	return &damage{fmt.Sprintf(format, args...)}
}

// newerSchema is a file that is sound as far as can be told, but not ours to read.
type newerSchema struct{ found, known int }

func (n *newerSchema) Error() string {
	return fmt.Sprintf("it has schema version %d, this Penstock knows versions up to %d", n.found, n.known)
}

// explain makes err one of the package's errors, with the file's name and what
// to do about it.
func explain(path string, err error) error {
	var (
		harm  *damage
		newer *newerSchema
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &newer):
		return fmt.Errorf("%w: %s: %w; it was left as it is: start the newer Penstock that wrote it, or put a backup in its place", ErrCorrupt, path, err)
	case errors.As(err, &harm):
		return fmt.Errorf("%w: %s: %w; it was left as it is: %s", ErrCorrupt, path, err, adviceStreams)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("%w: %s", ErrClosed, path)
	case isFull(err):
		return fmt.Errorf("%w: %s: %w; free some space, or raise the quota or the limit of file sizes (RLIMIT_FSIZE)", ErrFull, path, err)
	default:
		return fmt.Errorf("%w: %s: %w; check the disk, its mount options and the permissions", ErrUnwritable, path, err)
	}
}

// isFull tells a lack of space from other failures of the disk.
func isFull(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// Where growing the file fails, the library passes on the text alone.
		if errors.Is(err, errno) || strings.HasSuffix(err.Error(), ": "+errno.Error()) {
			return true
		}
	}
	return false
}

// guarded runs fn, which reads the mapped file, and makes damage of what it
// panics with: the library's assertions, and the fault of touching a page that
// the disk cannot deliver or that was cut off since.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = damaged("reading it failed: %v", cause)
		}
	}()
	return fn()
}

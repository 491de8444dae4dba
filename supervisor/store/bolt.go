package store

import (
	"errors"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// File is a bbolt file of another package that is opened, verified and
// committed to with the care of the state file: what it promises about damage,
// full disks and failing ones is in the package documentation.
type File struct {
	*bolt.DB
	path, advice string
	// failed is why nothing may be committed any more.
	failed error
}

// OpenFile opens the file at path, mode 0600, and creates it where there is
// none: fill makes its buckets then. advice completes "it was left as it is: …"
// in the error about a damaged one.
//
// Errors: ErrInUse, ErrCorrupt, ErrFull, ErrUnwritable.
func OpenFile(path, advice string, fill func(*bolt.Tx) error) (*File, error) {
	f := &File{path: path, advice: advice}
	db, err := openVerified(path, func(db *bolt.DB, _ string) error { return db.Update(fill) })
	if err != nil {
		return nil, f.advise(err)
	}
	removeUnfinished(path)
	f.DB = db
	return f, nil
}

// Read runs fn in a transaction that only reads.
//
// Errors: those of Damaged as ErrCorrupt, and ErrClosed.
func (f *File) Read(fn func(*bolt.Tx) error) error {
	return f.explain(guarded(func() error { return f.View(fn) }))
}

// Write runs fn in a transaction and returns once that is synced. One caller at
// a time. An error of fn leaves everything as it was and lasts, as a failing disk
// does: whatever it is that fn cannot do, it is not the caller's fault.
//
// Errors: ErrFull, after which nothing was changed and a later call may succeed;
// ErrUnwritable, ErrCorrupt and ErrClosed, which last.
func (f *File) Write(fn func(*bolt.Tx) error) error {
	if f.failed != nil {
		return f.failed
	}
	number := 0
	err := guarded(func() error {
		return f.Update(func(tx *bolt.Tx) error {
			number = tx.ID()
			return fn(tx)
		})
	})
	if err == nil {
		return nil
	}
	explained := f.explain(err)
	switch {
	case errors.Is(explained, ErrClosed):
	case errors.Is(explained, ErrFull) && newest(f.DB) < number:
	case errors.Is(explained, ErrCorrupt):
		f.failed = explained
	default:
		f.failed = fmt.Errorf("%w: %s: whether the last change holds is not known: %w; check the disk, then restart Penstock", ErrUnwritable, f.path, err)
		return f.failed
	}
	return explained
}

// Shut closes the file once the transactions that are under way have ended.
func (f *File) Shut() error {
	if err := guarded(f.Close); err != nil {
		return fmt.Errorf("closing %s: %w", f.path, err)
	}
	return nil
}

// Damaged is the error of contents that no sound file has.
func Damaged(format string, args ...any) error { return damaged(format, args...) }

func (f *File) explain(err error) error { return f.advise(explain(f.path, err)) }

// advise puts the advice about this file where that about the state file is.
func (f *File) advise(err error) error {
	if err == nil || !errors.Is(err, ErrCorrupt) || !strings.HasSuffix(err.Error(), adviceStreams) {
		return err
	}
	return fmt.Errorf("%w%s%s", ErrCorrupt, strings.TrimSuffix(strings.TrimPrefix(err.Error(), ErrCorrupt.Error()), adviceStreams), f.advice)
}

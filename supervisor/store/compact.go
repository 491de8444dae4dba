package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

const (
	// worthCompacting is how much of a file has to be free before it is made
	// smaller, in bytes. It also has to be half of the file, so that the copy is
	// never more than what is gained.
	worthCompacting = 8 << 20
	// compactBatch is how much is copied in one transaction, in bytes, which is
	// what the copy takes of memory.
	compactBatch = 4 << 20
)

// compacted puts a copy without free space in the place of a file that is mostly
// free: what is free in a file is used again, but never given back. It returns
// the file to go on with and how much smaller it is, in bytes.
//
// The copy is made under another name, synced, and renamed: whenever that ends
// there is one whole file, with the same contents. With an error and a file the
// old one is as it was; without one it is not known which of both is there after
// a crash, and nothing may be written.
func compacted(db *bolt.DB, path string, least int64) (now *bolt.DB, freed int64, err error) {
	size, free, err := occupied(db, path)
	if err != nil || free < least || free < size/2 {
		return db, 0, err
	}
	fresh, name, err := copyOf(db, path)
	if err != nil {
		return db, 0, err
	}
	info, err := os.Stat(name)
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		return db, 0, errors.Join(err, fresh.Close(), removeIfThere(name))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, 0, errors.Join(err, fresh.Close(), db.Close())
	}
	// The old one has no name any more, and nobody can have taken the new one,
	// which was locked before it had this name.
	if err := guarded(db.Close); err != nil {
		return nil, 0, errors.Join(err, fresh.Close())
	}
	return fresh, size - info.Size(), nil
}

// occupied is how large a file is and how much of that is free, in bytes. One
// that is reached by a link is not looked at: the copy would take the link's place.
func occupied(db *bolt.DB, path string) (size, free int64, err error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0, 0, err
	}
	err = guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			stats := db.Stats()
			pages := int64(stats.FreePageN+stats.PendingPageN) * int64(db.Info().PageSize)
			free = info.Size() - tx.Size() + pages
			return nil
		})
	})
	return info.Size(), free, err
}

// copyOf makes a copy of a file beside it, on the disk, open and locked.
func copyOf(db *bolt.DB, path string) (fresh *bolt.DB, name string, err error) {
	fresh, file, err := openNew(path)
	if err != nil {
		return nil, "", err
	}
	// Nobody knows of it before it is whole.
	fresh.NoSync = true
	err = guarded(func() error { return bolt.Compact(fresh, db, compactBatch) })
	if err == nil {
		err = fresh.Sync()
	}
	if err == nil {
		err = verify(file)
	}
	if err != nil {
		err = errors.Join(err, guarded(fresh.Close), removeIfThere(file.Name()))
		return nil, "", err
	}
	fresh.NoSync = false
	return fresh, file.Name(), nil
}

// Compact makes the file smaller if most of it is free, and returns by how much,
// in bytes. It is to be called before anything else uses the file, and once what
// it holds was found to be sound. After an error the file is as it was, unless
// that wraps ErrUnwritable, which lasts.
func (f *File) Compact() (freed int64, err error) {
	now, freed, err := compacted(f.DB, f.path, worthCompacting)
	if now == nil {
		f.failed = fmt.Errorf("%w: %s: making it smaller: %w; check the disk, then restart Penstock", ErrUnwritable, f.path, err)
		return 0, f.failed
	}
	f.DB = now
	if err != nil {
		err = fmt.Errorf("%s: %w", f.path, err)
	}
	return freed, err
}

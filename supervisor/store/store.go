package store

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Store is an open state file. Its methods may be called by any number of
// goroutines.
type Store struct {
	path string
	db   *bolt.DB

	// turn is taken by whoever commits.
	turn chan struct{}
	// failed is why nothing may be committed any more; for who has the turn.
	failed error

	mu      sync.Mutex
	waiting []*request
}

// Open opens the state file at path and creates it with mode 0600 when there
// is none; a file appears there only once it is whole. A file of an older
// schema is migrated, in one transaction. Until it is closed no other process
// can open it.
//
// Errors: ErrInUse, ErrCorrupt, ErrFull, ErrUnwritable.
func Open(path string) (*Store, error) {
	return open(path, migrations)
}

func open(path string, steps []migration) (*Store, error) {
	known := schemaVersion(steps)
	db, err := openVerified(path, func(db *bolt.DB, path string) error { return create(db, path, known) })
	if err != nil {
		return nil, err
	}
	version, err := check(db, path, known)
	if err == nil && version < known {
		err = migrate(db, path, version, steps)
	}
	if err != nil {
		_ = db.Close()
		return nil, explain(path, err)
	}
	removeUnfinished(path)
	// One that cannot be made smaller is as good as it was.
	if db, _, err = compacted(db, path, worthCompacting); db == nil {
		return nil, explain(path, err)
	}
	return &Store{path: path, db: db, turn: make(chan struct{}, 1)}, nil
}

// openVerified opens a file that is there, or that fill has filled, once its
// structure was found to be whole. Its errors are explained.
func openVerified(path string, fill func(db *bolt.DB, path string) error) (*bolt.DB, error) {
	file, err := openOrCreate(path, fill)
	if err != nil {
		return nil, err
	}
	err = verify(file)
	limit := 0
	if err == nil {
		limit, err = fileSizeLimit()
	}
	var db *bolt.DB
	if err == nil {
		db, err = openDB(path, limit, file)
	}
	if err != nil {
		_ = file.Close()
		return nil, explain(path, err)
	}
	return db, nil
}

// openDB hands an open and locked file to the library, which closes it.
func openDB(path string, limit int, file *os.File) (db *bolt.DB, err error) {
	err = guarded(func() error {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			// The file is locked already; this only keeps the library from waiting for ever.
			Timeout: time.Second,
			MaxSize: limit,
			// Not by name again: what was verified must be what is used.
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return file, nil },
		})
		return err
	})
	return db, err
}

// Close lets the Update that is being synced finish and closes the file.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	err := guarded(s.db.Close)
	if err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}

// Load reads everything but the older revisions.
//
// Errors: ErrCorrupt, ErrClosed.
func (s *Store) Load() (state State, err error) {
	err = s.view(func(t *transaction) error {
		state, err = t.state()
		return err
	})
	return state, err
}

// Revisions returns the revisions of a stream, newest first, at most
// KeepRevisions; none when there is no such stream.
//
// Errors: ErrCorrupt, ErrClosed.
func (s *Store) Revisions(id string) (revisions []Revision, err error) {
	err = s.view(func(t *transaction) error {
		keys, err := t.revisionKeys(id)
		if err != nil {
			return err
		}
		for _, key := range slices.Backward(keys) {
			revision := Revision{Number: revisionNumber(key)}
			if _, err := t.get(bucketRevisions, key, &revision); err != nil {
				return err
			}
			revisions = append(revisions, revision)
		}
		return nil
	})
	return revisions, err
}

func (s *Store) view(fn func(*transaction) error) error {
	err := guarded(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			return fn(&transaction{path: s.path, bolt: tx})
		})
	})
	return explain(s.path, err)
}

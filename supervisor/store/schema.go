package store

import (
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// migration brings the contents from one schema version to the next, by the
// methods of Tx alone, so that the tally stays true.
type migration func(*Tx) error

// migrations[i] leads from version i+1 to version i+2. Each has a test that
// begins with a file as the version before wrote it.
var migrations []migration

// schemaVersion is the version that steps lead to. The first one was 1.
func schemaVersion(steps []migration) int { return len(steps) + 1 }

// create fills a new file.
func create(db *bolt.DB, path string, version int) error {
	return write(db, path, func(t *transaction) error {
		for _, name := range []string{bucketMeta, bucketStreams, bucketRevisions, bucketRunners, bucketResources, bucketDeclared} {
			if _, err := t.bolt.CreateBucket([]byte(name)); err != nil {
				return fmt.Errorf("bucket %s: %w", name, err)
			}
		}
		t.changed = true
		return (&Tx{in: t}).put(bucketMeta, keySchema, version)
	})
}

// check finds out whether the contents are whole and of which version.
func check(db *bolt.DB, path string, known int) (version int, err error) {
	err = guarded(func() error {
		return db.View(func(tx *bolt.Tx) error {
			t := &transaction{path: path, bolt: tx}
			if tx.Bucket([]byte(bucketMeta)) == nil {
				return damaged("it is a bbolt file, but not a state file of Penstock")
			}
			found, err := t.get(bucketMeta, keySchema, &version)
			if err != nil {
				return err
			}
			if !found || version < 1 {
				return damaged("it names no schema version")
			}
			// Before anything that a newer version may have changed.
			if version > known {
				return &newerSchema{found: version, known: known}
			}
			return t.audit()
		})
	})
	return version, err
}

// migrate takes all steps from version on in one transaction.
func migrate(db *bolt.DB, path string, version int, steps []migration) error {
	return write(db, path, func(t *transaction) error {
		tx := &Tx{in: t}
		for ; version < schemaVersion(steps); version++ {
			if err := steps[version-1](tx); err != nil {
				return fmt.Errorf("migrating it from schema version %d: %w", version, err)
			}
		}
		value, err := json.Marshal(version)
		if err != nil {
			return err
		}
		if err := tx.set(bucketMeta, keySchema, value); err != nil {
			return err
		}
		t.changed = true
		_, err = t.state()
		return err
	})
}

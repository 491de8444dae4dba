package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// transaction is one of the library's, which may serve several Updates.
type transaction struct {
	path  string
	bolt  *bolt.Tx
	tally tally
	// changed says whether there is anything to commit.
	changed bool
	// broken is the damage it met; nothing of it may be committed then.
	broken error
}

// change is one entry as it was; old is nil when there was none.
type change struct {
	bucket, key string
	old         []byte
}

// write runs fn in a transaction of db and commits what it changed. Where the
// library panics, nothing is committed and the panic is returned as *damage.
func write(db *bolt.DB, path string, fn func(*transaction) error) error {
	return guarded(func() error {
		tx, err := db.Begin(true)
		if err != nil {
			return err
		}
		// Does nothing after a commit, whether it went well or not.
		defer func() { _ = tx.Rollback() }()
		t := &transaction{path: path, bolt: tx}
		if tx.Bucket([]byte(bucketMeta)) != nil {
			if t.tally, err = t.recorded(); err != nil {
				return err
			}
		}
		if err := fn(t); err != nil {
			return err
		}
		if !t.changed {
			return nil
		}
		if err := t.record(); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// record keeps the tally of what the transaction leaves behind.
func (t *transaction) record() error {
	value, err := json.Marshal(t.tally)
	if err != nil {
		return err
	}
	meta, err := t.bucket(bucketMeta)
	if err != nil {
		return err
	}
	return meta.Put([]byte(keyContents), value)
}

func (t *transaction) bucket(name string) (*bolt.Bucket, error) {
	bucket := t.bolt.Bucket([]byte(name))
	if bucket == nil {
		return nil, damaged("it has no bucket %q", name)
	}
	return bucket, nil
}

// set puts value at key, or deletes the entry when value is nil, and returns
// what it takes to undo that; ok is false when there was nothing to do.
func (t *transaction) set(name, key string, value []byte) (done change, ok bool, err error) {
	bucket, err := t.bucket(name)
	if err != nil {
		return change{}, false, err
	}
	// The library's slice lives no longer than the next change.
	old := bytes.Clone(bucket.Get([]byte(key)))
	if bytes.Equal(old, value) && (old == nil) == (value == nil) {
		return change{}, false, nil
	}
	if value == nil {
		err = bucket.Delete([]byte(key))
	} else {
		err = bucket.Put([]byte(key), value)
	}
	if err != nil {
		return change{}, false, fmt.Errorf("bucket %s, key %q: %w", name, key, err)
	}
	if old != nil {
		t.tally.remove(name, key, old)
	}
	if value != nil {
		t.tally.add(name, key, value)
	}
	return change{bucket: name, key: key, old: old}, true, nil
}

// get decodes the value at key into v; found is false when there is none.
func (t *transaction) get(name, key string, v any) (found bool, err error) {
	bucket, err := t.bucket(name)
	if err != nil {
		return false, err
	}
	value := bucket.Get([]byte(key))
	if value == nil {
		return false, nil
	}
	return true, Decode(name, key, value, v)
}

// each decodes every value of a bucket and hands it on.
func each[T any](t *transaction, name string, take func(key string, value T)) error {
	bucket, err := t.bucket(name)
	if err != nil {
		return err
	}
	return bucket.ForEach(func(key, data []byte) error {
		var value T
		if err := Decode(name, string(key), data, &value); err != nil {
			return err
		}
		take(string(key), value)
		return nil
	})
}

// state decodes everything but the revisions.
func (t *transaction) state() (State, error) {
	state := State{
		Streams: map[string]Stream{}, Runners: map[string]Runner{},
		Resources: map[string]Resource{}, Declared: map[string]Declaration{},
	}
	if _, err := t.get(bucketMeta, keyGeneration, &state.Generation); err != nil {
		return State{}, err
	}
	err := each(t, bucketStreams, func(id string, st Stream) {
		st.ID = id
		state.Streams[id] = st
	})
	if err == nil {
		err = each(t, bucketRunners, func(id string, r Runner) { state.Runners[id] = r })
	}
	if err == nil {
		err = each(t, bucketResources, func(id string, r Resource) {
			r.ID = id
			state.Resources[id] = r
		})
	}
	if err == nil {
		err = each(t, bucketDeclared, func(key string, d Declaration) { state.Declared[key] = d })
	}
	if err != nil {
		return State{}, err
	}
	return state, nil
}

// revisionKeys returns the keys of a stream's revisions, oldest first.
func (t *transaction) revisionKeys(id string) ([]string, error) {
	bucket, err := t.bucket(bucketRevisions)
	if err != nil {
		return nil, err
	}
	prefix := []byte(id + "\x00")
	var keys []string
	cursor := bucket.Cursor()
	for key, _ := cursor.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = cursor.Next() {
		if len(key) != len(prefix)+8 {
			return nil, damaged("bucket %s has the key %q", bucketRevisions, key)
		}
		keys = append(keys, string(key))
	}
	return keys, nil
}

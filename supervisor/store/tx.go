package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxID bounds the ids of streams and resources, in bytes.
const maxID = 1024

// Tx is what an Update may do. It is valid until the function it was given to
// returns, and for one goroutine at a time.
type Tx struct {
	in   *transaction
	undo []change
	over bool
}

// Stream returns the stream as of this transaction, that is with what this and
// earlier Updates put; ok is false when there is none.
func (tx *Tx) Stream(id string) (st Stream, ok bool, err error) {
	err = tx.do(func() error {
		ok, err = tx.in.get(bucketStreams, id, &st)
		return err
	})
	if err != nil || !ok {
		return Stream{}, false, err
	}
	st.ID = id
	return st, true, nil
}

// PutStream puts a stream, and its definition as the revision st.Revision. The
// revisions above that are dropped, and all but the newest KeepRevisions. A
// revision that is there already with the same definition and origin is left
// as it is, with its time.
func (tx *Tx) PutStream(st Stream) error {
	return tx.do(func() error {
		if err := checkID(st.ID); err != nil {
			return err
		}
		st.ChangedAt = st.ChangedAt.UTC()
		if st.Outcome != nil {
			outcome := *st.Outcome
			outcome.At = outcome.At.UTC()
			st.Outcome = &outcome
		}
		if err := tx.putRevision(st); err != nil {
			return err
		}
		return tx.put(bucketStreams, st.ID, st)
	})
}

func (tx *Tx) putRevision(st Stream) error {
	key := revisionKey(st.ID, st.Revision)
	var old Revision
	found, err := tx.in.get(bucketRevisions, key, &old)
	if err != nil {
		return err
	}
	if !found || !old.Definition.equal(st.Definition) || old.Origin != st.Origin {
		revision := Revision{Definition: st.Definition, Origin: st.Origin, At: st.ChangedAt}
		if err := tx.put(bucketRevisions, key, revision); err != nil {
			return err
		}
	}
	keys, err := tx.in.revisionKeys(st.ID)
	if err != nil {
		return err
	}
	// The number is in the key with its highest byte first, so that keys compare as numbers do.
	newest := slices.Index(keys, key)
	for i, other := range keys {
		if i > newest || i <= newest-KeepRevisions {
			if err := tx.set(bucketRevisions, other, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// DeleteStream deletes a stream with its revisions and its runner. Deleting
// what is not there is no error, here and below.
func (tx *Tx) DeleteStream(id string) error {
	return tx.do(func() error {
		if err := checkID(id); err != nil {
			return err
		}
		keys, err := tx.in.revisionKeys(id)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := tx.set(bucketRevisions, key, nil); err != nil {
				return err
			}
		}
		if err := tx.set(bucketRunners, id, nil); err != nil {
			return err
		}
		return tx.set(bucketStreams, id, nil)
	})
}

// PutRunner records the runner of a stream, in place of the one before.
func (tx *Tx) PutRunner(id string, r Runner) error {
	return tx.do(func() error {
		if err := checkID(id); err != nil {
			return err
		}
		r.StartedAt = r.StartedAt.UTC()
		return tx.put(bucketRunners, id, r)
	})
}

// DeleteRunner forgets the runner of a stream.
func (tx *Tx) DeleteRunner(id string) error {
	return tx.do(func() error { return tx.set(bucketRunners, id, nil) })
}

// PutResource puts a resource, and its generation as that of all resources.
func (tx *Tx) PutResource(r Resource) error {
	return tx.do(func() error {
		if err := checkID(r.ID); err != nil {
			return err
		}
		if err := tx.put(bucketResources, r.ID, r); err != nil {
			return err
		}
		return tx.put(bucketMeta, keyGeneration, r.Generation)
	})
}

// DeleteResource deletes a resource and records the generation that this began.
func (tx *Tx) DeleteResource(id string, generation uint64) error {
	return tx.do(func() error {
		if err := tx.set(bucketResources, id, nil); err != nil {
			return err
		}
		return tx.put(bucketMeta, keyGeneration, generation)
	})
}

// PutDeclaration records that a file was put into force as key, which is
// "stream/ID" or "resource/ID".
func (tx *Tx) PutDeclaration(key string, d Declaration) error {
	return tx.do(func() error {
		kind, id, _ := strings.Cut(key, "/")
		if kind != "stream" && kind != "resource" {
			return fmt.Errorf("declaration %q: the key must be stream/ID or resource/ID", key)
		}
		if err := checkID(id); err != nil {
			return fmt.Errorf("declaration %q: %w", key, err)
		}
		return tx.put(bucketDeclared, key, d)
	})
}

// DeleteDeclaration forgets that a file was put into force.
func (tx *Tx) DeleteDeclaration(key string) error {
	return tx.do(func() error { return tx.set(bucketDeclared, key, nil) })
}

// do runs one operation. Damage that it meets ends the whole transaction.
func (tx *Tx) do(operation func() error) error {
	if tx.over {
		return errors.New("the transaction is over: its function has returned")
	}
	err := guarded(operation)
	var harm *damage
	if errors.As(err, &harm) {
		tx.in.broken = err
		return explain(tx.in.path, err)
	}
	return err
}

func (tx *Tx) put(bucket, key string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("bucket %s, key %q: %w", bucket, key, err)
	}
	return tx.set(bucket, key, value)
}

func (tx *Tx) set(bucket, key string, value []byte) error {
	done, ok, err := tx.in.set(bucket, key, value)
	if ok {
		tx.undo = append(tx.undo, done)
	}
	return err
}

// revert undoes all that tx did, and nothing that another did in the same
// transaction of the library.
func (tx *Tx) revert() {
	err := guarded(func() error {
		for _, done := range slices.Backward(tx.undo) {
			if _, _, err := tx.in.set(done.bucket, done.key, done.old); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && tx.in.broken == nil {
		tx.in.broken = err
	}
}

func (d Definition) equal(other Definition) bool {
	return string(d.Config) == string(other.Config) && d.Chilled == other.Chilled && d.AllowTests == other.AllowTests
}

func checkID(id string) error {
	if id == "" || len(id) > maxID || strings.ContainsRune(id, 0) {
		return fmt.Errorf("id %.80q: an id is 1 to %d bytes, none of them zero", id, maxID)
	}
	return nil
}

func revisionKey(id string, number uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(id+"\x00"), number))
}

// revisionNumber is the inverse of revisionKey.
func revisionNumber(key string) uint64 {
	return binary.BigEndian.Uint64([]byte(key[len(key)-8:]))
}

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc64"
	"io"

	bolt "go.etcd.io/bbolt"
)

// The buckets, and the keys of bucketMeta.
const (
	bucketMeta      = "meta"
	bucketStreams   = "streams"
	bucketRevisions = "revisions"
	bucketRunners   = "runners"
	bucketResources = "resources"
	bucketDeclared  = "declared"

	keySchema     = "schema"
	keyGeneration = "generation"
	keyContents   = "contents"
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// tally sums up all entries but itself, in no order, so that each change costs
// no more than the entry it changes.
type tally struct {
	Entries uint64 `json:"entries"`
	// Sum is that of the entries' checksums, modulo 2^64.
	Sum uint64 `json:"sum"`
}

func (t *tally) add(bucket, key string, value []byte) {
	t.Entries++
	t.Sum += checksum(bucket, key, value)
}

func (t *tally) remove(bucket, key string, value []byte) {
	t.Entries--
	t.Sum -= checksum(bucket, key, value)
}

func checksum(bucket, key string, value []byte) uint64 {
	name := append([]byte(bucket), 0)
	name = binary.BigEndian.AppendUint32(name, uint32(len(key)))
	name = append(name, key...)
	return crc64.Update(crc64.Checksum(name, crcTable), crcTable, value)
}

// recorded returns the tally that the last transaction left behind.
func (t *transaction) recorded() (tally, error) {
	meta, err := t.bucket(bucketMeta)
	if err != nil {
		return tally{}, err
	}
	var sums tally
	value := meta.Get([]byte(keyContents))
	if value == nil {
		return sums, damaged("it has no record of its contents")
	}
	return sums, Decode(bucketMeta, keyContents, value, &sums)
}

// audit counts and sums all there is, and compares that with what the last
// transaction recorded.
func (t *transaction) audit() error {
	want, err := t.recorded()
	if err != nil {
		return err
	}
	var found tally
	err = t.bolt.ForEach(func(name []byte, bucket *bolt.Bucket) error {
		if bucket == nil {
			return damaged("%q is not a bucket", name)
		}
		return bucket.ForEach(func(key, value []byte) error {
			if value == nil {
				return damaged("%s: %q is not a value", name, key)
			}
			if string(name) != bucketMeta || string(key) != keyContents {
				found.add(string(name), string(key), value)
			}
			return nil
		})
	})
	if err == nil && found != want {
		err = damaged("its contents (%d entries, checksum %016x) are not what was recorded (%d entries, checksum %016x)",
			found.Entries, found.Sum, want.Entries, want.Sum)
	}
	return err
}

// Decode reads a value of a File, or of the state file, strictly: what it does not
// know of is damage.
func Decode(bucket, key string, value []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, end := decoder.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("text follows the value")
		}
	}
	if err != nil {
		return damaged("the value of %q in bucket %s: %v", key, bucket, err)
	}
	return nil
}

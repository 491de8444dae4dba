package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// record is what the store has of one runner or stream. Its keys are those of
// supervisor/store's types.
type record map[string]any

// amendRunner changes what the store says of a stream's runner; a change to
// nil takes the runner out. No supervisor may run.
func (r *restartable) amendRunner(t testing.TB, id string, change func(record) record) {
	t.Helper()
	r.amend(t, "runners", id, change)
}

// amend changes an entry of the store; a change to nil takes it out. What is
// written is valid in itself: the store's own checks are not what the tests that
// use this are about.
func (r *restartable) amend(t testing.TB, bucketName, id string, change func(record) record) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(r.DataDir, "state.db"), 0o600, &bolt.Options{Timeout: 5 * time.Second})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(bucketName))
		before := bytes.Clone(bucket.Get([]byte(id)))
		require.NotEmpty(t, before, "the store has no %s in %s", id, bucketName)
		rec := record{}
		decoder := json.NewDecoder(bytes.NewReader(before))
		// A start time is kept to the tick, a time to the nanosecond.
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(&rec))
		sums := readContents(t, tx)
		sums.Sum -= entrySum(bucketName, id, before)
		if rec = change(rec); rec == nil {
			sums.Entries--
			return firstError(bucket.Delete([]byte(id)), sums.write(tx))
		}
		after, err := json.Marshal(rec)
		require.NoError(t, err)
		sums.Sum += entrySum(bucketName, id, after)
		return firstError(bucket.Put([]byte(id), after), sums.write(tx))
	}))
}

// runnerRecord reads what the store has of a stream's runner.
func (r *restartable) runnerRecord(t testing.TB, id string) (rec record) {
	t.Helper()
	r.amendRunner(t, id, func(found record) record {
		rec = record{}
		for k, v := range found {
			rec[k] = v
		}
		return found
	})
	return rec
}

// folder is the runner's own, where its sockets are.
func (r *restartable) folder(rec record) string {
	return filepath.Join(r.DataDir, "run", rec["dir"].(string))
}

// contents are the number of the store's entries and the sum of their
// checksums, as every transaction of the store records them.
type contents struct {
	Entries uint64 `json:"entries"`
	Sum     uint64 `json:"sum"`
}

func readContents(t testing.TB, tx *bolt.Tx) (sums contents) {
	t.Helper()
	require.NoError(t, json.Unmarshal(tx.Bucket([]byte("meta")).Get([]byte("contents")), &sums))
	return sums
}

func (c contents) write(tx *bolt.Tx) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte("meta")).Put([]byte("contents"), text)
}

func entrySum(bucket, key string, value []byte) uint64 {
	table := crc64.MakeTable(crc64.ECMA)
	name := append([]byte(bucket), 0)
	name = binary.BigEndian.AppendUint32(name, uint32(len(key)))
	name = append(name, key...)
	return crc64.Update(crc64.Checksum(name, table), table, value)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// adoptions reads how often the present supervisor has counted each result of
// an adoption.
func (r *restartable) adoptions(t testing.TB) map[string]float64 {
	t.Helper()
	counts := map[string]float64{}
	for series, value := range scrape(t, r.client) {
		if rest, ok := strings.CutPrefix(series, `penstock_adoptions_total{result="`); ok {
			counts[strings.TrimSuffix(rest, `"}`)] = value
		}
	}
	return counts
}

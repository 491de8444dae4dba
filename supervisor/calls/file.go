package calls

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc64"
	"net/http"

	bolt "go.etcd.io/bbolt"

	"penstock/supervisor/store"
)

const (
	bucketMeta     = "meta"
	bucketCalls    = "calls"
	bucketRequests = "requests"
	bucketResults  = "results"

	keySchema = "schema"
	keyClean  = "clean"

	// schema is the version of the format.
	schema = 1

	sumSize  = 8
	advice   = "put a backup in its place, or move it away to begin without calls: those that were accepted and their results are lost then"
	seqBytes = 8
)

var sums = crc64.MakeTable(crc64.ECMA)

// transaction is one of the file's.
type transaction struct{ *bolt.Tx }

// fill makes the buckets of a new file.
func fill(tx *bolt.Tx) error {
	for _, name := range []string{bucketMeta, bucketCalls, bucketRequests, bucketResults} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	t := transaction{tx}
	if err := t.putJSON(bucketMeta, []byte(keySchema), schema); err != nil {
		return err
	}
	return t.putJSON(bucketMeta, []byte(keyClean), true)
}

func (t transaction) bucket(name string) (*bolt.Bucket, error) {
	b := t.Bucket([]byte(name))
	if b == nil {
		return nil, store.Damaged("it is a bbolt file, but has no bucket %q of calls", name)
	}
	return b, nil
}

func sumOf(bucket string, key, value []byte) []byte {
	sum := crc64.Update(0, sums, []byte(bucket))
	sum = crc64.Update(sum, sums, key)
	return binary.BigEndian.AppendUint64(nil, crc64.Update(sum, sums, value))
}

func (t transaction) put(bucket string, key, value []byte) error {
	b, err := t.bucket(bucket)
	if err != nil {
		return err
	}
	return b.Put(key, append(sumOf(bucket, key, value), value...))
}

func (t transaction) putJSON(bucket string, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return t.put(bucket, key, text)
}

func (t transaction) remove(bucket string, key []byte) error {
	b, err := t.bucket(bucket)
	if err != nil {
		return err
	}
	return b.Delete(key)
}

// get returns a copy of the value; nil when there is none.
func (t transaction) get(bucket string, key []byte) ([]byte, error) {
	b, err := t.bucket(bucket)
	if err != nil {
		return nil, err
	}
	sealed := b.Get(key)
	if sealed == nil {
		return nil, nil
	}
	value, err := unseal(bucket, key, sealed)
	return bytes.Clone(value), err
}

func unseal(bucket string, key, sealed []byte) ([]byte, error) {
	if len(sealed) < sumSize || !bytes.Equal(sealed[:sumSize], sumOf(bucket, key, sealed[sumSize:])) {
		return nil, store.Damaged("the value of %x in bucket %s does not match its checksum", key, bucket)
	}
	return sealed[sumSize:], nil
}

func keyOf(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// loaded is what a file held when it was opened.
type loaded struct {
	records map[uint64]record
	// clean says that the last supervisor has closed it.
	clean bool
}

// load reads all there is, checks it, and marks the file as in use.
func load(tx *bolt.Tx) (loaded, error) {
	t := transaction{tx}
	var out loaded
	version := 0
	for _, m := range []struct {
		key  string
		into any
	}{{keySchema, &version}, {keyClean, &out.clean}} {
		value, err := t.get(bucketMeta, []byte(m.key))
		if err != nil {
			return out, err
		}
		if err := store.Decode(bucketMeta, m.key, value, m.into); err != nil {
			return out, err
		}
	}
	if version != schema {
		return out, store.Damaged("it has schema version %d, this Penstock knows version %d", version, schema)
	}
	out.records = map[uint64]record{}
	for _, bucket := range []string{bucketCalls, bucketRequests, bucketResults} {
		b, err := t.bucket(bucket)
		if err != nil {
			return out, err
		}
		err = b.ForEach(func(key, sealed []byte) error {
			value, err := unseal(bucket, key, sealed)
			if err == nil && len(key) != seqBytes {
				err = store.Damaged("bucket %s has the key %x", bucket, key)
			}
			if err != nil || bucket != bucketCalls {
				return err
			}
			var r record
			if err := store.Decode(bucket, string(key), value, &r); err != nil {
				return err
			}
			out.records[binary.BigEndian.Uint64(key)] = r
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	return out, t.whole(out.records)
}

// whole says whether every call has what it needs, and nothing is nobody's.
func (t transaction) whole(records map[uint64]record) error {
	for _, bucket := range []string{bucketRequests, bucketResults} {
		b, err := t.bucket(bucket)
		if err != nil {
			return err
		}
		count := 0
		for seq, r := range records {
			needs := bucket == bucketRequests && !r.Call.Status.ended() || bucket == bucketResults && r.AnswerSize > 0
			if !needs {
				continue
			}
			count++
			if b.Get(keyOf(seq)) == nil {
				return store.Damaged("call %s has nothing in bucket %s", r.Call.ID, bucket)
			}
		}
		if found := b.Stats().KeyN; found != count {
			return store.Damaged("bucket %s has %d entries instead of %d", bucket, found, count)
		}
	}
	return nil
}

// message is headers and a body as one value: the number of headers, each of them
// with its value, and the body. They are kept byte for byte, whatever bytes they are.
func message(header http.Header, body []byte) []byte {
	count, size := 0, binary.MaxVarintLen64+len(body)
	for name, values := range header {
		for _, value := range values {
			count++
			size += 2*binary.MaxVarintLen64 + len(name) + len(value)
		}
	}
	out := binary.AppendUvarint(make([]byte, 0, size), uint64(count))
	for name, values := range header {
		for _, value := range values {
			for _, text := range []string{name, value} {
				out = append(binary.AppendUvarint(out, uint64(len(text))), text...)
			}
		}
	}
	return append(out, body...)
}

// apart is the reverse of message.
func apart(bucket string, key, value []byte) (header http.Header, body []byte, err error) {
	short := store.Damaged("the value of %x in bucket %s is too short", key, bucket)
	count, n := binary.Uvarint(value)
	if n <= 0 {
		return nil, nil, short
	}
	value = value[n:]
	header = http.Header{}
	for range count {
		var texts [2]string
		for i := range texts {
			length, n := binary.Uvarint(value)
			if n <= 0 || length > uint64(len(value)-n) {
				return nil, nil, short
			}
			texts[i], value = string(value[n:n+int(length)]), value[n+int(length):]
		}
		header[texts[0]] = append(header[texts[0]], texts[1])
	}
	return header, value, nil
}

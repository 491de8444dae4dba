package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// stateFile is where a supervisor keeps what outlives it.
func stateFile(dataDir string) string { return filepath.Join(dataDir, "state.db") }

// assertStoreEmpty checks that a state file, which no supervisor has open,
// holds nothing but what it says about itself, and returns its size in bytes.
func assertStoreEmpty(t *testing.T, dataDir string) int64 {
	t.Helper()
	info, err := os.Stat(stateFile(dataDir))
	require.NoError(t, err)
	db, err := bolt.Open(stateFile(dataDir), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	var left []string
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			if string(name) == "meta" {
				return nil
			}
			return bucket.ForEach(func(key, _ []byte) error {
				left = append(left, fmt.Sprintf("%s/%s", name, key))
				return nil
			})
		})
	}))
	assert.Empty(t, left, "entries of the state file")
	return info.Size()
}

// definition is what the store has of a stream, as the API tells it.
type definition struct {
	Config         string
	Revision       uint64
	Desired, Level string
}

// definitions asks for what the store has, resources too.
func definitions(t testing.TB, c *client) map[string]definition {
	t.Helper()
	list, err := listStreams(t.Context(), c)
	require.NoError(t, err)
	all := map[string]definition{}
	for id := range list {
		status := mustStatus(t, c, id)
		var detail struct{ Config any }
		c.getJSON(t, "/streams/"+id, &detail)
		all[id] = definition{digest(jsonText(detail.Config)), status.Revision, status.Desired, status.LogLevel}
	}
	all["resources"] = definition{Config: digest(c.expect(t, 200, "GET", "/resources", "").Text())}
	return all
}

// digest is a text that may be long, shortened so that no two are the same.
func digest(text string) string {
	const shown = 200
	if len(text) <= shown {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes, SHA-256 %x)", text[:shown], len(text), sha256.Sum256([]byte(text)))
}

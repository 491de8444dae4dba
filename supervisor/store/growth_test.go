package store

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheFileDoesNotGrowWithoutBound(t *testing.T) {
	t.Parallel()
	path := memoryPath(t)
	s := mustOpen(t, path)
	size := func() int64 {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Size()
	}
	config := strings.Repeat("x", 2000)
	for i := range 20_000 {
		update(t, s, func(tx *Tx) error {
			return errors.Join(tx.PutStream(stream("a", uint64(i), config)), tx.PutRunner("a", runner(i)))
		})
		update(t, s, func(tx *Tx) error { return tx.DeleteStream("a") })
	}
	t.Logf("%d bytes", size())
	assert.LessOrEqual(t, size(), int64(128<<10))
	assert.Empty(t, load(t, s).Streams)
	assert.True(t, librarySaysSound(s))
}

package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestCompactWithoutRoom: a disk that has no room for the copy has the file as
// it was.
func TestCompactWithoutRoom(t *testing.T) {
	dir := mount(t, "40m")
	path := filepath.Join(dir, "calls.db")
	f, err := openValues(path)
	require.NoError(t, err)
	const many, few = 600, 250
	require.NoError(t, putValues(f, many))
	require.NoError(t, keepValues(f, few, many))
	ballast := filepath.Join(dir, "ballast")
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &fs))
	require.NoError(t, os.WriteFile(ballast, make([]byte, int64(fs.Bavail)*fs.Bsize-few*valueSize/2), 0o600))
	before := sizeOf(t, path)
	freed, err := f.Compact()
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrUnwritable)
	assert.Zero(t, freed)
	assert.Equal(t, before, sizeOf(t, path))
	require.NoError(t, holdsValues(f, few))
	require.NoError(t, os.Remove(ballast))
	alone(t, path)
	freed, err = f.Compact()
	require.NoError(t, err)
	assert.Positive(t, freed)
	require.NoError(t, holdsValues(f, few))
	require.NoError(t, f.Shut())
}

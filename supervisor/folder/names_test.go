package folder

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for i := range 2*batch + 1 {
		put(t, dir, fmt.Sprintf("junk-%d", i), "")
	}
	put(t, dir, "b.log", "")
	put(t, dir, "a.log", "")
	require.NoError(t, os.Symlink("a.log", filepath.Join(dir, "link.log")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.log"), 0o700))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.log"), 0o600))
	const entries = 2*batch + 6
	isLog := func(name string) bool { return strings.HasSuffix(name, ".log") }

	for limit, whole := range map[int]bool{entries + 1: true, entries: true, entries - 1: false} {
		names, all, err := Names(dir, limit, isLog)
		require.NoError(t, err)
		assert.Equal(t, whole, all, "limit %d", limit)
		if whole {
			assert.Equal(t, []string{"a.log", "b.log"}, names)
		}
	}
	names, all, err := Names(dir, batch/2, func(string) bool { return true })
	require.NoError(t, err)
	assert.False(t, all)
	assert.LessOrEqual(t, len(names), batch/2)

	names, all, err = Names(t.TempDir(), 0, isLog)
	require.NoError(t, err)
	assert.True(t, all)
	assert.Empty(t, names)
	_, _, err = Names(filepath.Join(dir, "none"), 9, isLog)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	children["limits"] = childLimits
}

// mount mounts a file system of that size and returns its folder.
func mount(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		require.NotEqual(t, "true", os.Getenv("CI"), "mounting takes root")
		t.Skip("mounting takes root")
	}
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// putUntilFull puts streams until there is no space, and returns what was
// acknowledged.
func putUntilFull(s *Store, prefix string) (map[string]Stream, error) {
	acknowledged := map[string]Stream{}
	for i := range 10_000 {
		st := stream(fmt.Sprintf("%s-%d", prefix, i), 1, strings.Repeat("x", 20_000))
		err := s.Update(func(tx *Tx) error { return errors.Join(tx.PutStream(st), tx.PutRunner(st.ID, runner(i))) })
		if err != nil {
			return acknowledged, err
		}
		acknowledged[st.ID] = st
	}
	return nil, errors.New("never full")
}

func TestAFullDisk(t *testing.T) {
	dir := mount(t, "1m")
	path := filepath.Join(dir, "state.db")
	s, err := Open(path)
	require.NoError(t, err)

	acknowledged, err := putUntilFull(s, "first")
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, path)
	require.NotEmpty(t, acknowledged)
	t.Logf("full after %d streams: %v", len(acknowledged), err)
	check := func() {
		t.Helper()
		state := load(t, s)
		assert.Equal(t, acknowledged, state.Streams)
		assert.Len(t, state.Runners, len(acknowledged))
	}
	check()

	// It stays usable: refusing again, reading, and making space by deleting.
	for range 20 {
		err := s.Update(func(tx *Tx) error { return tx.PutStream(stream("large", 1, strings.Repeat("y", 200_000))) })
		require.ErrorIs(t, err, ErrFull)
	}
	check()
	deleted := 0
	for id := range acknowledged {
		err := s.Update(func(tx *Tx) error { return tx.DeleteStream(id) })
		if errors.Is(err, ErrFull) {
			// Not every one fits into the pages that are free.
			check()
			continue
		}
		require.NoError(t, err)
		delete(acknowledged, id)
		if deleted++; deleted == 3 {
			break
		}
	}
	require.Positive(t, deleted, "there is space for a deletion")
	check()
	small := stream("small", 1, "x")
	update(t, s, func(tx *Tx) error { return tx.PutStream(small) })
	acknowledged["small"] = small
	update(t, s, func(tx *Tx) error { return tx.PutRunner("small", runner(1)) })
	check()

	// And it is sound when opened again, full as it is.
	filler := filepath.Join(dir, "filler")
	file, err := os.Create(filler)
	require.NoError(t, err)
	_, err = file.Write(make([]byte, 1<<20))
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, file.Close())
	require.NoError(t, s.Close())
	s, err = Open(path)
	require.NoError(t, err)
	check()

	t.Run("a new store cannot begin on a full disk", func(t *testing.T) {
		_, err := Open(filepath.Join(dir, "other.db"))
		require.ErrorIs(t, err, ErrFull)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 2, "nothing is left of the attempt")
	})

	require.NoError(t, os.Remove(filler))
	more, err := putUntilFull(s, "second")
	require.ErrorIs(t, err, ErrFull)
	for id, st := range more {
		acknowledged[id] = st
	}
	assert.Equal(t, acknowledged, load(t, s).Streams)
	require.NoError(t, s.Close())
	s = mustOpen(t, path)
	assert.Equal(t, acknowledged, load(t, s).Streams)
	assert.True(t, librarySaysSound(s))
}

func TestAReadOnlyFileSystem(t *testing.T) {
	dir := mount(t, "1m")
	path := filepath.Join(dir, "state.db")
	s, err := Open(path)
	require.NoError(t, err)
	fill(t, s, 3, 1, "x")
	require.NoError(t, s.Close())
	before := hashOf(t, path)
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, path := range []string{path, filepath.Join(dir, "new.db")} {
		_, err = Open(path)
		assert.ErrorIs(t, err, ErrUnwritable)
		assert.ErrorIs(t, err, unix.EROFS)
		assert.ErrorContains(t, err, path)
	}
	assert.Equal(t, before, hashOf(t, path))

	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	assert.Len(t, load(t, mustOpen(t, path)).Streams, 3)
}

// Beyond RLIMIT_FSIZE a write is a signal that ends the process.
func TestTheLimitOfFileSizes(t *testing.T) {
	path := statePath(t)
	runChild(t, "limits", path)
	s := mustOpen(t, path)
	state := load(t, s)
	assert.NotContains(t, state.Streams, "kept-0")
	assert.Contains(t, state.Streams, "kept-1")
	assert.Contains(t, state.Streams, "small")
}

func childLimits() error {
	path := os.Getenv("STATE")
	limit := func(bytes uint64) error {
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY})
	}
	if err := limit(8192); err != nil {
		return err
	}
	if _, err := Open(path); !errors.Is(err, ErrFull) || !errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("creating it below the limit: %w", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		return fmt.Errorf("left behind: %v, %w", entries, err)
	}
	if err := limit(1 << 20); err != nil {
		return err
	}
	s, err := Open(path)
	if err != nil {
		return err
	}
	acknowledged, err := putUntilFull(s, "kept")
	if !errors.Is(err, ErrFull) || len(acknowledged) < 3 {
		return fmt.Errorf("after %d streams: %w", len(acknowledged), err)
	}
	if state, err := s.Load(); err != nil || len(state.Streams) != len(acknowledged) {
		return fmt.Errorf("%d streams, acknowledged %d: %w", len(state.Streams), len(acknowledged), err)
	}
	return errors.Join(
		s.Update(func(tx *Tx) error { return tx.DeleteStream("kept-0") }),
		s.Update(func(tx *Tx) error { return tx.PutStream(stream("small", 1, "x")) }),
		s.Close())
}

package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// blocks is what the system says that a file takes up.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	state, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	return state.Blocks * blockSize
}

func TestMeasure(t *testing.T) {
	outside := put(t, t.TempDir(), "big", strings.Repeat("x", 4<<20))
	dir, other := t.TempDir(), t.TempDir()
	sub := filepath.Join(dir, "sub")
	require.NoError(t, os.Mkdir(sub, 0o700))
	want := blocks(t, dir) + blocks(t, sub) + blocks(t, other)
	for _, path := range []string{
		put(t, dir, "a", strings.Repeat("x", 100_000)), put(t, sub, "b", "x"), put(t, sub, "empty", ""),
	} {
		want += blocks(t, path)
	}
	// A file that is all holes has a size and no space.
	require.NoError(t, os.Truncate(put(t, dir, "sparse", ""), 1<<40))
	require.NoError(t, os.Link(filepath.Join(dir, "a"), filepath.Join(sub, "a again")))
	require.NoError(t, os.Link(filepath.Join(dir, "a"), filepath.Join(other, "a again")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link to a folder")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))

	size, err := Measure(t.Context(), dir, other, filepath.Join(dir, "none"))
	require.NoError(t, err)
	assert.Equal(t, Size{Bytes: want, Files: 8}, size)

	size, err = Measure(t.Context())
	require.NoError(t, err)
	assert.Zero(t, size)
	_, err = Measure(t.Context(), outside)
	require.ErrorIs(t, err, unix.ENOTDIR)
}

// nest makes folders within each other, and returns the innermost one, open.
func nest(t *testing.T, dir string, depth int, name string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	for range depth {
		require.NoError(t, unix.Mkdirat(fd, name, 0o700))
		below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		fd = below
	}
	t.Cleanup(func() { require.NoError(t, unix.Close(fd)) })
	return fd
}

// putAt writes a file of so many bytes into an open folder.
func putAt(t *testing.T, dir, bytes int) {
	t.Helper()
	fd, err := unix.Openat(dir, "file", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "file")
	_, err = file.Write(make([]byte, bytes))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func TestDeepFoldersHideNothing(t *testing.T) {
	// No path could name the file: it would be longer than the system takes.
	const depth, bytes = maxDepth - 1, 1 << 20
	dir := t.TempDir()
	putAt(t, nest(t, dir, depth, strings.Repeat("x", 200)), bytes)
	size, err := Measure(t.Context(), dir)
	require.NoError(t, err)
	assert.EqualValues(t, depth+1, size.Files)
	assert.GreaterOrEqual(t, size.Bytes, int64(bytes))

	deeper := t.TempDir()
	put(t, deeper, "seen", strings.Repeat("x", bytes))
	putAt(t, nest(t, deeper, maxDepth+1, "x"), bytes)
	size, err = Measure(t.Context(), deeper)
	require.ErrorIs(t, err, ErrTampered)
	require.ErrorContains(t, err, "nested more than 128 deep")
	assert.GreaterOrEqual(t, size.Bytes, int64(bytes), "the rest is measured all the same")
}

func TestMeasuringWhileFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	stays := put(t, dir, "stays", strings.Repeat("x", 1<<20))
	var stops []func()
	for worker := range 2 {
		stops = append(stops, again(t, func(i int) error {
			name := filepath.Join(dir, fmt.Sprintf("%d-%d", worker, i%50))
			return errors.Join(
				os.Mkdir(name, 0o700), os.WriteFile(filepath.Join(name, "f"), []byte("x"), 0o600), os.RemoveAll(name),
				os.Symlink(dir, name), os.Remove(name),
			)
		}))
	}
	for deadline := time.Now().Add(500 * time.Millisecond); time.Now().Before(deadline); {
		size, err := Measure(t.Context(), dir)
		require.NoError(t, err)
		require.GreaterOrEqual(t, size.Bytes, blocks(t, stays))
		require.Less(t, size.Bytes, int64(4<<20))
	}
	for _, stop := range stops {
		stop()
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "f", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	size, err := Measure(ctx, dir)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, Size{Bytes: blocks(t, dir)}, size, "what was counted by then")
}

func TestMoreLinkedFilesThanAreRemembered(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Link(put(t, dir, "a", "x"), filepath.Join(dir, "b")))
	m := measurement{ctx: t.Context(), buffer: make([]byte, listing), linked: map[inode]struct{}{}}
	for i := range maxLinked {
		m.linked[inode{number: uint64(i)}] = struct{}{}
	}
	require.NoError(t, m.measure(dir))
	require.ErrorIs(t, m.failure, ErrTampered)
	require.ErrorContains(t, m.failure, "more than 1048576 files have several names")
}

// BenchmarkMeasure is a folder of 10,000 files.
func BenchmarkMeasure(b *testing.B) {
	dir := b.TempDir()
	for i := range 100 {
		sub := filepath.Join(dir, fmt.Sprint(i))
		require.NoError(b, os.Mkdir(sub, 0o700))
		for j := range 99 {
			put(b, sub, fmt.Sprintf("message-%05d.json", j), "x")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		size, err := Measure(b.Context(), dir)
		require.NoError(b, err)
		require.EqualValues(b, 10_000, size.Files)
	}
}

package folder

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A lease makes whoever opens a file wait until its holder gives it up.
func TestALeasedFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Open(put(t, dir, "f", "text"))
	require.NoError(t, err)
	defer file.Close()
	_, err = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	require.NoError(t, err)
	_, err = Open(dir, "f")
	require.ErrorIs(t, err, ErrTampered)
	require.ErrorContains(t, err, "lease")
	require.ErrorIs(t, Append(dir, "f", []byte("x")), ErrTampered)
}

func TestAFolderThatCannotBeReadIsTold(t *testing.T) {
	needsRoot(t, "acting as another user")
	dir := t.TempDir()
	put(t, dir, "seen", strings.Repeat("x", 1<<20))
	hidden := filepath.Join(dir, "hidden")
	require.NoError(t, os.Mkdir(hidden, 0o000))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chown(dir, tenant, tenant))

	type result struct {
		size Size
		err  error
	}
	results := make(chan result)
	go func() {
		// The thread ends with the goroutine, and its rights with it.
		runtime.LockOSThread()
		if err := unix.Setfsuid(tenant); err != nil {
			results <- result{err: err}
			return
		}
		size, err := Measure(t.Context(), dir)
		results <- result{size, err}
	}()
	got := <-results
	require.ErrorIs(t, got.err, ErrTampered)
	require.ErrorContains(t, got.err, hidden)
	require.ErrorContains(t, got.err, "make it readable")
	assert.Greater(t, got.size.Bytes, int64(1<<20))
}

// mount mounts something on a new folder in dir.
func mount(t *testing.T, source, dir, name, kind string, flags uintptr) string {
	t.Helper()
	needsRoot(t, "mounting")
	target := filepath.Join(dir, name)
	require.NoError(t, os.Mkdir(target, 0o700))
	require.NoError(t, unix.Mount(source, target, kind, flags, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(target, unix.MNT_DETACH)) })
	return target
}

func TestOtherFileSystemsAreNotMeasured(t *testing.T) {
	dir := t.TempDir()
	put(t, mount(t, "none", dir, "mounted", "tmpfs", 0), "big", strings.Repeat("x", 1<<20))
	size, err := Measure(t.Context(), dir)
	require.NoError(t, err)
	assert.Equal(t, Size{Bytes: blocks(t, dir)}, size)
}

// ownerOf is who a file itself belongs to.
func ownerOf(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	var state unix.Stat_t
	require.NoError(t, unix.Lstat(path, &state))
	return state.Uid, state.Gid
}

func assertOwner(t *testing.T, want uint32, paths ...string) {
	t.Helper()
	for _, path := range paths {
		uid, gid := ownerOf(t, path)
		assert.Equal(t, want, uid, path)
		assert.Equal(t, want, gid, path)
	}
}

func TestOwn(t *testing.T) {
	needsRoot(t, "giving files away")
	outside := put(t, t.TempDir(), "secret", secret)
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	require.NoError(t, os.Mkdir(sub, 0o000))
	file, deep := put(t, dir, "f", "x"), put(t, sub, "f", "x")
	require.NoError(t, os.Chmod(file, 0o4755|os.ModeSetuid))
	link, folderLink, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "link to a folder"), filepath.Join(sub, "pipe")
	require.NoError(t, os.Symlink(outside, link))
	require.NoError(t, os.Symlink(filepath.Dir(outside), folderLink))
	require.NoError(t, unix.Mkfifo(pipe, 0o600))

	require.NoError(t, Own(dir, tenant, tenant))
	assertOwner(t, tenant, dir, sub, file, deep, link, folderLink, pipe)
	assertOwner(t, 0, outside, filepath.Dir(outside))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Zero(t, info.Mode()&os.ModeSetuid, "a stream's program must not run as the next owner")

	// Nothing is looked at any more.
	require.NoError(t, os.Chown(file, tenant+1, tenant+1))
	require.NoError(t, Own(dir, tenant, tenant))
	assertOwner(t, tenant+1, file)
	require.NoError(t, Own(dir, tenant+1, tenant+1))
	assertOwner(t, tenant+1, dir, sub, file, deep)
}

func TestWhatIsNotGivenAway(t *testing.T) {
	needsRoot(t, "giving files away")
	for name, c := range map[string]struct {
		says string
		put  func(t *testing.T, dir, outside string)
	}{
		"a hard link to another's file": {"hard links", func(t *testing.T, dir, outside string) {
			require.NoError(t, os.Link(outside, filepath.Join(dir, "f")))
		}},
		"a file of another user": {"it belongs to user 4712", func(t *testing.T, dir, _ string) {
			require.NoError(t, os.Chown(put(t, dir, "f", "x"), tenant+1, tenant+1))
		}},
		"a device": {"it is a device", func(t *testing.T, dir, _ string) {
			require.NoError(t, unix.Mknod(filepath.Join(dir, "f"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 200))))
		}},
		"folders that do not end": {"nested more than 128 deep", func(t *testing.T, dir, _ string) {
			nest(t, dir, maxDepth+1, "x")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			// On the same file system, as a hard link takes.
			outside := put(t, t.TempDir(), "secret", secret)
			dir := t.TempDir()
			c.put(t, dir, outside)
			err := Own(dir, tenant, tenant)
			require.ErrorIs(t, err, ErrTampered)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, dir)
			assertOwner(t, 0, outside, dir)

			// Once that is mended, the rest of it is done.
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "f")))
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "x")))
			require.NoError(t, Own(dir, tenant, tenant))
			assertOwner(t, tenant, dir)
		})
	}
}

func TestAHardLinkToAFileOfTheNewOwnerIsLeft(t *testing.T) {
	needsRoot(t, "giving files away")
	dir := t.TempDir()
	file := put(t, dir, "f", "x")
	require.NoError(t, os.Link(file, filepath.Join(dir, "g")))
	require.NoError(t, os.Chown(file, tenant, tenant))
	require.NoError(t, Own(dir, tenant, tenant))
	assertOwner(t, tenant, dir, file)
}

func TestMountsAreNotGivenAway(t *testing.T) {
	outside := t.TempDir()
	secret := put(t, outside, "secret", secret)
	dir := t.TempDir()
	file := put(t, dir, "f", "x")
	other := mount(t, "none", dir, "other file system", "tmpfs", 0)
	inOther := put(t, other, "f", "x")
	// Of the same file system, so that no device number tells it.
	bound := mount(t, outside, dir, "bound", "", unix.MS_BIND)
	require.NoError(t, Own(dir, tenant, tenant))
	assertOwner(t, tenant, dir, file)
	assertOwner(t, 0, other, inOther, bound, outside, secret)
}

func TestOwnOfWhatIsNoFolder(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "f", "x")
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "link")))
	require.ErrorIs(t, Own(filepath.Join(dir, "none"), tenant, tenant), os.ErrNotExist)
	require.ErrorIs(t, Own(filepath.Join(dir, "f"), tenant, tenant), unix.ENOTDIR)
	require.ErrorIs(t, Own(filepath.Join(dir, "link"), tenant, tenant), unix.ENOTDIR)
}

// A process that was left over links another's file and takes the link away all
// the time, so that the file has a single name again while it is looked at.
func TestAFileThatIsLinkedForAMomentIsNotGivenAway(t *testing.T) {
	needsRoot(t, "giving files away")
	outside := put(t, t.TempDir(), "secret", secret)
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	stop := again(t, func(int) error { return errors.Join(os.Link(outside, path), os.Remove(path)) })
	refused, given := 0, 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		require.NoError(t, os.Chown(dir, tenant+1, tenant+1))
		if err := Own(dir, tenant, tenant); err != nil {
			require.ErrorIs(t, err, ErrTampered)
			refused++
			continue
		}
		given++
	}
	stop()
	assertOwner(t, 0, outside)
	assert.Positive(t, refused)
	assert.Positive(t, given)
}

package folder

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	secret = "the host's secret"
	tenant = 4711
)

// traps are what a stream can put in the place of a file, and what is said of
// each. The secret is a file outside of the folder.
var traps = map[string]struct {
	says string
	put  func(t *testing.T, path, secret string)
}{
	"link": {"it is a symbolic link", func(t *testing.T, path, secret string) {
		require.NoError(t, os.Symlink(secret, path))
	}},
	"relative link": {"it is a symbolic link", func(t *testing.T, path, secret string) {
		relative, err := filepath.Rel(filepath.Dir(path), secret)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(relative, path))
	}},
	"link within the folder": {"it is a symbolic link", func(t *testing.T, path, _ string) {
		put(t, filepath.Dir(path), "neighbour", secret)
		require.NoError(t, os.Symlink("neighbour", path))
	}},
	"link to nothing": {"it is a symbolic link", func(t *testing.T, path, _ string) {
		require.NoError(t, os.Symlink("nothing", path))
	}},
	"link to a descriptor": {"it is a symbolic link", func(t *testing.T, path, _ string) {
		require.NoError(t, os.Symlink("/proc/self/fd/0", path))
	}},
	"pipe": {"it is a named pipe", func(t *testing.T, path, _ string) {
		require.NoError(t, syscall.Mkfifo(path, 0o600))
	}},
	"socket": {"it is a socket", func(t *testing.T, path, _ string) {
		// Its path may be too long for a socket's.
		t.Chdir(filepath.Dir(path))
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Base(path))
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, l.Close()) })
	}},
	"folder": {"it is a folder", func(t *testing.T, path, _ string) {
		require.NoError(t, os.Mkdir(path, 0o700))
	}},
	"device": {"it is a device", func(t *testing.T, path, _ string) {
		needsRoot(t, "making a device")
		// As /dev/zero is, which has no end.
		require.NoError(t, syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|5))
	}},
	"hard link to another's file": {"it belongs to user 0, not to the folder's, 4711", func(t *testing.T, path, secret string) {
		needsRoot(t, "giving a folder to another user")
		require.NoError(t, os.Link(secret, path))
		require.NoError(t, os.Chown(filepath.Dir(path), tenant, tenant))
	}},
}

func TestTrapsAreRefused(t *testing.T) {
	for name, trap := range traps {
		for what, do := range map[string]func(dir, name string) error{
			"open":   func(dir, name string) error { _, err := Open(dir, name); return err },
			"read":   func(dir, name string) error { _, err := Read(dir, name, 1<<20); return err },
			"append": func(dir, name string) error { return Append(dir, name, []byte("more")) },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				outside := put(t, t.TempDir(), "secret", secret)
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				trap.put(t, path, outside)

				done := make(chan error, 1)
				go func() { done <- do(dir, "f") }()
				select {
				case err := <-done:
					require.ErrorIs(t, err, ErrTampered)
					assert.ErrorContains(t, err, path)
					assert.ErrorContains(t, err, trap.says)
					assert.ErrorContains(t, err, "remove it")
				case <-time.After(20 * time.Second):
					require.FailNow(t, "it made the caller wait")
				}
				assert.Equal(t, secret, text(t, outside))
				assert.NoFileExists(t, filepath.Join(dir, "nothing"))
			})
		}
	}
}

func TestRegularFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "f", "text")
	file, err := Open(dir, "f")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "f"), file.Name())
	require.NoError(t, file.Close())

	for max, fits := range map[int64]bool{3: false, 4: true, 5: true} {
		data, err := Read(dir, "f", max)
		if !fits {
			require.ErrorIs(t, err, ErrTampered)
			assert.ErrorContains(t, err, "larger than 3 bytes")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, "text", string(data))
	}
	// A second name for a file of the stream's own is its own business.
	require.NoError(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "g")))
	data, err := Read(dir, "g", 4)
	require.NoError(t, err)
	assert.Equal(t, "text", string(data))
}

func TestWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "f", "text")
	for name, c := range map[string]struct {
		dir, name string
		want      error
	}{
		"no file":            {dir, "none", fs.ErrNotExist},
		"no folder":          {filepath.Join(dir, "none"), "f", fs.ErrNotExist},
		"a file as a folder": {filepath.Join(dir, "f"), "f", syscall.ENOTDIR},
		"no name":            {dir, "", fs.ErrInvalid},
		"the folder itself":  {dir, ".", fs.ErrInvalid},
		"above":              {dir, "..", fs.ErrInvalid},
		"a path":             {dir, "../" + filepath.Base(dir) + "/f", fs.ErrInvalid},
		"a zero byte":        {dir, "f\x00", fs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.dir, c.name)
			require.ErrorIs(t, err, c.want)
			_, err = Read(c.dir, c.name, 9)
			require.ErrorIs(t, err, c.want)
			if name != "no file" {
				require.ErrorIs(t, Append(c.dir, c.name, nil), c.want)
			}
		})
	}
}

func TestAppend(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, Append(dir, "f", []byte("one\n")))
	require.NoError(t, Append(dir, "f", []byte("two\n")))
	assert.Equal(t, "one\ntwo\n", text(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())

	// Even to a file of the stream's own.
	require.NoError(t, os.Link(path, filepath.Join(dir, "g")))
	err = Append(dir, "f", []byte("three\n"))
	require.ErrorIs(t, err, ErrTampered)
	require.ErrorContains(t, err, "hard links")
	assert.Equal(t, "one\ntwo\n", text(t, path))
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	file, err := Create(dir, "f")
	require.NoError(t, err)
	_, err = file.WriteString("one")
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file.Name(), 0))
	_, err = file.WriteString("two")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	assert.Equal(t, "two", text(t, filepath.Join(dir, "f")), "it is added to the end")

	outside := filepath.Join(t.TempDir(), "nothing")
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	for name, want := range map[string]error{"f": fs.ErrExist, "link": fs.ErrExist, "..": fs.ErrInvalid, "a/b": fs.ErrInvalid} {
		_, err = Create(dir, name)
		require.ErrorIs(t, err, want, name)
	}
	assert.NoFileExists(t, outside)
}

func TestWhatIsMadeBelongsToTheStream(t *testing.T) {
	needsRoot(t, "giving a folder to another user")
	dir := t.TempDir()
	require.NoError(t, os.Chown(dir, tenant, tenant+1))
	require.NoError(t, Append(dir, "f", []byte("last words")))
	file, err := Create(dir, "g")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	for _, name := range []string{"f", "g"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		state, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		assert.EqualValues(t, tenant, state.Uid)
		assert.EqualValues(t, tenant+1, state.Gid)
		assert.Equal(t, fs.FileMode(0o600), info.Mode())
	}
}

// A stream replaces the file all the time. Whatever the moment, its own text is
// read or nothing is, and nothing is written but to its own files.
func TestAFileThatIsReplacedAllTheTime(t *testing.T) {
	needsRoot(t, "giving files to another user")
	outside := put(t, t.TempDir(), "secret", secret)
	dir := t.TempDir()
	require.NoError(t, os.Chown(dir, tenant, tenant))
	path := filepath.Join(dir, "f")
	mine := func(temp string) error {
		return errors.Join(os.WriteFile(temp, []byte("mine"), 0o600), os.Chown(temp, tenant, tenant))
	}
	makers := []func(temp string) error{
		mine,
		func(temp string) error { return os.Symlink(outside, temp) },
		mine,
		func(temp string) error { return syscall.Mkfifo(temp, 0o600) },
		mine,
		func(temp string) error { return os.Link(outside, temp) },
	}
	stop := again(t, func(i int) error {
		temp := filepath.Join(dir, "temp")
		return errors.Join(makers[i%len(makers)](temp), os.Rename(temp, path))
	})
	read, refused := 0, 0
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		err := Append(dir, "f", []byte("!"))
		require.True(t, err == nil || errors.Is(err, ErrTampered), "%v", err)
		data, err := Read(dir, "f", 1<<10)
		if err != nil {
			require.ErrorIs(t, err, ErrTampered)
			refused++
			continue
		}
		require.Regexp(t, "^(mine)?!*$", string(data))
		read++
	}
	stop()
	assert.Equal(t, secret, text(t, outside))
	assert.Positive(t, read)
	assert.Positive(t, refused)
}

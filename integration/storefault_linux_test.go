package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mounted makes a mount point of dir, which is made when it is missing, until
// the returned function is called or the test ends. As root it is an error not
// to be able to, unless the system forbids it to root as well.
func mounted(t *testing.T, dir string, mount func() error) (unmount func()) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	if err := mount(); errors.Is(err, syscall.EPERM) {
		t.Skipf("mounting file systems is not permitted here: %v", err)
	} else {
		require.NoError(t, err)
	}
	done := false
	unmount = func() {
		if !done {
			done = true
			// Who has files open there keeps them.
			assert.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH))
		}
	}
	t.Cleanup(unmount)
	return unmount
}

// mountTmpfs mounts an empty file system that is bounded by options, as
// size=1m,nr_inodes=100.
func mountTmpfs(t *testing.T, dir, options string) (unmount func()) {
	t.Helper()
	return mounted(t, dir, func() error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, options) })
}

// mountReadOnly makes what is below dir read-only for everything that is
// opened from now on. What is open for writing stays so.
func mountReadOnly(t *testing.T, dir string) (unmount func()) {
	t.Helper()
	return mounted(t, dir, func() error {
		if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
		return syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
	})
}

// fillDisk takes all the space below dir and returns what gives it back.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	require.NoError(t, err)
	for chunk := 1 << 20; chunk > 0; {
		_, err := file.Write(make([]byte, chunk))
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			chunk /= 2
		}
	}
	require.NoError(t, file.Close())
	return func() { require.NoError(t, os.Remove(path)) }
}

// fillInodes takes all the names there may be below dir and returns what gives
// them back.
func fillInodes(t *testing.T, dir string) (free func()) {
	t.Helper()
	var fillers []string
	for {
		file, err := os.CreateTemp(dir, "filler")
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
		require.NoError(t, file.Close())
		fillers = append(fillers, file.Name())
	}
	return func() {
		for _, path := range fillers {
			require.NoError(t, os.Remove(path))
		}
	}
}

// echoOfSize is echo with a config that is longer by size bytes.
func echoOfSize(tag string, size int) string {
	return strings.Replace(echo(tag), "content().string()'", `content().string() + "`+strings.Repeat("x", size)+`".slice(0, 0)'`, 1)
}

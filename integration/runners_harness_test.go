package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// otherRunners are those that are modules of their own.
var otherRunners = []string{"messaging", "connect"}

// errNotBuilt is that nobody has built the large runners here.
var errNotBuilt = errors.New("the other runners are not built: `make build-messaging build-connect` does")

// connected builds all runners, once, and returns the path of the core runner,
// which has the others beside it.
var connected = sync.OnceValues(func() (string, error) {
	bin, err := product()
	if err != nil {
		return "", err
	}
	built := os.Getenv(binEnv)
	if built == "" {
		built = filepath.Join("..", "bin")
		if err := makeRunners(built); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(workDir, "connected")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	core := filepath.Join(dir, "penstock-runner")
	err = putBinary(bin.Runner, core)
	for _, name := range otherRunners {
		err = errors.Join(err, putBinary(filepath.Join(built, "penstock-runner-"+name), core+"-"+name))
	}
	return core, err
})

// makeRunners has make build the other runners into the folder, which takes minutes
// the first time: only CI does so unasked.
func makeRunners(dir string) error {
	targets := []string{"-s", "-C", ".."}
	for _, name := range otherRunners {
		_, err := os.Stat(filepath.Join(dir, "penstock-runner-"+name))
		if err != nil && os.Getenv("CI") != "true" {
			return errNotBuilt
		}
		targets = append(targets, "build-"+name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", targets...)
	cmd.Env = outsideMake()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %v: %w\n%s", targets, err, out)
	}
	return nil
}

// putBinary puts a binary into a place, without a copy where that is possible.
func putBinary(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return replaceFile(from, to)
}

// replaceFile puts a copy of a binary in the place of another, at once.
func replaceFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	copied, err := os.OpenFile(to+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, source)
	if err = errors.Join(err, copied.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// allRunners is the path of a core runner with all others beside it. Where they
// are not built the test is skipped, but not in CI.
func allRunners(t testing.TB) string {
	t.Helper()
	core, err := connected()
	if errors.Is(err, errNotBuilt) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return core
}

// runnersOf is a folder of the test's own with the core runner and those of the
// others that are named; it returns the path of the core runner.
func runnersOf(t testing.TB, names ...string) string {
	t.Helper()
	all := allRunners(t)
	dir, err := os.MkdirTemp("", "penstock-bin-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	core := filepath.Join(dir, "penstock-runner")
	require.NoError(t, putBinary(all, core))
	for _, name := range names {
		require.NoError(t, putBinary(all+"-"+name, core+"-"+name))
	}
	return core
}

// startConnected starts a server with the runners of all connectors.
func startConnected(t testing.TB, args ...string) *penstock {
	t.Helper()
	return startPenstock(t, append([]string{"--runner", allRunners(t)}, args...)...)
}

// assertRunner checks which runner a stream has.
func assertRunner(t testing.TB, c *client, id, runner string) {
	t.Helper()
	assert.Equal(t, runner, mustStatus(t, c, id).Runner, "the runner of stream %s", id)
}

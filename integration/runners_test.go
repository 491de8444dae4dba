package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// messagingRunner returns penstock-runner-messaging, beside the other binaries
// under test. It is built once.
func messagingRunner(t testing.TB) string {
	t.Helper()
	name, err := messagingBinary()
	require.NoError(t, err)
	return name
}

// connectRunner is messagingRunner for penstock-runner-connect.
func connectRunner(t testing.TB) string {
	t.Helper()
	name, err := connectBinary()
	require.NoError(t, err)
	return name
}

var (
	messagingBinary = sync.OnceValues(func() (string, error) { return makeRunner("messaging") })
	connectBinary   = sync.OnceValues(func() (string, error) { return makeRunner("connect") })
)

// makeRunner has make build a runner, which has nothing to do after the `make
// test` that built it, and links it into workDir: wholly there or not at all,
// since supervisors of other tests look into that folder.
func makeRunner(name string) (string, error) {
	binary := "penstock-runner-" + name
	if dir := os.Getenv(binEnv); dir != "" {
		return filepath.Join(dir, binary), nil
	}
	cmd := exec.Command("make", "build-"+name)
	cmd.Dir = repo
	cmd.Env = outsideMake()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build-%s: %w\n%s", name, err, out)
	}
	to := filepath.Join(workDir, binary)
	return to, linkOrCopy(filepath.Join(repo, "bin", binary), to)
}

// linkOrCopy makes a file be at another path too, by a copy where the folders are
// not of one file system.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	aside := to + ".new"
	if err := os.WriteFile(aside, text, 0o755); err != nil {
		return err
	}
	return os.Rename(aside, to)
}

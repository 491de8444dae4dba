package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// raceEnv, when "1", has the tests run a supervisor built with the race
// detector; a race it reports fails the test that started it.
const raceEnv = "PENSTOCK_RACE"

// binEnv names a folder whose binaries are tested as they are, where there is
// no Go to build them: in the guest of scripts/cgroup2-guest.sh.
const binEnv = "PENSTOCK_TEST_BIN"

// buildTimeout bounds a build, which on empty caches compiles the engine.
const buildTimeout = 15 * time.Minute

// workDir holds the binaries under test and is removed when the tests end.
var workDir string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "penstock-it-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	workDir = dir
	if err := os.Setenv(intervalEnv, intervalValue); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer dropCgroups()
	return m.Run()
}

// product builds penstock and penstock-runner as they are shipped, once.
var product = sync.OnceValues(func() (bin struct{ Penstock, Runner string }, err error) {
	if dir := os.Getenv(binEnv); dir != "" {
		bin.Penstock, bin.Runner = filepath.Join(dir, "penstock"), filepath.Join(dir, "penstock-runner")
		return bin, nil
	}
	bin.Penstock = filepath.Join(workDir, "penstock")
	bin.Runner = filepath.Join(workDir, "penstock-runner")
	if err = build(workDir, nil, "penstock/cmd/penstock", "penstock/cmd/penstock-launch", "penstock/cmd/penstock-runner"); err != nil {
		return bin, err
	}
	if os.Getenv(raceEnv) == "1" {
		bin.Penstock = filepath.Join(workDir, "race", "penstock")
		dir := filepath.Dir(bin.Penstock)
		// The launcher is looked for beside it.
		err = errors.Join(build(dir, []string{"-race"}, "penstock/cmd/penstock"), build(dir, nil, "penstock/cmd/penstock-launch"))
	}
	return bin, err
})

// reference builds upstream's streams mode, once.
var reference = sync.OnceValues(func() (string, error) {
	return filepath.Join(workDir, "reference"), build(workDir, nil, "penstock/integration/reference")
})

// build compiles packages into the folder dir.
func build(dir string, flags []string, packages ...string) error {
	return buildIn("", dir, flags, packages...)
}

// buildIn is build for packages of the module in a folder below this one, "" for
// the main module.
func buildIn(module, dir string, flags []string, packages ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cgo := "CGO_ENABLED=0"
	if len(flags) > 0 {
		cgo = "CGO_ENABLED=1"
	}
	args := append([]string{"build", "-trimpath", "-o", dir + string(filepath.Separator)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w\n%s", packages, err, out)
	}
	return nil
}

// errHopeless, wrapped by a condition, ends the wait for it at once.
var errHopeless = errors.New("waiting is of no use")

// await asks cond again and again until it returns nil; what says what is
// waited for. After timeout, or once cond returns errHopeless, the test fails
// with cond's last error.
func await(t testing.TB, timeout time.Duration, what string, cond func() error) {
	t.Helper()
	require.NoError(t, poll(timeout, cond), "waiting %s for %s", timeout, what)
}

// poll is await for goroutines that may not end the test: it returns cond's
// last error when timeout is over.
func poll(timeout time.Duration, cond func() error) error {
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil || errors.Is(err, errHopeless) || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

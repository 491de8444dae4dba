package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// launcher is cmd/penstock-launch as it was built for these tests.
var launcher string

// inside is the first argument of this test binary when it runs as the program
// of a plan. It is no environment variable: a plan's environment is exact.
const inside = "inside"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == inside {
		os.Exit(runInside(os.Args[2:]))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sandbox-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// The launcher is executed by users who may not enter a folder of root's.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	launcher = filepath.Join(dir, "penstock-launch")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", launcher, "penstock/cmd/penstock-launch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the launcher: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needRoot skips a test that only root can run. In CI it must run.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root, and in CI it must run")
	}
	t.Skip("needs root")
}

// tenant is the user of strict plans, neighbour another one.
const (
	tenant    = 200001
	neighbour = 200002
)

// folder makes a folder of its own for a user. It is not t.TempDir, whose
// parents are closed to others.
func folder(t *testing.T, uid int) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chown(dir, uid, uid))
	return dir
}

// strictPlan runs this test binary as tenant, with a folder of its own as the
// working directory.
func strictPlan(t *testing.T, args ...string) Plan {
	t.Helper()
	needRoot(t)
	own := folder(t, tenant)
	plan := plainPlan(t, args...)
	plan.WorkDir = own
	plan.Strict = &Strict{
		UID: tenant, GID: tenant, Hostname: "stream-1", Mount: folder(t, 0),
		Write: []string{own}, TmpBytes: 1 << 20,
	}
	return plan
}

// plainPlan runs this test binary without any confinement.
func plainPlan(t *testing.T, args ...string) Plan {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return Plan{Program: self, Args: append([]string{"program", inside}, args...), Env: []string{noSleep}}
}

// noSleep keeps the race detector from waiting a second at a program's end.
const noSleep = "GORACE=atexit_sleep_ms=0"

// run starts a plan and returns what it printed, and how it ended.
func run(t *testing.T, plan Plan) (stdout, stderr string, err error) {
	t.Helper()
	cmd, done, err := plan.Command(launcher)
	require.NoError(t, err)
	defer done()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	// A program that hangs must not hang the tests.
	cmd.WaitDelay = 10 * time.Second
	if plan.Strict != nil && len(plan.Strict.Vacant) > 0 {
		return runAssigned(t, cmd, plan)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err = cmd.Run()
	return out.String(), said.String(), err
}

// report runs a plan whose program prints JSON.
func report[T any](t *testing.T, plan Plan) T {
	t.Helper()
	stdout, stderr, err := run(t, plan)
	require.NoError(t, err, stderr)
	var value T
	require.NoError(t, json.Unmarshal([]byte(stdout), &value), stdout)
	return value
}

// runInside is what this binary does as the program of a plan.
func runInside(args []string) int {
	var result any
	switch args[0] {
	case "attempts":
		result = tryAll(args[1], args[2:])
	case "self":
		result = readSelf()
	case "check":
		result = checkInside(args[1], len(args) > 2)
	case "paths":
		result = tryPaths(args[1:])
	case "mounts":
		text, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			result = err.Error()
			break
		}
		result = strings.Split(strings.TrimSpace(string(text)), "\n")
	case becoming:
		if err := becomeTenant(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return runInside(args[2:])
	case "killed":
		result = outcome(killed[args[1]]())
	case "serve":
		return serve(args[1:])
	default:
		fmt.Fprintln(os.Stderr, "unknown:", strings.Join(args, " "))
		return 2
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

package integration

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// guestTimeout bounds the whole of TestCgroup2: on a machine that has none of
// it, qemu and a kernel are fetched and the tests compiled first.
const guestTimeout = 10 * time.Minute

// guestCannotRun is the script's exit status where it lacks something that it
// may not install.
const guestCannotRun = 77

// TestCgroup2 is `make test-cgroup2`: the tests that need cgroup v2, in a
// virtual machine. Each test that ran there is a subtest here.
func TestCgroup2(t *testing.T) {
	bin, err := product()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), guestTimeout)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "scripts/cgroup2-guest.sh")
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), binEnv+"="+filepath.Dir(bin.Runner), "TMPDIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = &said, &said
	// The emulator belongs to the script's process group and ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()

	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == guestCannotRun && os.Getenv("CI") != "true" {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		t.Skip(lines[len(lines)-1])
	}
	results := regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`).FindAllStringSubmatch(said.String(), -1)
	for _, result := range results {
		t.Run(result[2], func(t *testing.T) {
			assert.Equal(t, "PASS", result[1], "%s", saidOf(result[2], said.String()))
		})
	}
	require.NoError(t, err, "%s", &said)
	assert.NotEmpty(t, results, "%s", &said)
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "guest: ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// saidOf is what a test of the guest wrote: with -v, that follows a line with the
// test's name, until a line with another's.
func saidOf(test, said string) string {
	var of strings.Builder
	within := false
	for line := range strings.Lines(said) {
		if fields := strings.Fields(line); len(fields) > 1 && (fields[0] == "===" || fields[0] == "---") {
			within = fields[0] == "===" && len(fields) > 2 && fields[2] == test
		} else if within {
			of.WriteString(line)
		}
	}
	return of.String()
}

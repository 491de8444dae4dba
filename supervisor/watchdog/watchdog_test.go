package watchdog_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"penstock/supervisor/watchdog"
)

// hogVariable makes the test binary a process that takes so many MiB, or one
// whose child does.
const hogVariable = "PENSTOCK_TEST_HOG"

const patience = time.Minute

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(hogVariable); ok {
		hog(text)
	}
	goleak.VerifyTestMain(m)
}

// hog says that it is ready, and takes its memory once its input ends.
func hog(text string) {
	if text == "child" {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{hogVariable + "=96"}
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		_ = cmd.Run()
		os.Exit(0)
	}
	megabytes, err := strconv.Atoi(text)
	if err != nil {
		os.Exit(2)
	}
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin)
	taken := make([]byte, megabytes<<20)
	for i := range taken {
		taken[i] = 1
	}
	time.Sleep(patience)
	os.Exit(int(taken[0]))
}

func startHog(t *testing.T, text string) (cmd *exec.Cmd, take func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = []string{hogVariable + "=" + text}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return cmd, func() { assert.NoError(t, in.Close()) }
}

func TestMemory(t *testing.T) {
	for _, what := range []string{"96", "child"} {
		t.Run(what, func(t *testing.T) {
			cmd, take := startHog(t, what)
			var memory watchdog.Memory
			const limit = 64 << 20
			exceeded := make(chan uint64, 100)
			w := memory.Watch(cmd.Process.Pid, limit, func(used, of uint64) {
				assert.EqualValues(t, limit, of)
				exceeded <- used
			})
			defer w.Stop()
			require.Eventually(t, func() bool { return w.Used() > 0 }, patience, 10*time.Millisecond)
			assert.Empty(t, exceeded, "it has taken nothing yet")
			take()
			select {
			case used := <-exceeded:
				assert.Greater(t, used, uint64(limit))
				assert.GreaterOrEqual(t, w.Peak(), used)
			case <-time.After(patience):
				require.Fail(t, "nobody has noticed")
			}
			w.SetLimit(0)
		})
	}
}

func TestMemoryWithoutLimit(t *testing.T) {
	var memory watchdog.Memory
	w := memory.Watch(os.Getpid(), 0, func(uint64, uint64) { t.Error("there is no limit") })
	require.Eventually(t, func() bool { return w.Peak() > 0 }, patience, 10*time.Millisecond)
	w.Stop()
	w.Stop()
}

func TestDisk(t *testing.T) {
	const limit = 1 << 20
	for name, fill := range map[string]func(dir string) error{
		"one file": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "big"), make([]byte, 2*limit), 0o600)
		},
		"empty files": func(dir string) error {
			for i := range limit/4096 + 1 {
				if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		"deep folders": func(dir string) error {
			path := dir
			for range 200 {
				path = filepath.Join(path, "d")
			}
			return os.MkdirAll(path, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := t.TempDir(), t.TempDir()
			exceeded := make(chan struct{}, 1000)
			d := watchdog.WatchDisk(limit, func() int64 { return 0 }, func(_, of int64) {
				assert.EqualValues(t, limit, of)
				exceeded <- struct{}{}
			}, first, second)
			defer d.Stop()
			require.Eventually(t, func() bool { return d.Used() > 0 }, patience, 10*time.Millisecond)
			require.Empty(t, exceeded)
			require.NoError(t, fill(second))
			select {
			case <-exceeded:
			case <-time.After(patience):
				require.Fail(t, "nobody has noticed")
			}
		})
	}
}

// TestDiskSpareRemoved: what is spared and removed while the folders are being
// measured is nobody's excess.
func TestDiskSpareRemoved(t *testing.T) {
	const limit = 1 << 20
	dir := t.TempDir()
	spared := filepath.Join(dir, "spared")
	looks := make(chan struct{}, 1000)
	w := watchdog.WatchDisk(limit, func() int64 {
		// There as the folder is measured, and gone when it has been.
		if _, err := os.Stat(spared); err == nil {
			assert.NoError(t, os.Remove(spared))
			looks <- struct{}{}
			return 0
		}
		assert.NoError(t, os.WriteFile(spared, make([]byte, 2*limit), 0o600))
		return 2 * limit
	}, func(used, _ int64) { t.Errorf("%d bytes are too many", used) }, dir)
	defer w.Stop()
	for range 2 {
		select {
		case <-looks:
		case <-time.After(patience):
			require.Fail(t, "nobody looks")
		}
	}
}

package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal is a pseudoterminal that a command runs at.
type terminal struct {
	keys   *os.File
	exited chan struct{}

	mu     sync.Mutex
	screen bytes.Buffer
}

// startInTerminal starts a command as a shell at a terminal does: it leads the
// foreground, so that the keys' signals reach it and all its children.
func startInTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	line, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	line.Close()
	require.NoError(t, err)

	term := &terminal{keys: keys, exited: make(chan struct{})}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		// It ends with an error once nobody has the other side open.
		_, _ = io.Copy(term, keys)
	}()
	go func() {
		_ = cmd.Wait()
		close(term.exited)
	}()
	t.Cleanup(func() {
		// The session's group: make, its shell and the server.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-term.exited
		<-drained
		keys.Close()
		if t.Failed() {
			t.Logf("the terminal showed:\n%s", term.shown())
		}
	})
	return term
}

// Write implements io.Writer for what appears on the screen.
func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.Write(p)
}

func (term *terminal) shown() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

func (term *terminal) write(t *testing.T, keys string) {
	t.Helper()
	_, err := io.WriteString(term.keys, keys)
	require.NoError(t, err)
}

// curlPath is the PATH to run curl lines with. Where there is no curl it
// begins with a folder in which this test's own binary goes by that name.
func curlPath(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err == nil {
		return os.Getenv("PATH")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(dir, "curl")))
	return dir + ":" + os.Getenv("PATH")
}

// The binary of the tests is curl when it is called so.
func init() {
	if filepath.Base(os.Args[0]) != "curl" {
		return
	}
	if err := curl(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// curl does what the curl lines of the examples need: a GET, or with -d a POST
// of a form, whose answer is printed.
func curl(args []string) error {
	var target, body string
	method, header := http.MethodGet, http.Header{}
	for len(args) > 0 {
		flag, rest := args[0], args[1:]
		switch {
		case flag == "-d" && len(rest) > 0:
			method, body, rest = http.MethodPost, rest[0], rest[1:]
			header.Set("Content-Type", "application/x-www-form-urlencoded")
		case strings.HasPrefix(flag, "http://"):
			target = flag
		case flag != "--fail":
			return fmt.Errorf("unknown argument %q", flag)
		}
		args = rest
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the answer is %s", res.Status)
	}
	_, err = io.Copy(os.Stdout, res.Body)
	return err
}

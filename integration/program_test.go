package integration

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serverTimeout bounds the start of somebody else's server: rabbitmq's takes
// half a minute where all tests run at once.
const serverTimeout = 2 * time.Minute

// program is a server of somebody else, which a test starts. Nothing of it is
// left when the test ends.
type program struct {
	Path      string
	Args, Env []string
	// Dir is its folder, which its command line or its environment names: that
	// tells all its processes from others.
	Dir string
	// User is who runs it; nil is who runs the tests.
	User *syscall.Credential
	// End is the signal that ends it, SIGTERM when it is not set.
	End syscall.Signal
}

// running is a program that was started.
type running struct {
	program
	// Said is what it writes to standard output, if that was asked for.
	Said io.Reader

	cmd    *exec.Cmd
	input  io.Closer
	log    string
	exited chan struct{}
}

// start starts the program. What it writes is shown when the test fails.
func (p program) start(t testing.TB, said bool) *running {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(p.Path)+".log"))
	require.NoError(t, err)
	defer log.Close()
	r := &running{program: p, log: log.Name(), exited: make(chan struct{})}
	r.cmd = exec.Command(p.Path, p.Args...)
	r.cmd.Dir, r.cmd.Stderr = p.Dir, log
	r.cmd.Env = append(append(os.Environ(), "HOME="+p.Dir), p.Env...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.User}
	if said {
		r.Said, err = r.cmd.StdoutPipe()
		require.NoError(t, err)
	} else {
		r.cmd.Stdout = log
	}
	r.input, err = r.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, r.cmd.Start())
	go func() {
		defer close(r.exited)
		_ = r.cmd.Wait() // its exit is seen by alive, and by what it answers
	}()
	t.Cleanup(func() { r.end(t) })
	return r
}

// alive returns errHopeless once the program has ended.
func (r *running) alive() error {
	select {
	case <-r.exited:
		return fmt.Errorf("%w: %s has ended: %s", errHopeless, r.Path, r.cmd.ProcessState)
	default:
		return nil
	}
}

// end ends the program and all its processes, and shows what it wrote when the
// test has failed.
func (r *running) end(t testing.TB) {
	t.Helper()
	r.input.Close()
	_ = r.cmd.Process.Signal(cmp.Or(r.End, syscall.SIGTERM))
	select {
	case <-r.exited:
	case <-time.After(stopTimeout):
		assert.Fail(t, r.Path+" does not end")
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		<-r.exited
	}
	assert.NoError(t, poll(stopTimeout, func() error {
		if left := mentioning(r.Dir); len(left) > 0 {
			return fmt.Errorf("%s has left %v", r.Path, left)
		}
		return nil
	}))
	if t.Failed() {
		text, err := os.ReadFile(r.log)
		t.Logf("%s wrote (%v): %s", r.Path, err, text[max(0, len(text)-8000):])
	}
}

// awaitListening waits until somebody listens on the address.
func (r *running) awaitListening(t testing.TB, address string) {
	t.Helper()
	await(t, serverTimeout, filepath.Base(r.Path)+" at "+address, func() error {
		if err := r.alive(); err != nil {
			return err
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// firstLine is the first line that the program writes to standard output.
func (r *running) firstLine(t testing.TB) string {
	t.Helper()
	line, err := bufio.NewReader(r.Said).ReadString('\n')
	require.NoError(t, errors.Join(err, r.alive()), r.Path)
	return strings.TrimSpace(line)
}

// serverPath finds a server that Debian installs, which may be in one of the
// folders given, patterns allowed. A test without it is skipped, but fails
// where CI runs.
func serverPath(t testing.TB, name string, folders ...string) string {
	t.Helper()
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, name))
		require.NoError(t, err)
		if len(found) > 0 {
			return found[len(found)-1]
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	why := name + " is not installed here; scripts/ensure-servers.sh does it, as root on Debian"
	require.NotEqual(t, "true", os.Getenv("CI"), why)
	t.Skip(why)
	return ""
}

// serverDir is a new folder that the named user may use, who is to run a
// server, if the tests run as root; and who that is.
func serverDir(t testing.TB, name string) (string, *syscall.Credential) {
	t.Helper()
	// Not t.TempDir, which no other user can enter.
	dir, err := os.MkdirTemp("", "penstock-server-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	if os.Getuid() != 0 || name == "" {
		return dir, nil
	}
	who, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, int(uid), int(gid)))
	return dir, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// brokerBinaries builds the servers that are Go modules, once: a module of
// their own, for what they depend on is none of Penstock's.
var brokerBinaries = sync.OnceValues(func() (bin struct{ Kafka, S3 string }, err error) {
	dir := filepath.Join(workDir, "brokers")
	bin.Kafka, bin.S3 = filepath.Join(dir, "kafka"), filepath.Join(dir, "s3")
	return bin, buildIn("brokers", dir, nil, "./kafka", "./s3")
})

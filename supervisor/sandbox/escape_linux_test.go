package sandbox

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestEscapes makes every attempt from inside of every profile.
func TestEscapes(t *testing.T) {
	needRoot(t)
	t.Run("none", func(t *testing.T) {
		checkAttempts(t, false, func(a attempt) string { return a.none })
	})
	t.Run("standard", func(t *testing.T) {
		checkAttempts(t, true, func(a attempt) string { return a.standard })
	})
	t.Run("strict", func(t *testing.T) {
		w := newWorld(t)
		plan := w.strict(t)
		w.check(t, plan, func(a attempt) string { return a.strict })
	})
	t.Run("strict, started for nobody", func(t *testing.T) {
		w := newWorld(t)
		w.check(t, w.nobodys(t), func(a attempt) string { return a.strict })
	})
}

// checkAttempts makes the attempts as the user of this test.
func checkAttempts(t *testing.T, lock bool, want func(attempt) string) {
	w := newWorld(t)
	plan := plainPlan(t)
	plan.Lock = lock
	w.check(t, plan, want)
}

// check makes the attempts that have an expected outcome.
func (w world) check(t *testing.T, plan Plan, want func(attempt) string) {
	t.Helper()
	plan.NoFile, plan.FileSize = noFile, 2<<20
	text, err := json.Marshal(w)
	require.NoError(t, err)
	plan.Args = append(plan.Args[:2:2], "attempts", string(text))
	if plan.Strict != nil && len(plan.Strict.Vacant) > 0 {
		plan.Args = append(plan.Args[:2:2], becoming, w.Own, "attempts", string(text))
	}
	expected := map[string]string{}
	for _, a := range attempts {
		if want(a) != "-" {
			expected[a.name] = want(a)
			plan.Args = append(plan.Args, a.name)
		}
	}
	got := report[map[string]string](t, plan)
	assert.Len(t, got, len(expected))
	for name, outcome := range expected {
		assert.Equal(t, outcome, got[name], name)
	}
}

// noFile is the limit of the attempts, and so the number of a sealed program.
const noFile = 128

// newWorld makes what the attempts aim at.
func newWorld(t *testing.T) world {
	t.Helper()
	host := folder(t, 0)
	w := world{
		Canary: filepath.Join(host, "canary"), Shared: folder(t, 0), Own: filepath.Join(folder(t, 0), "own"),
		Supervisor: os.Getpid(), SealedProgram: noFile,
		HostAbstract: fmt.Sprintf("@penstock-test-%d-host", os.Getpid()), HostSocket: filepath.Join(host, "s"),
		OtherAbstract: fmt.Sprintf("@penstock-test-%d-other", os.Getpid()),
	}
	require.NoError(t, os.WriteFile(w.Canary, []byte("secret"), 0o644))
	require.NoError(t, os.Mkdir(w.Own, 0o755))
	require.NoError(t, os.Chown(w.Own, tenant, tenant))
	for _, name := range []string{"file", "extra"} {
		require.NoError(t, os.WriteFile(filepath.Join(w.Shared, name), []byte("shared"), 0o666))
		require.NoError(t, os.Chmod(filepath.Join(w.Shared, name), 0o666))
	}
	copyProgram(t, "/bin/true", filepath.Join(w.Own, "program"), 0o755)

	listen := func(network, address string) net.Listener {
		l, err := net.Listen(network, address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	listen("unix", w.HostAbstract)
	listen("unixpacket", w.HostAbstract+"-packet")
	listen("unix", w.HostSocket)
	require.NoError(t, os.Chmod(w.HostSocket, 0o777))
	port := func(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }
	w.Open = port(listen("tcp4", "127.0.0.1:0"))
	w.Closed = port(listen("tcp4", "127.0.0.1:0"))
	for _, free := range []*uint16{&w.Free, &w.Taken} {
		l := listen("tcp4", "127.0.0.1:0")
		*free = port(l)
		require.NoError(t, l.Close())
	}

	sibling := strictPlan(t)
	sibling.Strict.UID, sibling.Strict.GID = neighbour, neighbour
	sibling.WorkDir = folder(t, neighbour)
	sibling.Strict.Write = []string{sibling.WorkDir}
	w.OtherSocket = filepath.Join(sibling.WorkDir, "s")
	sibling.Args = append(sibling.Args, "serve", w.OtherAbstract, w.OtherSocket)
	w.Sibling = startServer(t, sibling).Pid

	// Inherited without close-on-exec, as a careless library would open it.
	fd, err := unix.Open(w.Canary, unix.O_RDONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	w.Inherited = fd
	return w
}

// strict is the plan of a tenant in this world.
func (w world) strict(t *testing.T) Plan {
	t.Helper()
	plan := strictPlan(t)
	plan.WorkDir = w.Own
	plan.Strict.Write = []string{w.Own}
	plan.Strict.Read = []string{w.Shared}
	plan.Strict.BindPorts = []PortRange{{w.Free, w.Free}}
	plan.Strict.ConnectPorts = []PortRange{{w.Open, w.Open}}
	return plan
}

// nobodys is the plan of a program that becomes the tenant's later.
func (w world) nobodys(t *testing.T) Plan {
	t.Helper()
	plan := w.strict(t)
	plan.WorkDir, plan.Strict.Write = "", nil
	plan.Strict.UID, plan.Strict.GID, plan.Strict.Vacant = 0, 0, []string{filepath.Dir(w.Own)}
	return plan
}

// With programs allowed, execve is there, and Landlock judges what it is for.
func TestAllowedPrograms(t *testing.T) {
	w := newWorld(t)
	plan := w.strict(t)
	plan.Strict.Exec = []string{"/bin/true"}
	for _, a := range []struct {
		name, want string
	}{
		{"execute /bin/true", "ok"},
		{"execute a program in its own folder", "EACCES"},
		{"execute a program in /tmp", "EACCES"},
		{"execute a file in memory", "EPERM"},
		{"execute a file descriptor", "EACCES"},
		{"map a dropped program as code", "EPERM"},
		{"read a file of the host", "ENOENT"},
		{"system call mount", "EPERM"},
	} {
		t.Run(a.name, func(t *testing.T) {
			w.check(t, plan, func(other attempt) string {
				if other.name == a.name {
					return a.want
				}
				return "-"
			})
		})
	}
}

// System calls of another processor mode end the program: a filter reads their
// numbers as those of other calls.
func TestForeignSystemCalls(t *testing.T) {
	locked := plainPlan(t)
	locked.Lock = true
	strict := strictPlan(t)
	for profile, plan := range map[string]Plan{"standard": locked, "strict": strict} {
		for name := range killed {
			t.Run(profile+" "+name, func(t *testing.T) {
				plan.Args = []string{"program", inside, "killed", name}
				stdout, stderr, err := run(t, plan)
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit, "it survived: %s%s", stdout, stderr)
				status := exit.Sys().(syscall.WaitStatus)
				require.True(t, status.Signaled(), "%v %s", exit, stderr)
				assert.Equal(t, syscall.SIGSYS, status.Signal())
			})
		}
	}
}

// A process outside reaches the socket of a program in its own folder.
func TestSocketIsReachedFromOutside(t *testing.T) {
	plan := strictPlan(t)
	path := filepath.Join(plan.WorkDir, "s")
	plan.Args = append(plan.Args, "serve", path)
	startServer(t, plan)
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

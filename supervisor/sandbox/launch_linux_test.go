package sandbox

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// self is what a program finds out about itself.
type self struct {
	PID, UID, GID       int
	Groups              []int
	Args, Env           []string
	WorkDir, Hostname   string
	Exe, Comm, Cgroup   string
	OOMScoreAdj         string
	NoFile, File, Core  unix.Rlimit
	Memlock, MsgQueue   unix.Rlimit
	Umask               int
	Passwd, Environment string
	Listens             bool
	Securebits          int
}

func readSelf() self {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	limit := func(resource int) (l unix.Rlimit) {
		_ = unix.Getrlimit(resource, &l)
		return l
	}
	s := self{
		PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), Args: os.Args, Env: os.Environ(),
		Comm: read("/proc/self/comm"), Cgroup: read("/proc/self/cgroup"), OOMScoreAdj: read("/proc/self/oom_score_adj"),
		NoFile: limit(unix.RLIMIT_NOFILE), File: limit(unix.RLIMIT_FSIZE), Core: limit(unix.RLIMIT_CORE),
		Memlock: limit(unix.RLIMIT_MEMLOCK), MsgQueue: limit(unix.RLIMIT_MSGQUEUE),
		Passwd: read("/etc/passwd"), Environment: read("/proc/1/environ"),
		Umask: unix.Umask(0),
	}
	s.Securebits, _ = unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	s.Groups, _ = os.Getgroups()
	s.WorkDir, _ = os.Getwd()
	s.Hostname, _ = os.Hostname()
	s.Exe, _ = os.Readlink("/proc/self/exe")
	// Go asks for MPTCP first; port 0 has to be allowed.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		s.Listens = true
		_ = l.Close()
	}
	return s
}

func TestProgramIsStartedAsPlanned(t *testing.T) {
	strict := strictPlan(t, "self")
	strict.Strict.BindPorts = []PortRange{{0, 0}}
	locked := plainPlan(t, "self")
	locked.Lock = true
	plain := plainPlan(t, "self")
	umask := unix.Umask(0)
	unix.Umask(umask)
	for name, plan := range map[string]Plan{"none": plain, "standard": locked, "strict": strict} {
		t.Run(name, func(t *testing.T) {
			plan.Env = []string{"ONE=1", noSleep, "TWO=zwei=ü", "EMPTY="}
			if plan.WorkDir == "" {
				plan.WorkDir = t.TempDir()
			}
			plan.NoFile, plan.FileSize, plan.OOMScoreAdj = 128, 1<<20, 500
			got := report[self](t, plan)

			assert.Equal(t, plan.Args, got.Args)
			assert.Equal(t, plan.Env, got.Env, "the environment is the plan's and nothing else")
			assert.Equal(t, plan.WorkDir, got.WorkDir)
			assert.Equal(t, plan.Program, got.Exe)
			assert.Equal(t, "500", got.OOMScoreAdj)
			assert.Equal(t, unix.Rlimit{Cur: 128, Max: 128}, got.NoFile)
			assert.Equal(t, unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}, got.File)
			assert.Equal(t, umask, got.Umask)
			assert.True(t, got.Listens)
			if name != "none" {
				assert.Equal(t, unix.Rlimit{}, got.Core)
				if os.Geteuid() == 0 {
					assert.Equal(t, securebits, got.Securebits)
				}
			}
			if name != "strict" {
				return
			}
			assert.Equal(t, 1, got.PID, "it is alone in its namespace")
			assert.Equal(t, tenant, got.UID)
			assert.Equal(t, tenant, got.GID)
			assert.Empty(t, got.Groups)
			assert.Equal(t, "stream-1", got.Hostname)
			assert.Equal(t, unix.Rlimit{}, got.Memlock)
			assert.Equal(t, unix.Rlimit{}, got.MsgQueue)
			assert.Equal(t, "penstock:x:200001:200001::/tmp:/nonexistent", got.Passwd)
			assert.Equal(t, strings.Join(plan.Env, "\x00")+"\x00", got.Environment, "/proc/1 is its own")
			here, err := os.Hostname()
			require.NoError(t, err)
			assert.NotEqual(t, "stream-1", here, "the host's own name is as it was")
		})
	}
}

func TestProcessIDStays(t *testing.T) {
	plan := strictPlan(t, "serve", "wait")
	plan.NoFile = noFile
	process := startServer(t, plan)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", process.Pid))
	require.NoError(t, err)
	assert.Equal(t, plan.Program, exe)
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process.Pid))
	require.NoError(t, err)
	// Before Linux 6.14 it is the number of the file descriptor.
	assert.Contains(t, []string{filepath.Base(plan.Program), strconv.Itoa(noFile)}, strings.TrimSpace(string(comm)))
}

func TestFailures(t *testing.T) {
	needRoot(t)
	var hard unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &hard))
	dir := folder(t, tenant)
	theirs := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("/etc", theirs))
	require.NoError(t, os.Lchown(theirs, tenant, tenant))
	script := filepath.Join(folder(t, 0), "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho hello\n"), 0o755))
	closed := filepath.Join(folder(t, 0), "closed")
	copyProgram(t, "/bin/true", closed, 0o700)

	for name, c := range map[string]struct {
		change func(*Plan)
		want   []string
	}{
		"cgroup": {func(p *Plan) { p.Cgroups = []string{"/sys/fs/cgroup/none/cgroup.procs"} },
			[]string{"join a cgroup: open /sys/fs/cgroup/none/cgroup.procs: no such file or directory: "}},
		"files above the hard limit": {func(p *Plan) { p.NoFile = hard.Max + 1 },
			[]string{"limit the open files: ", strconv.FormatUint(hard.Max+1, 10), strconv.FormatUint(hard.Max, 10), "ulimit -H"}},
		"no program":      {func(p *Plan) { p.Program = "/nonexistent/program" }, []string{"read the program: open /nonexistent/program: "}},
		"a folder":        {func(p *Plan) { p.Program = "/etc" }, []string{"read the program: /etc is not a file: "}},
		"no permission":   {func(p *Plan) { p.Program = closed }, []string{"execute " + closed + ": permission denied: "}},
		"script":          {func(p *Plan) { p.Strict.Exec = []string{script} }, []string{script + " is a script for /bin/sh: allow /bin/sh too"}},
		"no mount":        {func(p *Plan) { p.Strict.Mount = "/nonexistent" }, []string{"build the private root: move_mount /nonexistent: "}},
		"no read path":    {func(p *Plan) { p.Strict.Read = []string{"/nonexistent/data"} }, []string{"find what the sandbox shows: open /nonexistent: ", "sandbox.read"}},
		"tenant's link":   {func(p *Plan) { p.Strict.Read = []string{theirs} }, []string{theirs + " is a symbolic link of user 200001: only root's are followed"}},
		"way over a link": {func(p *Plan) { p.Strict.Write = []string{filepath.Join(theirs, "ssl")} }, []string{theirs + " is a symbolic link of user 200001: only root's are followed"}},
		"working folder":  {func(p *Plan) { p.WorkDir = "/etc/cron.d" }, []string{"enter the working directory: chdir /etc/cron.d: no such file or directory: "}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := strictPlan(t, "self")
			c.change(&plan)
			stdout, stderr, err := run(t, plan)
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, FailureCode, exit.ExitCode(), stderr)
			assert.Empty(t, stdout)
			assert.True(t, strings.HasPrefix(stderr, "penstock-launch: "), stderr)
			assert.Equal(t, 1, strings.Count(stderr, "\n"), "it is one line: %s", stderr)
			for _, want := range c.want {
				assert.Contains(t, stderr, want)
			}
		})
	}
}

func TestLauncherByHand(t *testing.T) {
	cmd := exec.Command(launcher)
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, FailureCode, exit.ExitCode())
	assert.Contains(t, string(said), "penstock-launch: read the plan: ")
	assert.Contains(t, string(said), "penstock starts this program, nobody else")
}

// A strict plan without namespaces would take the host's mounts apart.
func TestStrictOutsideOfNamespaces(t *testing.T) {
	plan := strictPlan(t, "self")
	cmd, done, err := plan.Command(launcher)
	require.NoError(t, err)
	defer done()
	cmd.SysProcAttr.Cloneflags = 0
	said, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(said), "this process is not the first in a namespace of its own")
}

func TestPlansThatAreRefused(t *testing.T) {
	good := func() Plan {
		return Plan{Program: "/bin/true", Args: []string{"true"}, Strict: &Strict{UID: 1, GID: 1, Mount: "/run/x"}}
	}
	for want, change := range map[string]func(*Plan){
		"must be an absolute path":                         func(p *Plan) { p.Program = "true" },
		"must begin with the program's name":               func(p *Plan) { p.Args = nil },
		"must be from -1000 to 1000":                       func(p *Plan) { p.OOMScoreAdj = 1001 },
		"a limit of 15 open files is too low":              func(p *Plan) { p.NoFile = 15 },
		"holds a zero byte":                                func(p *Plan) { p.Env = []string{"A=\x00"} },
		"is not UTF-8":                                     func(p *Plan) { p.Env = []string{"A=\xff"} },
		"neither may be root's":                            func(p *Plan) { p.Strict.UID = 0 },
		"is longer than 64 bytes":                          func(p *Plan) { p.Strict.Hostname = strings.Repeat("x", 65) },
		"is negative":                                      func(p *Plan) { p.Strict.TmpBytes = -1 },
		`"/a/../b" must be an absolute path`:               func(p *Plan) { p.Strict.Read = []string{"/a/../b"} },
		`"/" must be an absolute path`:                     func(p *Plan) { p.Strict.Write = []string{"/"} },
		"/proc/1/environ: the sandbox has its own /proc":   func(p *Plan) { p.Strict.Read = []string{"/proc/1/environ"} },
		"/dev/mem: the sandbox has its own /dev":           func(p *Plan) { p.Strict.Read = []string{"/dev/mem"} },
		"the ports 9-8 are the wrong way round":            func(p *Plan) { p.Strict.BindPorts = []PortRange{{9, 8}} },
		`the launcher "relative" must be an absolute path`: nil,
	} {
		plan, binary := good(), launcher
		if change == nil {
			binary = "relative"
		} else {
			change(&plan)
		}
		_, _, err := plan.Command(binary)
		require.ErrorContains(t, err, want)
	}
	_, done, err := good().Command(launcher)
	require.NoError(t, err)
	done()
}

func TestCgroupsAreJoinedFirst(t *testing.T) {
	needRoot(t)
	// A hierarchy of its own (v1), or the only one (v2).
	parents := []string{"/sys/fs/cgroup/freezer", "/sys/fs/cgroup"}
	i := slices.IndexFunc(parents, func(parent string) bool {
		_, err := os.Stat(filepath.Join(parent, "cgroup.procs"))
		return err == nil
	})
	require.GreaterOrEqual(t, i, 0, "cgroups must be mounted at /sys/fs/cgroup")
	name := fmt.Sprintf("penstock-test-sandbox-%d", os.Getpid())
	dir := filepath.Join(parents[i], name)
	require.NoError(t, os.Mkdir(dir, 0o755))
	defer func() { assert.NoError(t, os.Remove(dir)) }()
	plan := strictPlan(t, "self")
	plan.Cgroups = []string{filepath.Join(dir, "cgroup.procs")}
	findLine(t, report[self](t, plan).Cgroup, ":/"+name)
}

func findLine(t *testing.T, text, part string) string {
	t.Helper()
	lines := strings.Split(text, "\n")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, part) })
	require.GreaterOrEqual(t, i, 0, text)
	return lines[i]
}

// A limit that equals the hard one leaves no number above it for the program.
func TestNoFileAtTheHardLimit(t *testing.T) {
	var hard unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &hard))
	plan := strictPlan(t, "self")
	plan.NoFile = hard.Max
	assert.Equal(t, hard.Max-1, report[self](t, plan).NoFile.Max)
	plan.NoFile = 0
	assert.Equal(t, min(hard.Max-1, uint64(defaultNoFile)), report[self](t, plan).NoFile.Max)
}

func copyProgram(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, mode))
	require.NoError(t, os.Chmod(to, mode))
}

// startServer starts a plan that runs until the test ends, and waits until it
// says that it is ready.
func startServer(t *testing.T, plan Plan) *os.Process {
	t.Helper()
	cmd, done, err := plan.Command(launcher)
	require.NoError(t, err)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	done()
	t.Cleanup(func() {
		_ = stdin.Close()
		assert.NoError(t, cmd.Wait())
	})
	ready := make([]byte, len("ready"))
	_, err = stdout.Read(ready)
	require.NoError(t, err, "it ended before it was ready")
	require.Equal(t, "ready", string(ready))
	return cmd.Process
}

// serve listens on unix sockets, says that it is ready, and ends when its
// standard input does.
func serve(addresses []string) int {
	for _, address := range addresses {
		if address == "wait" {
			continue
		}
		listener, err := net.Listen("unix", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_ = conn.Close()
			}
		}()
	}
	fmt.Print("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

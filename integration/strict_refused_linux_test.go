package integration

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusalTimeout is what a supervisor may take to find out that it cannot serve.
// It is a fraction of a second where nobody else is.
const refusalTimeout = 5 * time.Second

// strictRefusal is a supervisor that is to be strict and has to give up.
type strictRefusal struct {
	args []string
	// wrap is the command line that starts it with fewer privileges; nil is none.
	wrap []string
	// uid is its user.
	uid uint32
	// dataDir is its data folder, which has to be as it was afterwards; empty is
	// one that does not exist.
	dataDir string
	// late says that it gives up because of its streams, and may have made what
	// it keeps of them.
	late bool
}

// of runs it: it has to end in good time, with exit code 1, with a line that
// says why, and with nothing of it left. It returns that line.
func (r strictRefusal) of(t *testing.T) string {
	t.Helper()
	bin, err := product()
	require.NoError(t, err)
	require.NoError(t, os.Chmod(workDir, 0o711), "every user is to execute the binaries")
	data := r.dataDir
	var before []string
	if data != "" {
		before = tree(t, data)
	} else {
		dir, err := os.MkdirTemp("", "penstock-data-")
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
		require.NoError(t, os.Chown(dir, int(r.uid), int(r.uid)))
		data = filepath.Join(dir, "data")
	}
	ctx, cancel := context.WithTimeout(t.Context(), refusalTimeout+margin)
	defer cancel()
	line := append(append(append([]string{}, r.wrap...), bin.Penstock, "serve", "--listen", "127.0.0.1:0", "--data-dir", data,
		"--runner", bin.Runner, "--log-level", "error"), strictArgs(r.args...)...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: r.uid, Gid: r.uid}}
	if r.uid == 0 {
		cmd.Args = append(cmd.Args, "--set", "limits.cgroup_parent="+cgroupParent())
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	n := newNetns(t)
	began := time.Now()
	require.NoError(t, n.start(cmd))
	err = cmd.Wait()
	took := time.Since(began)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%v\n%s%s", line, &stdout, &stderr)
	assert.Equal(t, 1, exit.ExitCode(), "%s", &stderr)
	assert.Less(t, took, refusalTimeout)
	assert.Empty(t, stdout.String(), "no banner without a server")
	assert.Empty(t, n.tables(), "rules that outlived their supervisor")
	switch {
	case r.dataDir != "":
		assert.Equal(t, before, tree(t, data), "the data folder")
	case !r.late:
		assert.NoDirExists(t, data)
		fallthrough
	default:
		assert.Empty(t, mentioning(data), "processes that outlived their supervisor")
	}
	text := strings.TrimSuffix(stderr.String(), "\n")
	assert.True(t, strings.HasPrefix(text, "penstock: ") && !strings.Contains(text, "\n"), "not one line: %q", text)
	t.Logf("after %s: %s", took.Round(time.Millisecond), text)
	return text
}

// TestStrictRefused: where the profile is not possible the server does not
// start, says what is missing and what to do, and has touched nothing.
func TestStrictRefused(t *testing.T) {
	t.Parallel()
	needRoot(t)
	without := func(capability string) []string {
		return []string{"setpriv", "--bounding-set", "-" + capability, "--inh-caps", "-" + capability}
	}
	for name, c := range map[string]struct {
		strictRefusal
		says []string
	}{
		"another user":           {strictRefusal{uid: nobodyID}, []string{"user 65534", "CAP_SYS_ADMIN", "run it as root"}},
		"no CAP_NET_ADMIN":       {strictRefusal{wrap: without("net_admin")}, []string{"CAP_NET_ADMIN", "CapabilityBoundingSet=", "--cap-add NET_ADMIN"}},
		"no CAP_SYS_ADMIN":       {strictRefusal{wrap: without("sys_admin")}, []string{"CAP_SYS_ADMIN", "CapabilityBoundingSet=", "--cap-add"}},
		"no CAP_SETUID":          {strictRefusal{wrap: without("setuid")}, []string{"CAP_SETUID", "CapabilityBoundingSet="}},
		"no CAP_CHOWN":           {strictRefusal{wrap: without("chown")}, []string{"CAP_CHOWN", "CapabilityBoundingSet="}},
		"no CAP_SYS_PTRACE":      {strictRefusal{wrap: without("sys_ptrace")}, []string{"CAP_SYS_PTRACE", "CapabilityBoundingSet="}},
		"no CAP_DAC_OVERRIDE":    {strictRefusal{wrap: without("dac_override")}, []string{"CAP_DAC_OVERRIDE", "CapabilityBoundingSet="}},
		"no CAP_KILL":            {strictRefusal{wrap: without("kill")}, []string{"CAP_KILL", "CapabilityBoundingSet="}},
		"no launcher":            {strictRefusal{args: []string{"--set", "isolation.launcher=/nowhere/penstock-launch"}}, []string{"/nowhere/penstock-launch", "isolation.launcher"}},
		"launcher is a folder":   {strictRefusal{args: []string{"--set", "isolation.launcher=/etc"}}, []string{"/etc", "isolation.launcher"}},
		"another launcher":       {strictRefusal{args: []string{"--set", "isolation.launcher=/bin/true"}}, []string{"/bin/true", "isolation.launcher"}},
		"launcher fails":         {strictRefusal{args: []string{"--set", "isolation.launcher=/bin/false"}}, []string{"/bin/false", "isolation.launcher"}},
		"users below services":   {strictRefusal{args: []string{"--set", "isolation.uids=1-100"}}, []string{"isolation.uids is 1-100", "below 1000"}},
		"users are root":         {strictRefusal{args: []string{"--set", "isolation.uids=0-5000"}}, []string{"isolation.uids is 0-5000"}},
		"users are nobody":       {strictRefusal{args: []string{"--set", "isolation.uids=65000-66000"}}, []string{"isolation.uids is 65000-66000", "65534"}},
		"users in reverse":       {strictRefusal{args: []string{"--set", "isolation.uids=3000-2000"}}, []string{"isolation.uids is 3000-2000", "the first is above the last"}},
		"one user":               {strictRefusal{args: []string{"--set", "isolation.uids=3000-3000"}}, []string{"isolation.uids is 3000-3000", "at least 2"}},
		"users are no range":     {strictRefusal{args: []string{"--set", "isolation.uids=many"}}, []string{"isolation.uids", `"many"`, "200000-265535"}},
		"egress rule":            {strictRefusal{args: []string{"--set", "isolation.egress.deny=[example.org]"}}, []string{"isolation.egress.deny", "example.org", "names are not resolved"}},
		"egress port":            {strictRefusal{args: []string{"--set", `isolation.egress.allow=["10.0.0.1 http"]`}}, []string{"isolation.egress.allow", "http"}},
		"egress default":         {strictRefusal{args: []string{"--set", "isolation.egress.default=maybe"}}, []string{"isolation.egress.default", "allow or deny"}},
		"port to bind":           {strictRefusal{args: []string{"--set", "isolation.bind_ports=[http]"}}, []string{"isolation.bind_ports", `"http"`}},
		"folder is the server's": {strictRefusal{args: []string{"--set", "isolation.read=[" + os.TempDir() + "]"}}, []string{"isolation.read", os.TempDir(), "data_dir", "keep them apart"}},
		"program to put there":   {strictRefusal{args: []string{"--set", "isolation.write=[/opt]", "--set", "isolation.allow_exec=[/opt/tool]"}}, []string{"isolation.allow_exec", "/opt/tool", "isolation.write"}},
		"component's name":       {strictRefusal{args: []string{"--set", "isolation.components.inputs.deny=[File]"}}, []string{"isolation.components.inputs.deny", `"File"`}},
		"profile":                {strictRefusal{args: []string{"--isolation", "stricter"}}, []string{"isolation.profile", `"stricter"`, "none, standard or strict"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := c.of(t)
			for _, want := range c.says {
				assert.Contains(t, said, want)
			}
		})
	}
}

// TestStrictRefusedLeavesStreams: a server that cannot be strict leaves the data
// folder and the runners of the last one as they are.
func TestStrictRefusedLeavesStreams(t *testing.T) {
	t.Parallel()
	r, _ := newStrictRestartable(t)
	args := strictArgs("--on-exit=detach")
	r.start(t, args...)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	before := strictly(t, r.client, "a")
	for _, refusal := range []strictRefusal{
		{args: []string{"--set", "isolation.launcher=/nowhere/penstock-launch"}},
		{wrap: []string{"setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"}},
		{args: []string{"--set", "isolation.uids=5-4"}},
	} {
		r.stop(t)
		refusal.dataDir = r.DataDir
		refusal.of(t)
		require.Error(t, ended(before.PID), "the runner has ended")
		r.start(t, args...)
		awaitState(t, r.client, "a", "running")
		assert.Equal(t, before, strictly(t, r.client, "a"))
	}
	r.expect(t, 200, "DELETE", "/streams/a", "")
	r.stop(t)
}

// tree lists what is below a folder, and what would show that it was changed.
// Logs grow by themselves.
func tree(t *testing.T, dir string) (entries []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint(path, " ", info.Mode(), " ", ownerOf(t, path))
		if !strings.HasSuffix(path, ".log") {
			line += fmt.Sprint(" ", info.Size(), " ", info.ModTime())
		}
		entries = append(entries, line)
		return nil
	}))
	return entries
}

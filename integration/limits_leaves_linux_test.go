package integration

import (
	"path"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLimitsLeaves: each start of a runner has a cgroup of its own, which
// goes with it; and with it goes whatever a stream has left running.
func TestLimitsLeaves(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", limited("pids: 200", programYAML(t)))
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
	s := assertEnforced(t, p.server, "a")
	cgroup := s.Isolation.Limits.Cgroup
	awaitLeaves(t, cgroup, 2)

	// detached starts a process with a session of its own.
	detached := func() int {
		t.Helper()
		pid := int(runProgram(t, p.client, "a", "detach")[0])
		child, err := readProcess(pid)
		require.NoError(t, err)
		require.NotEqual(t, p.PID, child.PPID)
		require.Equal(t, cgroupOf(t, mustStatus(t, p.client, "a").PID), cgroupOf(t, pid))
		return pid
	}
	// What is refused leaves nothing, and so does what is replaced.
	p.expect(t, 400, "POST", "/streams/c", unbuildableYAML)
	p.expect(t, 400, "PUT", "/streams/b", misspeltYAML)
	p.expect(t, 200, "PUT", "/streams/b", echo("changed"))
	awaitEcho(t, p.client, "/b/post", "changed")
	awaitLeaves(t, cgroup, 2)
	left := detached()
	p.expect(t, 200, "POST", "/streams/a/restart", "")
	await(t, changeTimeout, "the end of what was left", func() error { return ended(left) })
	awaitLeaves(t, cgroup, 2)

	// A runner that is killed takes all of it along.
	left = detached()
	pid := mustStatus(t, p.client, "a").PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	await(t, changeTimeout, "the end of what was left", func() error { return ended(left) })
	awaitPID(t, p.client, "a", pid)
	awaitLeaves(t, cgroup, 2)

	p.expect(t, 200, "POST", "/streams/b/pause", "")
	awaitLeaves(t, cgroup, 1)
	p.expect(t, 200, "POST", "/streams/b/resume", "")
	awaitLeaves(t, cgroup, 2)
	left = detached()
	p.expect(t, 200, "DELETE", "/streams/a", "")
	await(t, changeTimeout, "the end of what was left", func() error { return ended(left) })
	awaitLeaves(t, cgroup, 1)

	p.stop(t)
	for _, root := range []string{cgroupRoot, filepath.Join(cgroupRoot, "*")} {
		found, err := filepath.Glob(filepath.Join(root, path.Dir(cgroup)))
		require.NoError(t, err)
		assert.Empty(t, found, "cgroups of a supervisor that has ended")
	}
}

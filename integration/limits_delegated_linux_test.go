package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delegate gives nobody a cgroup, in each hierarchy that limits, as systemd or
// an operator would, and returns its path. A process starts in that of version
// 2, where a user may only use what it is in.
func delegate(t *testing.T) (name string, enter func(cmd *exec.Cmd)) {
	t.Helper()
	name = cgroupParent() + "-delegated"
	roots := []string{cgroupRoot}
	if cgroupVersion() == 1 {
		roots = nil
		for _, controller := range []string{"memory", "cpu", "cpuacct", "pids", "blkio"} {
			roots = append(roots, filepath.Join(cgroupRoot, controller))
		}
	} else {
		for _, controller := range []string{"+memory", "+cpu", "+pids", "+io"} {
			require.NoError(t, os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte(controller), 0))
		}
	}
	for _, root := range roots {
		dir := filepath.Join(root, name)
		// Some controllers share a folder.
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			require.NoError(t, err)
		}
		t.Cleanup(func() {
			// The supervisor's own, which it cannot leave.
			_ = os.Remove(filepath.Join(dir, "supervisor"))
			if err := os.Remove(dir); !errors.Is(err, os.ErrNotExist) {
				assert.NoError(t, err)
			}
		})
		for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"} {
			if err := os.Chown(filepath.Join(dir, file), nobodyID, nobodyID); !errors.Is(err, os.ErrNotExist) {
				require.NoError(t, err)
			}
		}
	}
	if cgroupVersion() == 1 {
		return name, nil
	}
	own, err := os.Open(filepath.Join(cgroupRoot, name))
	require.NoError(t, err)
	t.Cleanup(func() { own.Close() })
	return name, func(cmd *exec.Cmd) { cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(own.Fd()) }
}

// TestLimitsKernelDelegated: a supervisor without any privilege limits its
// streams in a cgroup that was given to it. That of version 2 it finds.
func TestLimitsKernelDelegated(t *testing.T) {
	needRoot(t)
	t.Parallel()
	parent, enter := delegate(t)
	setting := "limits.cgroup_parent=" + parent
	if cgroupVersion() == 2 {
		setting = "limits.cgroup_parent="
	}
	p := startPenstockIn(t, unprivileged{mend: enter}, append(unhurried, "--set", setting)...)
	text, figures := allLimits(64, 0, 0.5, 50, 100, 200, 500, 10000)
	p.expect(t, 200, "POST", "/streams/hog", strings.Replace(limited(text, repeatYAML), "limits:", "restart: {policy: never}, limits:", 1))
	s := assertEnforced(t, p.server, "hog")
	assert.Equal(t, figures, s.Isolation.Limits.limitFigures)
	assert.Equal(t, "cgroup", s.Isolation.Limits.Enforcement)
	assert.Contains(t, s.Isolation.Limits.Cgroup, parent+"/")
	uid, err := procFigure(s.PID, "status", "Uid:")
	require.NoError(t, err)
	assert.EqualValues(t, nobodyID, uid)

	text, figures = allLimits(100, 0, 1.5, 200, 200, 100, 400, 5000)
	p.expect(t, 200, "PATCH", "/streams/hog", limited(text, ""))
	again := assertEnforced(t, p.server, "hog")
	assert.Equal(t, figures, again.Isolation.Limits.limitFigures)
	assert.Equal(t, s.PID, again.PID)
	assertCounted(t, p.client, "hog")
	p.expect(t, 502, "POST", "/hog/post", tooLarge)
	assert.EqualValues(t, 100*mib, awaitEnd(t, p.client, "hog", "oom", "failed").LastExit.LimitBytes)
	p.stop(t)
	assert.Empty(t, leavesOf(t, s.Isolation.Limits.Cgroup))
}

package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// nobody is a user who has nothing.
const nobody = 65534

// asNobody starts a process as that user.
func asNobody(cmd *exec.Cmd) {
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
}

// ownNamespace starts a process whose mounts are its own.
func ownNamespace(cmd *exec.Cmd) { cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS }

// below starts a process in a cgroup of version 2.
func below(t *testing.T, dir string) func(*exec.Cmd) {
	folder, err := os.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { folder.Close() })
	return func(cmd *exec.Cmd) { cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(folder.Fd()) }
}

func version(t *testing.T) int {
	t.Helper()
	s, err := inspect()
	require.NoError(t, err)
	var available []string
	if m, ok := s.v2(); ok {
		available, err = readList(filepath.Join(m.point, "cgroup.controllers"))
		require.NoError(t, err)
	}
	return s.version(available)
}

func TestUnavailableSaysWhyAndTheMend(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name, role string
		mend       func(*exec.Cmd)
		// says is by version.
		says map[int][]string
	}{
		{"another user", "open", asNobody, map[int][]string{
			1: {"permission denied", "as root", "limits.cgroup_parent"},
			2: {"is not delegated to this user", "as root", "Delegate=yes", "systemd-run --user"},
		}},
		{"read-only", "readonly", ownNamespace, map[int][]string{
			1: {"read-only file system", "writable /sys/fs/cgroup"},
			2: {"read-only file system", "writable /sys/fs/cgroup"},
		}},
		{"not mounted", "unmounted", ownNamespace, map[int][]string{
			1: {"no hierarchy", "mount -t cgroup2"},
			2: {"no hierarchy", "mount -t cgroup2"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := start(t, nil, c.role, c.mend).line()
			unavailable, text, _ := strings.Cut(line, " ")
			assert.Equal(t, "true", unavailable, text)
			assert.Contains(t, text, ErrUnavailable.Error())
			for _, part := range c.says[version(t)] {
				assert.Contains(t, text, part)
			}
		})
	}
}

// delegate gives a cgroup of version 2 to a user, as systemd does.
func delegate(t *testing.T, dir string, uid int) {
	t.Helper()
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		require.NoError(t, os.Chown(filepath.Join(dir, file), uid, uid))
	}
}

// makeUnified makes a cgroup of version 2, with controllers for it.
func makeUnified(t *testing.T, cgroup string, controllers ...string) string {
	t.Helper()
	m, ok := must(inspect()).v2()
	require.True(t, ok)
	dir := filepath.Join(m.point, cgroup)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, above := range between(m.point, filepath.Dir(dir)) {
		for _, controller := range controllers {
			require.NoError(t, write(filepath.Join(above, "cgroup.subtree_control"), "+"+controller))
		}
	}
	return dir
}

func TestMissingControllerIsRefused(t *testing.T) {
	parent := testParent(t)
	c := map[int]struct {
		start   func() *process
		missing []string
	}{
		1: {
			func() *process { return start(t, nil, "without pids "+parent, ownNamespace) },
			[]string{"pids: ", "no controller pids", "does not offer", "mount -t cgroup -o pids"},
		},
		2: {
			func() *process {
				dir := makeUnified(t, parent+"/limited", "memory", "cpu")
				delegate(t, dir, nobody)
				return start(t, nil, "limited", below(t, dir), asNobody)
			},
			[]string{"pids: ", "no controller pids", "is not given it", "Delegate=yes"},
		},
	}[version(t)]
	p := c.start()
	assert.Equal(t, "memory: <nil>", p.line())
	assert.Equal(t, "cpu: <nil>", p.line())
	assert.Equal(t, "cpu_weight: <nil>", p.line())
	pids := p.line()
	for _, part := range c.missing {
		assert.Contains(t, pids, part)
	}
	assert.Equal(t, "offered: true", p.line())
	require.NoError(t, <-p.ended)
}

// These are the places where a supervisor may find itself, and where it then
// puts its streams.
func TestDetection(t *testing.T) {
	for _, c := range map[int][]struct {
		name string
		// start starts a supervisor, below a parent.
		start func(t *testing.T, parent string) *process
		// path is where its streams are, and own where it is itself afterwards.
		// They are below the parent, but for those that begin with two slashes.
		path, own string
	}{
		1: {
			{"in a systemd unit", func(t *testing.T, parent string) *process {
				m, ok := must(inspect()).holding("name=systemd")
				require.True(t, ok)
				unit := filepath.Join(m.point, parent, "unit.service")
				require.NoError(t, os.MkdirAll(unit, 0o755))
				return start(t, nil, "whole", func(cmd *exec.Cmd) {
					cmd.Env = append(cmd.Env, joinEnv+"="+filepath.Join(unit, "tasks"))
				})
			}, "/unit.service/whole", ""},
		},
		2: {
			{"root, nothing delegated", func(t *testing.T, parent string) *process {
				return start(t, nil, "whole", below(t, makeUnified(t, parent+"/plain")))
			}, "//penstock/whole", "/plain"},
			{"root, in a delegated unit", func(t *testing.T, parent string) *process {
				dir := makeUnified(t, parent+"/unit.service", unifiedControllers...)
				require.NoError(t, unix.Setxattr(dir, "trusted.delegate", []byte("1"), 0))
				return start(t, nil, "whole", below(t, dir))
			}, "/unit.service/whole", "/unit.service/supervisor"},
			{"root, started again in a delegated unit", func(t *testing.T, parent string) *process {
				dir := makeUnified(t, parent+"/unit.service", unifiedControllers...)
				require.NoError(t, unix.Setxattr(dir, "trusted.delegate", []byte("1"), 0))
				return start(t, nil, "whole", below(t, makeUnified(t, parent+"/unit.service/supervisor")))
			}, "/unit.service/whole", "/unit.service/supervisor"},
			{"root, logged in by a user who has units", func(t *testing.T, parent string) *process {
				dir := makeUnified(t, parent+"/user.service", unifiedControllers...)
				require.NoError(t, unix.Setxattr(dir, "trusted.delegate", []byte("1"), 0))
				return start(t, nil, "whole", below(t, makeUnified(t, parent+"/user.service/shell.scope")))
			}, "//penstock/whole", "/user.service/shell.scope"},
			{"a user, in a cgroup of its own", func(t *testing.T, parent string) *process {
				dir := makeUnified(t, parent+"/own.scope", unifiedControllers...)
				delegate(t, dir, nobody)
				return start(t, nil, "whole", below(t, dir), asNobody)
			}, "/own.scope/whole", "/own.scope/supervisor"},
			{"a user, started again in a cgroup of its own", func(t *testing.T, parent string) *process {
				delegate(t, makeUnified(t, parent+"/own.scope", unifiedControllers...), nobody)
				dir := makeUnified(t, parent+"/own.scope/supervisor")
				delegate(t, dir, nobody)
				return start(t, nil, "whole", below(t, dir), asNobody)
			}, "/own.scope/whole", "/own.scope/supervisor"},
			{"a user, beside others in a session", func(t *testing.T, parent string) *process {
				session := makeUnified(t, parent+"/user.service", unifiedControllers...)
				delegate(t, session, nobody)
				require.NoError(t, unix.Setxattr(session, "user.delegate", []byte("1"), 0))
				dir := makeUnified(t, parent+"/user.service/shell.scope")
				delegate(t, dir, nobody)
				require.Equal(t, "ready", start(t, nil, "echo", below(t, dir), asNobody).line())
				return start(t, nil, "whole", below(t, dir), asNobody)
			}, "/user.service/whole", "/user.service/shell.scope"},
		},
	}[version(t)] {
		t.Run(c.name, func(t *testing.T) {
			parent := testParent(t)
			at := func(path string) string {
				if rest, ok := strings.CutPrefix(path, "//"); ok {
					return "/" + rest
				}
				return parent + path
			}
			p := c.start(t, parent)
			path, own, _ := strings.Cut(p.line(), " ")
			assert.Equal(t, at(c.path), path)
			if c.own != "" {
				assert.Equal(t, at(c.own), own)
			}
			require.NoError(t, <-p.ended)
			for _, m := range must(inspect()).mounts {
				assert.NoDirExists(t, filepath.Join(m.point, path), "it was closed")
			}
		})
	}
}

// What a user cannot use is left as it was.
func TestCrowdedCgroupIsLeftAlone(t *testing.T) {
	parent := testParent(t)
	c := map[int]func() (*process, string){
		1: func() (*process, string) { return start(t, nil, "open", asNobody), "permission denied" },
		2: func() (*process, string) {
			dir := makeUnified(t, parent+"/shell.scope", unifiedControllers...)
			delegate(t, dir, nobody)
			require.Equal(t, "ready", start(t, nil, "echo", below(t, dir), asNobody).line())
			t.Cleanup(func() { assert.NoDirExists(t, filepath.Join(dir, supervisorName)) })
			return start(t, nil, "open", below(t, dir), asNobody), "holds other processes than the supervisor"
		},
	}[version(t)]
	p, says := c()
	line := p.line()
	assert.Contains(t, line, "true "+ErrUnavailable.Error())
	assert.Contains(t, line, says)
	require.NoError(t, <-p.ended)
}

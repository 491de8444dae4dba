package sandbox

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func TestChecks(t *testing.T) {
	require.NoError(t, CheckLock(launcher))
	needRoot(t)
	before, err := filepath.Glob(filepath.Join(os.TempDir(), "penstock-root*"))
	require.NoError(t, err)
	require.NoError(t, CheckStrict(launcher))
	after, err := filepath.Glob(filepath.Join(os.TempDir(), "penstock-root*"))
	require.NoError(t, err)
	assert.Equal(t, before, after, "nothing is left behind")
}

func TestCheckNamesTheLauncher(t *testing.T) {
	needRoot(t)
	missing := filepath.Join(t.TempDir(), "penstock-launch")
	for _, check := range []func(string) error{CheckStrict, CheckLock} {
		err := check(missing)
		require.ErrorContains(t, err, "there is no launcher at "+missing+": install penstock-launch beside penstock, or name it (isolation.launcher)")
	}
	require.NoError(t, os.WriteFile(missing, nil, 0o600))
	require.ErrorContains(t, CheckLock(missing), "the launcher cannot be executed")
	for program, want := range map[string]string{"/bin/false": "exit status 1", "/bin/true": "it did not answer"} {
		require.NoError(t, os.Remove(missing))
		copyProgram(t, program, missing, 0o700)
		require.ErrorContains(t, CheckLock(missing), "a trial of the sandbox with "+missing+" failed: "+want+": it must be the penstock-launch")
	}
}

// checkInside runs CheckStrict as the program of a plan. Without Landlock means
// on a system whose kernel, or whose container, does not have it.
func checkInside(binary string, withoutLandlock bool) string {
	if withoutLandlock {
		// For all threads, as the launcher is started by any of them.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err.Error()
		}
		code := append([]bpf.Instruction{loadNumber}, when(unix.SYS_LANDLOCK_CREATE_RULESET, refuse(unix.ENOSYS))...)
		if err := install(append(code, always(allow)...)); err != nil {
			return err.Error()
		}
	}
	if err := CheckStrict(binary); err != nil {
		return err.Error()
	}
	return ""
}

func TestCheckStrictNamesAllThatIsMissing(t *testing.T) {
	strict := strictPlan(t, "check", launcher)
	missing := strings.Split(report[string](t, strict), "\n")
	require.Len(t, missing, 2, missing)
	assert.Equal(t, "penstock runs as user 200001 and lacks CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SYS_PTRACE, CAP_KILL: run it as root", missing[0])
	assert.Contains(t, missing[1], "there is no launcher at ")

	locked := plainPlan(t, "check", launcher)
	locked.Lock = true
	missing = strings.Split(report[string](t, locked), "\n")
	require.Len(t, missing, 1, missing)
	assert.Contains(t, missing[0], "penstock runs as root without CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_SYS_PTRACE, CAP_KILL: add them")

	older := plainPlan(t, "check", launcher, "without landlock")
	missing = strings.Split(report[string](t, older), "\n")
	require.Len(t, missing, 1, missing)
	assert.Contains(t, missing[0], "the kernel's Landlock has ABI 0 (0 is none), and 6 is the least: strict needs Linux 6.12 or newer")
}

func TestInspect(t *testing.T) {
	here, err := Inspect(os.Getpid())
	require.NoError(t, err)
	assert.False(t, here.NoNewPrivs)
	assert.False(t, here.Seccomp)
	assert.Empty(t, here.Namespaces)
	assert.True(t, here.Capabilities, "those of root, or the bounding set")
	assert.Equal(t, landlockABI(), here.LandlockABI)

	locked := plainPlan(t, "serve", "wait")
	locked.Lock = true
	layers, err := Inspect(startServer(t, locked).Pid)
	require.NoError(t, err)
	assert.Equal(t, Layers{UID: here.UID, GID: here.GID, NoNewPrivs: true, Seccomp: true, Namespaces: []string{"mnt"}, LandlockABI: here.LandlockABI}, layers)

	layers, err = Inspect(startServer(t, strictPlan(t, "serve", "wait")).Pid)
	require.NoError(t, err)
	assert.Equal(t, Layers{
		UID: tenant, GID: tenant, NoNewPrivs: true, Seccomp: true,
		Namespaces: []string{"mnt", "pid", "ipc", "uts"}, LandlockABI: here.LandlockABI,
	}, layers)

	_, err = Inspect(1 << 30)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// A laptop's user has no privileges to drop, and may not drop any. Root's are
// gone, and an execve as root gives none back.
func TestLock(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		credential *syscall.Credential
		uid        string
		bounding   string
	}{
		"root":    {nil, "0", "CapBnd:\t0000000000000000\n"},
		"another": {&syscall.Credential{Uid: nobody, Gid: nobody}, "65534", "CapBnd:\t"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Plan{Program: "/bin/sh", Args: []string{"sh", "-c", "cat /proc/self/status; true"}, Env: []string{"PATH=/bin:/usr/bin"}, Lock: true}
			cmd, done, err := plan.Command(launcher)
			require.NoError(t, err)
			defer done()
			cmd.SysProcAttr.Credential = c.credential
			var out, said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &said
			require.NoError(t, cmd.Run(), said.String())
			assert.Contains(t, out.String(), "\nUid:"+strings.Repeat("\t"+c.uid, 4)+"\n")
			assert.Contains(t, out.String(), c.bounding)
			for name, want := range map[string]string{
				"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
				"CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
			} {
				assert.Contains(t, out.String(), "\n"+name+":\t"+want+"\n")
			}
		})
	}
}

// A dynamic program brings its loader and the system's libraries.
func TestDynamicProgram(t *testing.T) {
	plan := strictPlan(t)
	plan.Program, plan.Args = "/bin/cat", []string{"cat", "/proc/self/status", "/proc/self/comm"}
	loader, script, err := interpreter(plan.Program)
	require.NoError(t, err)
	require.False(t, script)
	require.NotEmpty(t, loader, "this test is about a dynamic program")
	stdout, stderr, err := run(t, plan)
	require.NoError(t, err, stderr)
	for name, want := range map[string]string{
		"Uid": "200001\t200001\t200001\t200001", "Gid": "200001\t200001\t200001\t200001", "Groups": " ", "NSpid": "1",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapBnd": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
	} {
		line := findLine(t, stdout, name+":")
		assert.Contains(t, []string{name + ":\t" + want, name + ":\t1234\t" + want}, line)
	}
}

func TestInterpreter(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text, path string
		script     bool
		want       string
	}{
		"script":         {"#! /usr/bin/env python3\n", "/usr/bin/env", true, ""},
		"nameless":       {"#!\n", "", false, "is a script that names no interpreter"},
		"text":           {"This is a text, and no program.", "", false, "is neither a program nor a script: bad magic number"},
		"empty":          {"", "", false, "EOF"},
		"short":          {"#!/bin/sh", "/bin/sh", true, ""},
		"broken program": {"\x7fELF", "", false, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o700))
			path, script, err := interpreter(file)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.path, path)
			assert.Equal(t, c.script, script)
		})
	}
	path, _, err := interpreter(launcher)
	require.NoError(t, err)
	assert.Empty(t, path, "it is static")
}

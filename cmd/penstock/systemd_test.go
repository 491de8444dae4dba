package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
)

// readUnit returns a unit's settings by section and key, each with its values.
func readUnit(t *testing.T, text string) map[string]map[string][]string {
	t.Helper()
	unit := map[string]map[string][]string{}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			unit[section] = map[string][]string{}
		default:
			key, value, found := strings.Cut(line, "=")
			require.True(t, found && section != "", line)
			unit[section][key] = append(unit[section][key], value)
		}
	}
	return unit
}

func TestSystemdUnit(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "configs", "systemd", "penstock.service"))
	require.NoError(t, err)
	service := readUnit(t, string(text))["Service"]
	for key, want := range map[string]string{
		"KillMode": "process", "Delegate": "yes", "DelegateSubgroup": "supervisor", "Restart": "always",
		"StateDirectory": "penstock", "OOMPolicy": "continue",
	} {
		assert.Equal(t, []string{want}, service[key], key)
	}
	// Each is tied to one start of the service, hides runners from the next, or
	// forbids what it takes to confine one.
	for _, key := range []string{
		"PrivateTmp", "PrivateUsers", "PrivatePIDs", "DynamicUser", "RuntimeDirectory", "ProtectControlGroups", "ProtectProc",
		"RemoveIPC", "ProtectHostname", "RestrictSUIDSGID", "User",
	} {
		assert.NotContains(t, service, key)
	}
	require.Len(t, service["ExecStart"], 1)
	main := unitConfig(t, service["ExecStart"][0])
	assert.Equal(t, supervisor.ProfileStrict, main.Isolation.Profile)
	// What the comments propose for one's own streams.
	proposed := readUnit(t, dropIn(t, string(text)))["Service"]
	require.Len(t, proposed["ExecStart"], 2)
	assert.Empty(t, proposed["ExecStart"][0], "a drop-in has to take the unit's own command back first")
	assert.Equal(t, supervisor.ProfileStandard, unitConfig(t, proposed["ExecStart"][1]).Isolation.Profile)
	assert.Equal(t, []string{"penstock"}, proposed["User"])
	assert.Equal(t, []string{""}, proposed["CapabilityBoundingSet"])
}

// dropIn is the one that the comments of the unit spell out.
func dropIn(t *testing.T, text string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "#   [Service]\n")
	require.True(t, found)
	lines := []string{"[Service]\n"}
	for line := range strings.Lines(rest) {
		line, indented := strings.CutPrefix(line, "#   ")
		if !indented {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// unitConfig is the config of the server that a line of a unit starts, and
// what all of them have in common.
func unitConfig(t *testing.T, line string) supervisor.Config {
	t.Helper()
	args := strings.Fields(line)
	require.Greater(t, len(args), 2, line)
	assert.Equal(t, "penstock", filepath.Base(args[0]))
	verb, rest, err := newRootCommand().Find(args[1:])
	require.NoError(t, err)
	assert.Equal(t, "serve", verb.Name())
	var f serveFlags
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.register(flags)
	require.NoError(t, flags.Parse(rest), line)
	if f.configFile != "" {
		// As the unit's comments have it installed.
		assert.Equal(t, "/etc/penstock/penstock.yaml", f.configFile)
		f.configFile = filepath.Join("..", "..", "configs", "hardened.yaml")
	}
	cfg, err := f.config(flags)
	require.NoError(t, err, line)
	assert.Equal(t, supervisor.OnExitDetach, cfg.Supervisor.OnExit)
	assert.Equal(t, "%S/penstock", cfg.Supervisor.DataDir, "the folder of StateDirectory=")
	return cfg.Supervisor
}

// TestSystemdTakesTheUnit asks systemd itself.
func TestSystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not there")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "configs", "systemd", "penstock.service"))
	require.NoError(t, err)
	// It wants the binary to exist.
	binary, err := os.Executable()
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "penstock.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "=/usr/local/bin/penstock ", "="+binary+" ")), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for line := range strings.Lines(string(out)) {
		// Before systemd 254 it knows no such key.
		if !strings.Contains(line, "'DelegateSubgroup' in section [Service], ignoring") {
			assert.NotContains(t, line, "penstock.service", "a complaint")
		}
	}
}

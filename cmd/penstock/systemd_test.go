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
		"KillMode": "process", "Delegate": "yes", "DelegateSubgroup": "supervisor", "Restart": "always", "StateDirectory": "penstock", "OOMPolicy": "continue",
	} {
		assert.Equal(t, []string{want}, service[key], key)
	}
	// Each is tied to one start of the service, or hides runners from the next.
	for _, key := range []string{
		"PrivateTmp", "PrivateUsers", "PrivatePIDs", "DynamicUser", "RuntimeDirectory", "ProtectControlGroups", "ProtectProc", "RemoveIPC",
	} {
		assert.NotContains(t, service, key)
	}

	// The line that is in force, and the one that the comments propose.
	lines := service["ExecStart"]
	require.Len(t, lines, 1)
	for line := range strings.Lines(string(text)) {
		if _, proposed, found := strings.Cut(line, "#   ExecStart="); found && strings.TrimSpace(proposed) != "" {
			lines = append(lines, strings.TrimSpace(proposed))
		}
	}
	require.Len(t, lines, 2)
	for _, line := range lines {
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
		f.configFile = ""
		cfg, err := f.config(flags)
		require.NoError(t, err, line)
		assert.Equal(t, supervisor.OnExitDetach, cfg.Supervisor.OnExit)
		assert.Equal(t, "%S/penstock", cfg.Supervisor.DataDir, "the folder of StateDirectory=")
	}

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not there: systemd has not seen the unit")
		return
	}
	// It wants the binary to exist.
	binary, err := os.Executable()
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "penstock.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "=/usr/local/bin/penstock ", "="+binary+" ")), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for line := range strings.Lines(string(out)) {
		// Systemd before 254 passes over this one, which costs what the unit says.
		if !strings.Contains(line, "Unknown key 'DelegateSubgroup'") {
			assert.NotContains(t, line, "penstock.service", "a complaint: %s", out)
		}
	}
}

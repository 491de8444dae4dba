package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/configs"
	"penstock/supervisor"
)

func configOf(t *testing.T, args ...string) (configs.Config, error) {
	t.Helper()
	var f serveFlags
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f.register(flags)
	require.NoError(t, flags.Parse(args))
	return f.config(flags)
}

func TestFlagsOverrideSetsOverrideFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte(
		"http: {listen: '127.0.0.1:1'}\nlog: {level: warn, format: json}\ntimeouts: {stop: 1s}\nprefix_stream_endpoints: false\non_exit: detach\nisolation: {profile: strict}\norphan_timeout: 0s\ndata_dir: /file\nrunner: /file\n"), 0o600))

	got, err := configOf(t, "--config", file,
		"--set", "log.level=error", "--set", "http.listen=127.0.0.1:2", "--set", "timeouts.stop=2s",
		"--listen", "127.0.0.1:3", "--data-dir", "/flag", "--runner", "/flag")
	require.NoError(t, err)

	want := configs.Default()
	want.HTTP.Listen = "127.0.0.1:3"
	want.Log = configs.Log{Level: "error", Format: "json"}
	want.Supervisor.Timeouts.Stop = 2 * time.Second
	want.Supervisor.PrefixStreamEndpoints = false
	want.Supervisor.OnExit = supervisor.OnExitDetach
	want.Supervisor.OrphanTimeout = 0
	want.Supervisor.Isolation.Profile = supervisor.ProfileStrict
	want.Supervisor.DataDir = "/flag"
	want.Supervisor.Runner = "/flag"
	assert.Equal(t, want, got)

	got, err = configOf(t, "--config", file, "--prefix-stream-endpoints", "--log-level", "debug", "--log-format", "console", "--on-exit=stop", "--isolation", "none")
	require.NoError(t, err)
	assert.Equal(t, supervisor.ProfileNone, got.Supervisor.Isolation.Profile)
	assert.Equal(t, supervisor.OnExitStop, got.Supervisor.OnExit)
	assert.True(t, got.Supervisor.PrefixStreamEndpoints)
	assert.Equal(t, configs.Log{Level: "debug", Format: "console"}, got.Log)
}

func TestDataDirDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	got, err := configOf(t)
	require.NoError(t, err)
	assert.Equal(t, "/state/penstock", got.Supervisor.DataDir)
}

func TestConfigIsValidated(t *testing.T) {
	_, err := configOf(t, "--data-dir", "/x", "--listen", "0.0.0.0:80")
	assert.ErrorContains(t, err, "http.auth.token_file")
}

func TestEveryServeFlagIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	require.NoError(t, err)
	newServeCommand().Flags().VisitAll(func(flag *pflag.Flag) {
		assert.True(t, strings.Contains(string(text), "`--"+flag.Name+" ") || strings.Contains(string(text), "`--"+flag.Name+"`"), flag.Name)
	})
}

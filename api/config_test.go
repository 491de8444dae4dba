package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestOnlyLoopbackNeedsNoToken(t *testing.T) {
	for _, c := range []struct {
		listen   string
		loopback bool
	}{
		{"127.0.0.1:4195", true},
		{"127.1.2.3:0", true},
		{"[::1]:4195", true},
		{"[::ffff:127.0.0.1]:4195", true},
		{"localhost:4195", true},
		{"0.0.0.0:4195", false},
		{":4195", false},
		{"[::]:4195", false},
		{"10.0.0.1:4195", false},
		{"[fe80::1%eth0]:4195", false},
		{"example.com:4195", false},
		{"localhost.example.com:4195", false},
		// The resolver may read these as anything.
		{"127.1:4195", false},
		{"2130706433:4195", false},
	} {
		t.Run(c.listen, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Listen = c.listen
			if err := cfg.Validate(); c.loopback {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "http.auth.token_file")
			}
			cfg.Auth.TokenFile = "token"
			assert.NoError(t, cfg.Validate())
		})
	}
}

func TestConfigValidateNamesEveryKey(t *testing.T) {
	require.NoError(t, (&Config{Listen: "127.0.0.1:0", RootPath: "", MaxBodyBytes: 1}).Validate())

	cfg := Config{Listen: "4195", RootPath: "benthos", MaxBodyBytes: 0}
	err := cfg.Validate()
	for _, want := range []string{`http.listen "4195"`, `http.root_path "benthos"`, "http.max_body_bytes is 0"} {
		assert.ErrorContains(t, err, want)
	}
	_, newErr := New(cfg, newRecorder(), zap.NewNop(), "", "")
	assert.Equal(t, err, newErr)

	for _, path := range []string{"/", "/benthos/", "benthos"} {
		cfg = DefaultConfig()
		cfg.RootPath = path
		assert.ErrorContains(t, cfg.Validate(), "http.root_path", path)
	}
}

func TestFunctionsTokenNeedsTheOther(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Auth.FunctionsTokenFile = "functions"
	require.ErrorContains(t, cfg.Validate(), "http.auth.functions_token_file is set and http.auth.token_file is not")
	cfg.Auth.TokenFile = "functions"
	require.ErrorContains(t, cfg.Validate(), `http.auth.functions_token_file is "functions", and so is http.auth.token_file`)
	cfg.Auth.TokenFile = "all"
	assert.NoError(t, cfg.Validate())
}

package api

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func tokenFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestTokenFile(t *testing.T) {
	for name, c := range map[string]struct{ content, want, fails string }{
		"token":            {content: "s3cret", want: "s3cret"},
		"surrounded":       {content: "\n\t s3cret \r\n", want: "s3cret"},
		"empty":            {content: "", fails: "must hold one token"},
		"white space":      {content: " \n\t\r\n", fails: "must hold one token"},
		"two words":        {content: "s3 cret", fails: "must hold one token"},
		"two lines":        {content: "one\ntwo\n", fails: "must hold one token"},
		"carriage returns": {content: "one\rtwo", fails: "must hold one token"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Auth.TokenFile = tokenFile(t, c.content)
			server, err := New(cfg, newRecorder(), zap.NewNop(), "", "")
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				assert.ErrorContains(t, err, cfg.Auth.TokenFile)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, server.tokens.all)
		})
	}

	cfg := testConfig()
	cfg.Auth.TokenFile = filepath.Join(t.TempDir(), "absent")
	_, err := New(cfg, newRecorder(), zap.NewNop(), "", "")
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "http.auth.token_file")
}

func TestFunctionsTokenFile(t *testing.T) {
	for name, c := range map[string]struct{ content, want, fails string }{
		"token":     {content: " f0r-calls\n", want: "f0r-calls"},
		"empty":     {content: "\n", fails: "must hold one token"},
		"two words": {content: "f0r calls", fails: "must hold one token"},
		"the other": {content: "s3cret\n", fails: "put another one there"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Auth.TokenFile = tokenFile(t, "s3cret")
			cfg.Auth.FunctionsTokenFile = tokenFile(t, c.content)
			server, err := New(cfg, newRecorder(), zap.NewNop(), "", "")
			if c.fails != "" {
				require.ErrorContains(t, err, "http.auth.functions_token_file "+cfg.Auth.FunctionsTokenFile)
				assert.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tokens{"s3cret", c.want}, server.tokens)
		})
	}

	cfg := testConfig()
	cfg.Auth = Auth{TokenFile: tokenFile(t, "s3cret"), FunctionsTokenFile: filepath.Join(t.TempDir(), "absent")}
	_, err := New(cfg, newRecorder(), zap.NewNop(), "", "")
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "http.auth.functions_token_file")
}

func TestAuthentication(t *testing.T) {
	reached := make(chan string, 2)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) { reached <- r.URL.Path })
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "s3cret\n")
	addr := serve(t, cfg, streams)

	const refusal = "Error: send the bearer token of this server in the Authorization header\n"
	for name, headers := range map[string][]string{
		"none":         nil,
		"empty":        {"Authorization: "},
		"scheme alone": {"Authorization: Bearer"},
		"no scheme":    {"Authorization: s3cret"},
		"other scheme": {"Authorization: Basic s3cret"},
		"wrong":        {"Authorization: Bearer other"},
		"prefix":       {"Authorization: Bearer s3cre"},
		"longer":       {"Authorization: Bearer s3crets"},
		"other case":   {"Authorization: Bearer S3CRET"},
		"two tokens":   {"Authorization: Bearer s3cret s3cret"},
		"query":        {"X-Authorization: Bearer s3cret"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, target := range []string{"/streams", "/benthos/streams", "/foo/post", "/benthos/foo/post", "/nothing", "/ping/", "//ping", "/streams/a?token=s3cret"} {
				got := call(t, addr, "POST", target, "{}", headers...)
				assert.Equal(t, http.StatusUnauthorized, got.StatusCode, target)
				assert.Equal(t, refusal, got.text, target)
				assert.Equal(t, "Bearer", got.Header.Get("WWW-Authenticate"), target)
			}
		})
	}
	assert.Empty(t, reached)
	assert.Empty(t, streams.List())

	for _, path := range []string{"/ping", "/benthos/ping"} {
		assert.Equal(t, "pong", call(t, addr, "GET", path, "").text)
	}
	for _, path := range []string{"/streams/a", "/foo/post", "/benthos/foo/post"} {
		assert.Equal(t, http.StatusOK, call(t, addr, "POST", path, "{}", "Authorization: Bearer s3cret").StatusCode, path)
	}
	assert.Equal(t, "/foo/post", <-reached)
	assert.Equal(t, "/foo/post", <-reached)
	assert.Len(t, streams.List(), 1)
}

func TestUnauthenticatedBodyIsNotAwaited(t *testing.T) {
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "s3cret")
	addr := serve(t, cfg, newRecorder())
	for _, requests := range []int{1, 1000} {
		client := dial(t, addr)
		client.send([]string{"POST /streams HTTP/1.1", "Host: x", "Content-Length: 1000000"}, strings.Repeat("GET /ping HTTP/1.1\r\n\r\n", requests))
		got := client.receive("POST")
		assert.Equal(t, http.StatusUnauthorized, got.StatusCode)
		assert.True(t, got.Close)
		client.closed()
	}
}

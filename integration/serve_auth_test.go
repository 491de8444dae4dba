package integration

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestServeToken(t *testing.T) {
	t.Parallel()
	const token = "s3cret-t0ken"
	file := writeFile(t, "token", token+"\n")
	p := startPenstock(t, "--set", "http.auth.token_file="+file, writeFile(t, "tell.yaml", tellYAML), writeFile(t, "echo.yaml", echoYAML))
	ask := func(method, path, authorization string) answer {
		t.Helper()
		r := request{Method: method, Path: path, Body: "x"}
		if authorization != "" {
			r.Header = map[string]string{"Authorization": authorization}
		}
		a, err := p.ask(t.Context(), r)
		require.NoError(t, err)
		return a
	}
	for _, call := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/streams", 200},
		{http.MethodGet, "/streams/echo", 200},
		{http.MethodGet, "/streams/echo/stats", 200},
		{http.MethodGet, "/resources", 200},
		{http.MethodGet, "/version", 200},
		{http.MethodGet, "/endpoints", 200},
		{http.MethodGet, "/ready", 200},
		{http.MethodGet, "/echo/ready", 200},
		{http.MethodPost, "/echo/post", 200},
		{http.MethodGet, "/echo/post/ws", 400},
		{http.MethodGet, "/nope", 404},
		{http.MethodGet, "/benthos/streams", 200},
		{http.MethodPost, "/benthos/echo/post", 200},
	} {
		for _, wrong := range []string{"", token, "Bearer", "Bearer ", "Bearer " + token + "x", "Bearer " + token[1:], "Basic " + token, "Bearer  x"} {
			a := ask(call.method, call.path, wrong)
			assert.Equal(t, http.StatusUnauthorized, a.Status, "%s %s with %q", call.method, call.path, wrong)
			assert.NoError(t, line("token")(a))
			assert.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"))
			assert.NotContains(t, string(a.Body), token)
		}
		a := ask(call.method, call.path, "Bearer "+token)
		assert.Equal(t, call.status, a.Status, "%s %s: %s", call.method, call.path, a)
	}
	assert.Equal(t, http.StatusOK, ask(http.MethodGet, "/streams", "bearer "+token).Status, "the name of a scheme has no case")
	assert.Equal(t, "pong", ask(http.MethodGet, "/ping", "").Text())
	assert.Equal(t, "pong", ask(http.MethodGet, "/benthos/ping", "").Text())
	assert.Equal(t, http.StatusUnauthorized, ask(http.MethodGet, "/ping/x", "").Status)
	assert.Equal(t, http.StatusUnauthorized, ask(http.MethodGet, "/%70ing/../streams", "").Status)

	// The server's own token is no stream's business.
	a := ask(http.MethodGet, "/tell/item/x", "Bearer "+token)
	assert.Equal(t, http.StatusOK, a.Status)
	assert.NotContains(t, string(a.Body), token)
	assert.NotContains(t, readText(t, p.LogFile), token)

	for _, text := range []string{"", "\n", "two tokens", "two\nlines\n"} {
		bad := writeFile(t, "token", text)
		assert.Contains(t, refused(t, "--set", "http.auth.token_file="+bad), bad)
	}
}

// A signal that comes while streams are being built ends the start, and leaves
// nothing of it.
func TestServeStoppedAtStart(t *testing.T) {
	t.Parallel()
	// Whoever opens a pipe that nobody writes to waits.
	pipe := filepath.Join(t.TempDir(), "mapping.blobl")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	stuck := writeFile(t, "stuck.yaml", "input: {http_server: {}}\npipeline: {processors: [{mapping: 'from "+quoted(pipe)+"'}]}\noutput: {drop: {}}\n")
	bin, err := product()
	require.NoError(t, err)
	data := filepath.Join(t.TempDir(), "data")
	s, err := startServer(t, bin.Penstock, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--runner", bin.Runner,
		"--set", "timeouts.prepare=60s", stuck)
	require.NoError(t, err)
	t.Cleanup(s.kill)
	await(t, startTimeout, "a runner that reads from the pipe", func() error {
		// While it does the other end can be opened; kept open, it says nothing.
		writer, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			t.Cleanup(func() { writer.Close() })
		}
		return errors.Join(err, s.alive())
	})
	began := time.Now()
	require.NoError(t, s.signal(syscall.SIGINT))
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		require.Fail(t, "the server does not end")
	}
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.NoError(t, s.exitErr, "a signal is no error")
	assert.Empty(t, mentioning(data))
}

// A second signal does not wait for streams that do not drain.
func TestServeSecondSignal(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "blocked.yaml", `
input: {generate: {interval: "", mapping: 'root = {}'}}
pipeline: {threads: 1, processors: [{sleep: {duration: 1h}}]}
output: {drop: {}}
`)
	bin, err := product()
	require.NoError(t, err)
	dir := t.TempDir()
	data, addr := filepath.Join(dir, "data"), filepath.Join(dir, "addr")
	s, err := startServer(t, bin.Penstock, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--runner", bin.Runner,
		"--addr-file", addr, "--set", "timeouts.shutdown=10m", "--set", "timeouts.stop=10m", file)
	require.NoError(t, err)
	t.Cleanup(s.kill)
	await(t, startTimeout, "the address file", func() error {
		text, err := os.ReadFile(addr)
		s.Base = "http://" + string(text[:max(0, len(text)-1)])
		return errors.Join(err, s.alive())
	})
	await(t, soonTimeout, "the first message", func() error {
		if received(t, s.client, "blocked") == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	s.close()
	require.NoError(t, s.signal(syscall.SIGINT))
	await(t, soonTimeout, "the stop to begin", func() error {
		return refusesStreams(t, s.client)
	})
	require.NoError(t, s.alive(), "it waits for the stream")
	began := time.Now()
	require.NoError(t, s.signal(syscall.SIGINT))
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		require.Fail(t, "the server does not end")
	}
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.Error(t, s.exitErr, "the stream had not drained")
	assert.Empty(t, mentioning(data))
	_, err = os.Stat(addr)
	assert.ErrorIs(t, err, os.ErrNotExist, "the address file is removed")
}

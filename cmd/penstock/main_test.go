package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrorsAreOneLineAndExitCodeOne(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.yaml")
	put(t, empty, "")
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown verb", []string{"serv"}, "serv"},
		{"unknown flag", []string{"serve", "--lissen", "x"}, "unknown flag: --lissen: see penstock serve --help"},
		{"two settings out of range", []string{"serve", "--data-dir", dir, "--set", "concurrency=0", "--log-level", "loud"},
			`concurrency is 0: it must be at least 1; log.level is "loud"`},
		{"absent config", []string{"serve", "--data-dir", dir, "--config", filepath.Join(dir, "absent.yaml")}, "absent.yaml"},
		{"absent stream file", []string{"serve", "--data-dir", dir, filepath.Join(dir, "absent.yaml")}, "absent.yaml"},
		{"unknown action at exit", []string{"serve", "--data-dir", dir, "--on-exit", "leave"}, `on_exit is "leave": it must be stop or detach`},
		{"unknown profile", []string{"serve", "--data-dir", dir, "--isolation", "stric"}, `isolation.profile is "stric"`},
		{"nothing to watch", []string{"serve", "--data-dir", dir, "--watch"}, "--watch has nothing to watch"},
		{"empty stream file", []string{"serve", "--data-dir", dir, empty}, empty + ": the file is empty: write the stream's config into it"},
		{"no time to restart", []string{"upgrade", "--timeout", "0s"}, "--timeout is 0s: it must be longer than 0"},
		{"less than no time to restart", []string{"upgrade", "--rolling", "--timeout=-1s"}, "--timeout is -1s: it must be longer than 0"},
		{"no time to answer", []string{"healthcheck", "--timeout", "0"}, "--timeout is 0s: it must be longer than 0"},
		{"upgrade takes no argument", []string{"upgrade", "x"}, `unknown command "x"`},
		{"version takes no argument", []string{"version", "x"}, `unknown command "x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			assert.Equal(t, 1, run(test.args, &stdout, &stderr))
			assert.Empty(t, stdout.String())
			assert.Regexp(t, `^penstock: [^\n]+\n$`, stderr.String())
			assert.Contains(t, stderr.String(), test.want)
		})
	}
}

func TestVersion(t *testing.T) {
	var stdout, stderr strings.Builder
	require.Equal(t, 0, run([]string{"version"}, &stdout, &stderr), stderr.String())
	assert.Regexp(t, `^penstock \S+, built \S+, go\S+ \w+/\w+\n$`, stdout.String())
}

func TestHealthcheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ping", "/below/ping":
			_, _ = fmt.Fprint(w, "pong")
		case "/slow/ping":
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	// An address that was free a moment ago answers nothing.
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	for _, test := range []struct {
		name, url string
		code      int
		want      string
	}{
		{"answers", server.URL, 0, ""},
		{"answers below a prefix", server.URL + "/below/", 0, ""},
		{"another status", server.URL + "/elsewhere", 1, "404 Not Found"},
		{"too slow", server.URL + "/slow", 1, "deadline exceeded"},
		{"nobody there", "http://" + closed.Addr().String(), 1, "connection refused"},
		{"no URL", "http://[", 1, "is no URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			assert.Equal(t, test.code, run([]string{"healthcheck", "--timeout", "300ms", "--url", test.url}, &stdout, &stderr))
			assert.Contains(t, stderr.String(), test.want)
		})
	}
}

// Every verb that asks a server says what a URL has to be.
func TestURLsOfServers(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"127.0.0.1:4195", `--url "127.0.0.1:4195" is no URL of a server: write http://127.0.0.1:4195`},
		{"localhost:4195", `--url "localhost:4195" is no URL of a server: write http://localhost:4195`},
		{"[::1]:4195", `--url "[::1]:4195" is no URL of a server: write http://[::1]:4195`},
		{"", `--url "" is no URL of a server: write http://HOST:PORT`},
		{"unix:///run/x", `--url "unix:///run/x" is no URL of a server: write http://HOST:PORT`},
		{"http:///streams", `--url "http:///streams" is no URL of a server: write http://HOST:PORT`},
		{"http://host:port", `--url "http://host:port" is no URL: invalid port ":port" after host`},
	} {
		for _, verb := range []string{"status", "upgrade", "healthcheck"} {
			var stdout, stderr strings.Builder
			assert.Equal(t, 1, run([]string{verb, "--url", test.url}, &stdout, &stderr))
			assert.Equal(t, "penstock: "+test.want+"\n", stderr.String(), verb)
		}
	}
}

func TestClearAddr(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "addr")
	require.NoError(t, writeAddr(path, "127.0.0.1:80"))
	require.NoError(t, clearAddr(path))
	require.NoFileExists(t, path)
	assert.NoError(t, clearAddr(path), "there is none")
	assert.NoError(t, clearAddr(filepath.Join(dir, "absent", "addr")), "there is none")
	assert.NoError(t, clearAddr(""), "none is asked for")
	assert.ErrorContains(t, clearAddr(dir), "cannot remove --addr-file "+dir)
	assert.DirExists(t, dir)
}

func TestWriteAddr(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "addr")
	require.NoError(t, os.WriteFile(path, []byte("a much longer address of before\n"), 0o600))
	require.NoError(t, writeAddr(path, "127.0.0.1:80"))

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:80\n", string(text))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "a temporary file was left")

	assert.ErrorContains(t, writeAddr(filepath.Join(dir, "absent", "addr"), "x"), "--addr-file")
	// A folder cannot be replaced by a file.
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "folder"), 0o700))
	assert.ErrorContains(t, writeAddr(filepath.Join(dir, "folder"), "x"), "folder")
	entries, err = os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "a temporary file was left")
}

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/configs"
	"penstock/supervisor"
)

func bannerFor(t *testing.T, addr string, cfg configs.Config, files ...string) string {
	t.Helper()
	bound, err := net.ResolveTCPAddr("tcp", addr)
	require.NoError(t, err)
	declared := make([]supervisor.StreamFile, 0, len(files))
	for _, file := range files {
		declared = append(declared, supervisor.StreamFile{Text: []byte(file)})
	}
	var b strings.Builder
	require.NoError(t, writeBanner(&b, bound, cfg, "strict (alone)", len(files), declared))
	return b.String()
}

func TestBannerTakesCurlLinesOfFiles(t *testing.T) {
	got := bannerFor(t, "127.0.0.1:80", configs.Default(),
		"# About.\n#\n#   curl http://127.0.0.1:4195/a/post -d x\n#   curl second\ninput: {}\n",
		"input: {}\n# curl http://127.0.0.1:4195/too-late\n",
		"\n#curling is no call\n# curl http://127.0.0.1:4195/b",
	)
	assert.Contains(t, got, "Penstock serves 3 streams\n  streams    http://127.0.0.1:80/streams\n  events     http://127.0.0.1:80/events\n"+
		"  ready      http://127.0.0.1:80/ready\n  isolation  strict (alone)\nTry\n")
	assert.Contains(t, got, "Try\n  curl http://127.0.0.1:80/a/post -d x\n  curl http://127.0.0.1:80/b\n  curl http://127.0.0.1:80/streams\nCtrl-C")
}

func TestBannerWithoutPrefixHasGenericLines(t *testing.T) {
	cfg := configs.Default()
	cfg.Supervisor.PrefixStreamEndpoints = false
	got := bannerFor(t, "127.0.0.1:80", cfg, "# curl http://127.0.0.1:4195/a/post")
	assert.NotContains(t, got, "/a/post")
	assert.Equal(t, bannerTries, strings.Count(got, "  curl http://127.0.0.1:80/streams"))
}

func TestBannerNamesAReachableAddress(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:80":  "http://127.0.0.1:80/ready",
		"[::]:80":     "http://[::1]:80/ready",
		"10.1.2.3:80": "http://10.1.2.3:80/ready",
	} {
		assert.Contains(t, bannerFor(t, addr, configs.Default()), want)
	}
}

func TestBannerSaysWhatCtrlCDoes(t *testing.T) {
	cfg := configs.Default()
	assert.Contains(t, bannerFor(t, "127.0.0.1:80", cfg), "\nCtrl-C stops it and every stream\n")
	cfg.Supervisor.OnExit = supervisor.OnExitDetach
	assert.Contains(t, bannerFor(t, "127.0.0.1:80", cfg), "\nCtrl-C stops it, and the streams run on\n")
}

func TestBannerSendsTheToken(t *testing.T) {
	cfg := configs.Default()
	cfg.HTTP.Auth.TokenFile = "/run/token"
	assert.Contains(t, bannerFor(t, "127.0.0.1:80", cfg),
		`  curl -H "Authorization: Bearer $(cat '/run/token')" http://127.0.0.1:80/streams`+"\n")
}

func TestEveryExampleHasACurlLine(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "configs", "examples", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		line, ok := curlLine(text)
		require.True(t, ok, path)
		id := strings.TrimSuffix(filepath.Base(path), ".yaml")
		assert.True(t, strings.Contains(line, exampleURL+"/"+id+"/") || strings.Contains(line, exampleURL+"/streams/"+id+"/"), line)
	}
}

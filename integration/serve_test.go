package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// folder makes files, by their slash-separated names, in a folder of the
// test's own, and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

// refused runs `penstock serve`, which must give up: with exit code 1, in good
// time, with one line of a reason, and with no process left. It returns that
// line.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	bin, err := product()
	require.NoError(t, err)
	data := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin.Penstock, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--runner", bin.Runner, "--log-level", "error",
	}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "serve %v\n%s%s", args, &stdout, &stderr)
	assert.Equal(t, 1, exit.ExitCode(), "%s", &stderr)
	assert.Empty(t, stdout.String(), "no banner without a server")
	assert.Empty(t, mentioning(data), "processes that outlived their supervisor")
	text := strings.TrimSuffix(stderr.String(), "\n")
	assert.True(t, strings.HasPrefix(text, "penstock: ") && !strings.Contains(text, "\n"), "not one line: %q", text)
	return text
}

func TestServeStreamFiles(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"streams/foo.yaml":              echoYAML,
		"streams/bar.yml":               echoYAML,
		"streams/dir/foo.yaml":          echoYAML,
		"streams/dir/sub/deep.yaml":     echoYAML,
		"streams/foo_benthos_test.yaml": "tests: []\n",
		"streams/notes.txt":             "no stream",
		"streams/.hidden.yaml":          "no stream",
		"streams/.git/x.yaml":           "no stream",
		"one/alone.yaml":                echoYAML,
		"globs/a1.yaml":                 echoYAML,
		"globs/a2.yaml":                 echoYAML,
		"globs/b.yaml":                  "no stream",
		"json/j.json":                   `{"input":{"http_server":{}},"output":{"sync_response":{}}}`,
		"empty/readme.txt":              "",
	})
	p := startPenstock(t, filepath.Join(dir, "streams"), filepath.Join(dir, "one", "alone.yaml"),
		filepath.Join(dir, "globs", "a*.yaml"), filepath.Join(dir, "json", "j.json"), filepath.Join(dir, "empty"),
		filepath.Join(dir, "streams", "foo.yaml"))
	var listed map[string]status
	p.getJSON(t, "/streams", &listed)
	want := []string{"a1", "a2", "alone", "bar", "dir_foo", "dir_sub_deep", "foo", "j.json"}
	assert.Equal(t, want, slices.Sorted(maps.Keys(listed)))
	for _, id := range want {
		assert.True(t, listed[id].Active, id)
		assert.Equal(t, id, p.expect(t, http.StatusOK, http.MethodPost, "/"+id+"/post", id).Text())
	}
	assert.Len(t, p.runners(), len(want))
}

func TestServeRefusesStreamFiles(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"broken/good1.yaml": echoYAML, "broken/good2.yaml": echoYAML,
		"broken/bad.yaml":    "input: [",
		"lint/good.yaml":     echoYAML,
		"lint/bad.yaml":      echoYAML + "wat: 1\n",
		"build/bad.yaml":     "input: {resource: nope}\noutput: {drop: {}}\n",
		"twice/a/b.yaml":     echoYAML,
		"twice/a_b.yaml":     echoYAML,
		"id/not good.yaml":   echoYAML,
		"variable/unset.yml": "input: {http_server: {path: '${PENSTOCK_IT_UNSET}'}}\noutput: {drop: {}}\n",
		"empty.yaml":         "",
	})
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{at("broken")}, []string{at("broken/bad.yaml"), "line 1"}},
		{[]string{at("lint")}, []string{at("lint/bad.yaml"), "field wat not recognised"}},
		{[]string{at("build"), at("variable")}, []string{at("build/bad.yaml"), at("variable/unset.yml")}},
		{[]string{at("lint"), at("broken")}, []string{at("lint/bad.yaml"), at("broken/bad.yaml"), `"bad"`}},
		{[]string{at("build")}, []string{at("build/bad.yaml"), "nope"}},
		{[]string{at("twice")}, []string{at("twice/a/b.yaml"), at("twice/a_b.yaml"), `"a_b"`}},
		{[]string{at("id")}, []string{at("id/not good.yaml"), "not good"}},
		{[]string{at("variable")}, []string{at("variable/unset.yml"), "PENSTOCK_IT_UNSET"}},
		{[]string{at("empty.yaml")}, []string{at("empty.yaml")}},
		{[]string{at("absent.yaml")}, []string{at("absent.yaml")}},
		{[]string{at("lint/good.yaml"), "--runner", at("no-runner")}, []string{at("no-runner")}},
	} {
		got := refused(t, test.args...)
		for _, want := range test.want {
			assert.Contains(t, got, want)
		}
	}
}

func TestServeChilled(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"streams/odd.yaml": echoYAML + "wat: 1\n",
		"resources.yaml":   "cache_resources:\n  - label: c\n    memory: {nope: 1}\n",
	})
	p := startPenstock(t, "--chilled", "-r", filepath.Join(dir, "resources.yaml"), filepath.Join(dir, "streams"))
	p.expect(t, http.StatusOK, http.MethodPost, "/odd/post", "x")
	p.expect(t, http.StatusOK, http.MethodGet, "/resources/cache/c", "")
	log := readText(t, p.LogFile)
	assert.Contains(t, log, "wat")
	assert.Contains(t, log, "nope")
}

func TestServeResourceFiles(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		// The first refers to one of the second.
		"r/a.yaml":          "processor_resources:\n  - label: look\n    cache: {resource: store, operator: get, key: k}\n",
		"r/b.yaml":          "cache_resources:\n  - label: store\n    memory: {init_values: {k: value}}\nrate_limit_resources:\n  - label: slow\n    local: {count: 1}\n",
		"r/c.yaml":          "input_resources:\n  - label: source\n    generate: {mapping: 'root = {}'}\noutput_resources:\n  - label: sink\n    drop: {}\n",
		"streams/user.yaml": "input: {http_server: {}}\npipeline: {processors: [{resource: look}]}\noutput: {sync_response: {}}\n",
		"twice.yaml":        "output_resources:\n  - label: store\n    drop: {}\n",
		"unlabelled.yaml":   "cache_resources:\n  - memory: {}\n",
		"unknown.yaml":      "cache_resource:\n  - label: c\n    memory: {}\n",
		"lint.yaml":         "cache_resources:\n  - label: c\n    memory:\n      nope: 1\n",
		"build.yaml":        "cache_resources:\n  - label: c\n    lru: {cap: -1}\n",
		"broken.yaml":       "cache_resources: [",
		"missing.yaml":      "processor_resources:\n  - label: p\n    cache: {resource: nowhere, operator: get, key: k}\n",
	})
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	p := startPenstock(t, "-r", at("r/*.yaml"), at("streams"))
	assert.Equal(t, "value", p.expect(t, http.StatusOK, http.MethodPost, "/user/post", "x").Text())
	var all map[string]map[string]resourceInfo
	p.getJSON(t, "/resources", &all)
	assert.Len(t, all, 5)
	assert.Equal(t, []string{"user"}, all["cache"]["store"].Streams)

	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-r", at("r/*.yaml"), "-r", at("twice.yaml")}, []string{`"store"`, at("r/b.yaml"), at("twice.yaml")}},
		{[]string{"-r", at("unlabelled.yaml")}, []string{at("unlabelled.yaml"), "label"}},
		{[]string{"-r", at("unknown.yaml")}, []string{at("unknown.yaml"), "cache_resource", "line 1"}},
		{[]string{"-r", at("lint.yaml")}, []string{at("lint.yaml"), "nope"}},
		{[]string{"-r", at("build.yaml")}, []string{at("build.yaml"), `"c"`}},
		{[]string{"-r", at("broken.yaml")}, []string{at("broken.yaml"), "line 1"}},
		{[]string{"-r", at("missing.yaml")}, []string{at("missing.yaml"), "nowhere"}},
		{[]string{"-r", at("absent.yaml")}, []string{at("absent.yaml")}},
		{[]string{at("streams")}, []string{at("streams/user.yaml"), "look"}},
	} {
		got := refused(t, test.args...)
		for _, want := range test.want {
			assert.Contains(t, got, want, "%v", test.args)
		}
	}
}

func TestServeConfig(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"good.yaml":     "http:\n  max_body_bytes: 200\n  root_path: /below\nlog:\n  level: error\n",
		"unknown.yaml":  "# comment\nhttp:\n  lisen: 127.0.0.1:0\n",
		"bare.yaml":     "timeouts:\n  stop: 5\n",
		"range.yaml":    "concurrency: 0\n",
		"reference.yml": readRepo(t, "configs/penstock.yaml"),
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	p := startPenstock(t, "--config", at("good.yaml"), "--set", "http.root_path=/over")
	p.expect(t, http.StatusOK, http.MethodGet, "/over/ping", "")
	p.expect(t, http.StatusNotFound, http.MethodGet, "/below/ping", "")
	a := p.expect(t, http.StatusRequestEntityTooLarge, http.MethodPost, "/streams/x", strings.Repeat("#", 201))
	assert.NoError(t, line("200", "max_body_bytes")(a))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/x", echoYAML)
	p.expect(t, http.StatusOK, http.MethodPost, "/x/post", strings.Repeat("#", 201))
	assert.Contains(t, readText(t, p.LogFile), "INFO", "the flag --log-level goes before the file")
	startPenstock(t, "--config", at("reference.yml"))

	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--config", at("unknown.yaml")}, []string{at("unknown.yaml") + ":3", "http.lisen", "http.listen"}},
		{[]string{"--config", at("bare.yaml")}, []string{at("bare.yaml") + ":2", "timeouts.stop"}},
		{[]string{"--config", at("range.yaml")}, []string{"concurrency"}},
		{[]string{"--config", at("absent.yaml")}, []string{at("absent.yaml")}},
		{[]string{"--set", "nope=1"}, []string{"nope"}},
		{[]string{"--set", "timeouts.stop"}, []string{"timeouts.stop"}},
		{[]string{"--log-level", "loud"}, []string{"loud"}},
		{[]string{"--log-format", "xml"}, []string{"xml"}},
		{[]string{"--listen", "nonsense"}, []string{"http.listen", "nonsense"}},
		{[]string{"--listen", "0.0.0.0:0"}, []string{"0.0.0.0:0", "http.auth.token_file"}},
		{[]string{"--listen", ":0"}, []string{"http.auth.token_file"}},
		{[]string{"--listen", "[::]:0"}, []string{"http.auth.token_file"}},
		{[]string{"--nope"}, []string{"--nope"}},
		{[]string{"--set", "http.auth.token_file=" + at("absent")}, []string{at("absent")}},
	} {
		got := refused(t, test.args...)
		for _, want := range test.want {
			assert.Contains(t, got, want, "%v", test.args)
		}
	}
}

func TestServeTakenPlaces(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	file := writeFile(t, "echo.yaml", echoYAML)
	addr := strings.TrimPrefix(p.Base, "http://")
	got := refused(t, "--listen", addr, file)
	assert.Contains(t, got, addr)
	assert.Contains(t, got, "address already in use")

	bin, err := product()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), bin.Penstock, "serve", "--listen", "127.0.0.1:0",
		"--data-dir", p.DataDir, "--runner", bin.Runner, file).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), p.DataDir)
	p.expect(t, http.StatusOK, http.MethodGet, "/ping", "")
}

func TestServeJSONLog(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--log-format", "json", writeFile(t, "echo.yaml", echoYAML))
	p.expect(t, http.StatusBadRequest, http.MethodPost, "/streams/bad", "{")
	require.NoError(t, syscall.Kill(runnerOf(t, p.client, "echo"), syscall.SIGKILL))
	await(t, soonTimeout, "the runner's death in the log", func() error {
		if !strings.Contains(readText(t, p.LogFile), "died") {
			return errors.New("it is not there")
		}
		return nil
	})
	p.stop(t)
	lines := strings.Split(strings.TrimSpace(readText(t, p.LogFile)), "\n")
	assert.Greater(t, len(lines), 3)
	for _, text := range lines {
		var entry struct{ Level, TS, Msg string }
		if assert.NoError(t, json.Unmarshal([]byte(text), &entry), text) {
			assert.NotEmpty(t, entry.Level, text)
			assert.NotEmpty(t, entry.Msg, text)
			_, err := time.Parse(time.RFC3339Nano, entry.TS)
			assert.NoError(t, err, text)
		}
	}
}

func TestServeOtherVerbs(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	bin, err := product()
	require.NoError(t, err)
	assert.Regexp(t, `^penstock \S+, built \S+, go\S+ linux/\w+\n$`, runIn(t, ".", nil, bin.Penstock, "version"))
	assert.Empty(t, runIn(t, ".", nil, bin.Penstock, "healthcheck", "--url", p.Base))
	assert.Empty(t, runIn(t, ".", nil, bin.Penstock, "healthcheck", "--url", p.Base+"/benthos"))
	p.stop(t)
	out, err := exec.CommandContext(t.Context(), bin.Penstock, "healthcheck", "--url", p.Base).CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Contains(t, string(out), "connection refused")
	out, err = exec.CommandContext(t.Context(), bin.Runner).CombinedOutput()
	require.Error(t, err, "a runner is not for people")
	assert.Contains(t, string(out), "penstock")
}

package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestReferenceFileEqualsDefault(t *testing.T) {
	text, err := os.ReadFile("penstock.yaml")
	require.NoError(t, err)

	// Over a zero Config, so that a key the file leaves out shows.
	var cfg Config
	require.NoError(t, parse("penstock.yaml", text, &cfg))
	assert.Equal(t, Default(), cfg)

	var tree map[string]any
	require.NoError(t, yaml.Unmarshal(text, &tree))
	for _, path := range newSchema(&cfg).paths {
		section := tree
		segments := strings.Split(path, ".")
		for _, name := range segments[:len(segments)-1] {
			section, _ = section[name].(map[string]any)
		}
		assert.Contains(t, section, segments[len(segments)-1], "penstock.yaml does not name %s", path)
	}
}

func TestConfigurationDocumentNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	require.NoError(t, err)
	cfg := Default()
	for path := range newSchema(&cfg).leaves {
		assert.Contains(t, string(text), "| `"+path+"` |")
	}
}

func TestLoadKeepsDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"comments":        "# nothing\n",
		"null":            "~\n",
		"empty section":   "http:\n",
		"null value":      "http:\n  listen:\n",
		"document marker": "---\n",
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(write(t, text), nil)
			require.NoError(t, err)
			assert.Equal(t, Default(), cfg)
		})
	}
	cfg, err := Load("", nil)
	require.NoError(t, err)
	assert.Equal(t, Default(), cfg)
}

func TestLoadPrecedence(t *testing.T) {
	path := write(t, "timeouts: {stop: 3s, rpc: 4s}\nhttp:\n  max_body_bytes: 10\nprefix_stream_endpoints: false\n")
	cfg, err := Load(path, []string{"timeouts.rpc=5s", "timeouts.rpc=6s", "log.level=debug", `runner="a=b"`, "http.root_path="})
	require.NoError(t, err)

	want := Default()
	want.Supervisor.Timeouts.Stop = 3 * time.Second
	want.Supervisor.Timeouts.RPC = 6 * time.Second
	want.Supervisor.PrefixStreamEndpoints = false
	want.Supervisor.Runner = "a=b"
	want.HTTP.MaxBodyBytes = 10
	want.HTTP.RootPath = ""
	want.Log.Level = "debug"
	assert.Equal(t, want, cfg)
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "data_dir: x\nbogus_setting: 1\n", `c.yaml:2: unknown key "bogus_setting"`},
		{"misspelt key", "http:\n  lisen: x\n", `c.yaml:2: unknown key "http.lisen": did you mean "http.listen"?`},
		{"misspelt section", "htp:\n  listen: x\n", `c.yaml:1: unknown key "htp": did you mean "http"?`},
		{"key of another section", "listen: x\n", `c.yaml:1: unknown key "listen": did you mean "http.listen"?`},
		{"dotted key", "http.listen: x\n", `c.yaml:1: "http.listen" is a path, which only --set takes: nest the keys`},
		{"dotted section", "http.auth: {}\n", `c.yaml:1: "http.auth" is a path, which only --set takes: nest the keys`},
		{"empty key", "http:\n  ? \n  : x\n", `c.yaml:2: unknown key "http.": did you mean "http"?`},
		{"duplicate key", "runner: a\n\nrunner: b\n", "c.yaml:3: runner is set a second time: line 1 did before"},
		{"duplicate section", "http: {}\nhttp: {}\n", "c.yaml:2: http is set a second time: line 1 did before"},
		{"bare number for a duration", "timeouts:\n  stop: 5\n", `c.yaml:2: timeouts.stop is "5": it must be a duration with its unit, such as 500ms or 20s`},
		{"text for a number", "concurrency: many\n", `c.yaml:1: concurrency is "many": it must be a whole number`},
		{"fraction for a number", "concurrency: 1.5\n", `c.yaml:1: concurrency is "1.5": it must be a whole number`},
		{"number too large", "concurrency: 99999999999999999999\n", `c.yaml:1: concurrency is "99999999999999999999": it must be a whole number`},
		{"text for a bool", "prefix_stream_endpoints: \"true\"\n", `c.yaml:1: prefix_stream_endpoints is "true": it must be true or false`},
		{"list for a value", "runner: [a]\n", "c.yaml:1: runner takes one plain value, not a list, a mapping or an alias"},
		{"value for a section", "log: info\n", "c.yaml:1: log must be a mapping of keys to values"},
		{"list at the top", "- a\n", "c.yaml:1: the file must be a mapping of keys to values"},
		{"alias", "data_dir: &d x\nrunner: *d\n", "c.yaml:2: runner takes one plain value, not a list, a mapping or an alias"},
		{"merge key", "<<: {runner: x}\n", "c.yaml:1: the file has a key that is no plain name"},
		{"second document", "runner: a\n---\nrunner: b\n", "c.yaml:2: a second document starts here: keep one"},
		{"no YAML", "http: {\n", "c.yaml: line 1: did not find expected node content"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			_, err := Load(path, nil)
			require.Error(t, err)
			assert.Equal(t, test.want, strings.TrimPrefix(err.Error(), filepath.Dir(path)+"/"))
		})
	}
}

func TestLoadRefusesSet(t *testing.T) {
	for _, test := range []struct{ set, want string }{
		{"runner", `--set "runner": write it as path=value, for example log.level=debug`},
		{"=x", `--set "=x": write it as path=value, for example log.level=debug`},
		{"log=info", `--set "log=info": log is a section: set one of its keys`},
		{"log.levl=info", `--set "log.levl=info": unknown key "log.levl": did you mean "log.level"?`},
		{"concurrency=", `--set "concurrency=": concurrency is "": it must be a whole number`},
		{"timeouts.stop=5", `--set "timeouts.stop=5": timeouts.stop is "5": it must be a duration with its unit, such as 500ms or 20s`},
		{"runner=[a]", `--set "runner=[a]": runner takes one plain value, not a list, a mapping or an alias`},
	} {
		t.Run(test.set, func(t *testing.T) {
			_, err := Load("", []string{test.set})
			require.Error(t, err)
			assert.Equal(t, test.want, err.Error())
		})
	}
}

func TestLoadNamesTheMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "absent.yaml"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Contains(t, err.Error(), "absent.yaml")
}

func TestValidate(t *testing.T) {
	cfg := Default()
	cfg.Supervisor.DataDir = t.TempDir()
	require.NoError(t, cfg.Validate())

	// One wrong value of each owner, so that each is seen to be asked.
	cfg.HTTP.MaxBodyBytes = 0
	cfg.Supervisor.Concurrency = 0
	cfg.Log = Log{Level: "loud", Format: "xml"}
	err := cfg.Validate()
	for _, want := range []string{
		"http.max_body_bytes", "concurrency",
		`log.level is "loud": it must be one of debug, info, warn, error`,
		`log.format is "xml": it must be one of console, json`,
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestDefaultDataDir(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	for state, want := range map[string]string{
		"/var/state": "/var/state/penstock",
		"":           "/home/someone/.local/state/penstock",
		"relative":   "/home/someone/.local/state/penstock",
	} {
		t.Setenv("XDG_STATE_HOME", state)
		got, err := DefaultDataDir()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "")
	_, err := DefaultDataDir()
	assert.ErrorContains(t, err, "--data-dir")
}

// FuzzLoad holds two promises, of the file and of a set: no input makes them
// panic, and an error is one line that names its source.
func FuzzLoad(f *testing.F) {
	reference, err := os.ReadFile("penstock.yaml")
	require.NoError(f, err)
	f.Add(reference, "log.level=debug")
	for _, seed := range []string{
		"", "~", "http: {listen: x}", "log: {level: debug}\n---\n", "a: &a [*a]", "<<: *x",
		"timeouts:\n  stop: 1h\n", "? [a]\n: b", "prefix_stream_endpoints: yes", "concurrency: 0x10", "\xff",
	} {
		f.Add([]byte(seed), "runner="+seed)
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		cfg := Default()
		oneLine(t, parse("c.yaml", text, &cfg), "c.yaml:")
		oneLine(t, apply(set, &cfg), "--set ")
	})
}

func oneLine(t *testing.T, err error, prefix string) {
	t.Helper()
	if err == nil {
		return
	}
	if msg := err.Error(); !strings.HasPrefix(msg, prefix) || strings.ContainsAny(msg, "\n\r") {
		t.Fatalf("not one line that starts with %q: %q", prefix, msg)
	}
}

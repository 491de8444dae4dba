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

	"penstock/supervisor"
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
		assert.True(t, strings.Contains(string(text), "| `"+path+"` |"), "no table of docs/configuration.md has a cell %s", path)
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

func TestLoadListsFractionsAndTexts(t *testing.T) {
	path := write(t, `isolation:
  profile: strict
  uids: 300000-300999
  env_allow:
    - REGION
    - STAGE
  bind_ports: [8080, 9000-9010]
  tmp_size: 1GiB
  egress: {deny: []}
  components: {inputs: {deny: ["*"], allow: [generate]}}
limits:
  default: {memory: 256MiB, cpu: 1}
  max: {memory: 1073741824, cpu: 1.5, io: {read_bps: 10MB}}
`)
	cfg, err := Load(path, []string{
		"isolation.env_allow=[A, 'B']", "isolation.egress.allow=[\"10.0.0.0/8 443,8000-8010\", '::1']", "isolation.read=[]",
		"limits.max.cpu=2", "limits.max.disk=2 GB", "isolation.uids=400000-400999", "isolation.profile=none",
	})
	require.NoError(t, err)

	want := Default()
	i := &want.Supervisor.Isolation
	i.Profile = supervisor.ProfileNone
	i.UIDs = supervisor.UIDRange{First: 400000, Last: 400999}
	i.EnvAllow = []string{"A", "B"}
	i.BindPorts = []string{"8080", "9000-9010"}
	i.TmpSize = 1 << 30
	i.Egress.Deny = nil
	i.Egress.Allow = []string{"10.0.0.0/8 443,8000-8010", "::1"}
	i.Components.Inputs = supervisor.ComponentPolicy{Allow: []string{"generate"}, Deny: []string{"*"}}
	l := &want.Supervisor.Limits
	l.Default.Memory, l.Default.CPU = 256<<20, 1
	l.Max.Memory, l.Max.CPU, l.Max.Disk, l.Max.IO.ReadBPS = 1<<30, 2, 2e9, 10e6
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
		{"value for a list", "isolation:\n  read: /srv\n", "c.yaml:2: isolation.read takes a list, such as [a, b]; [] is an empty one"},
		{"mapping for a list", "isolation:\n  read: {a: b}\n", "c.yaml:2: isolation.read takes a list, such as [a, b]; [] is an empty one"},
		{"list in a list", "isolation:\n  read:\n    - /a\n    - [/b]\n",
			"c.yaml:4: isolation.read item 2 takes one plain value, not a list, a mapping or an alias"},
		{"nothing in a list", "isolation:\n  read:\n    - /a\n    -\n", "c.yaml:4: isolation.read has nothing as its item 2"},
		{"alias in a list", "data_dir: &d /a\nisolation:\n  read: [*d]\n",
			"c.yaml:3: isolation.read item 1 takes one plain value, not a list, a mapping or an alias"},
		{"no size", "limits:\n  max:\n    memory: 1.5\n",
			"c.yaml:3: limits.max.memory is not valid: 1.5 is not a size: write for example 256MiB, 1GB or a whole number of bytes"},
		{"no range", "isolation:\n  uids: 1000\n",
			`c.yaml:2: isolation.uids is not valid: "1000" is not a range of user ids: write for example 200000-265535`},
		{"keys of a range", "isolation:\n  uids: {first: 1000}\n", "c.yaml:2: isolation.uids takes one plain value, not a list, a mapping or an alias"},
		{"no fraction", "limits:\n  max:\n    cpu: half\n", `c.yaml:3: limits.max.cpu is "half": it must be a number, such as 0.5`},
		{"infinite", "limits:\n  max:\n    cpu: inf\n", `c.yaml:3: limits.max.cpu is "inf": it must be a number, such as 0.5`},
		{"no number", "limits:\n  max:\n    cpu: nan\n", `c.yaml:3: limits.max.cpu is "nan": it must be a number, such as 0.5`},
		{"limit of no kind", "limits:\n  memory: 1GiB\n", `c.yaml:2: unknown key "limits.memory": did you mean "limits.max.memory"?`},
		{"limit of streams", "limits:\n  maxx: {cpu: 1}\n", `c.yaml:2: unknown key "limits.maxx": did you mean "limits.max"?`},
		{"misspelt class", "isolation:\n  components:\n    output: {deny: [file]}\n",
			`c.yaml:3: unknown key "isolation.components.output": did you mean "isolation.components.outputs"?`},
		{"misspelt rule", "isolation:\n  components:\n    outputs: {denny: [file]}\n",
			`c.yaml:3: unknown key "isolation.components.outputs.denny": did you mean "isolation.components.outputs.deny"?`},
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
		{"isolation.components.caches=[a]", `--set "isolation.components.caches=[a]": isolation.components.caches is a section: set one of its keys`},
		{"isolation.component.caches.deny=[a]",
			`--set "isolation.component.caches.deny=[a]": unknown key "isolation.component.caches.deny": did you mean "isolation.components.caches.deny"?`},
		{"isolation.read=/a", `--set "isolation.read=/a": isolation.read takes a list, such as [a, b]; [] is an empty one`},
		{"isolation.read=", `--set "isolation.read=": isolation.read takes a list, such as [a, b]; [] is an empty one`},
		{"isolation.read=[~]", `--set "isolation.read=[~]": isolation.read has nothing as its item 1`},
		{"limits.max.memory=", `--set "limits.max.memory=": limits.max.memory is not valid: "" is not a size: write for example 256MiB, 1GB or a whole number of bytes`},
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
	cfg.Supervisor.Limits.HostMemoryShare = 0
	cfg.Supervisor.Calls.Keep = 0
	cfg.Log = Log{Level: "loud", Format: "xml"}
	err := cfg.Validate()
	for _, want := range []string{
		"http.max_body_bytes", "concurrency", "limits.host_memory_share", "calls.keep",
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
		"isolation: {read: [a, ~, [b]], uids: 1-2, components: {inputs: {deny: '*'}}}", "limits: {max: {memory: 1GiB, cpu: .inf}}",
	} {
		f.Add([]byte(seed), "runner="+seed)
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		cfg := Default()
		oneLine(t, parse("c.yaml", text, &cfg), "c.yaml:")
		oneLine(t, apply(set, &cfg), "--set ")
		for _, path := range []string{"isolation.env_allow", "isolation.uids", "limits.max.memory", "limits.max.cpu"} {
			oneLine(t, apply(path+"="+set, &cfg), "--set ")
		}
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

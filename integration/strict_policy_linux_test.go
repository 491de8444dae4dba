package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deniedText is what follows what is denied, up to the class.
const deniedText = " is denied by this server's policy: ask its operator to allow it (isolation.components."

// deniedConfigs hold what the profile strict denies, each with the lint answer.
var deniedConfigs = map[string]struct{ config, lint string }{
	"input subprocess": {
		"input: {subprocess: {name: id}}\noutput: {drop: {}}\n",
		"(1,9) component type subprocess" + deniedText + "inputs.allow)",
	},
	"output subprocess": {
		"input: {generate: {mapping: 'root = 1'}}\noutput:\n  subprocess: {name: id}\n",
		"(3,3) component type subprocess" + deniedText + "outputs.allow)",
	},
	"processor subprocess": {
		"input: {generate: {mapping: 'root = 1'}}\npipeline:\n  processors:\n    - subprocess: {name: id}\noutput: {drop: {}}\n",
		"(4,7) component type subprocess" + deniedText + "processors.allow)",
	},
	"processor command": {
		"input: {generate: {mapping: 'root = 1'}}\npipeline:\n  processors:\n    - log: {message: x}\n    - command: {name: id}\noutput: {drop: {}}\n",
		"(5,7) component type command" + deniedText + "processors.allow)",
	},
	"nested": {
		"input: {generate: {mapping: 'root = 1'}}\npipeline:\n  processors:\n    - try:\n        - catch:\n            - command: {name: id}\noutput: {drop: {}}\n",
		"(6,15) component type command" + deniedText + "processors.allow)",
	},
	"function file": {
		"input: {generate: {mapping: 'root = file(\"/etc/hostname\")'}}\noutput: {drop: {}}\n",
		"function file" + deniedText + "functions.allow)",
	},
	"function env": {
		"input: {generate: {mapping: 'root = 1'}}\npipeline:\n  processors:\n    - mapping: |\n        root.a = 1\n        root.b = env(\"HOME\")\noutput: {drop: {}}\n",
		"function env" + deniedText + "functions.allow)",
	},
	"interpolated function": {
		"input: {generate: {mapping: 'root = 1'}}\noutput: {http_client: {url: 'http://127.0.0.1/${! file(\"/etc/hostname\") }'}}\n",
		"function file" + deniedText + "functions.allow)",
	},
	"import": {
		"input: {generate: {mapping: 'import \"/etc/hostname\"'}}\noutput: {drop: {}}\n",
		"import" + deniedText + "functions.allow)",
	},
}

// TestStrictComponents: a config with a component that the policy denies is
// refused, by whatever way it comes, with its place and whom to ask.
func TestStrictComponents(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	p.expect(t, 200, "POST", "/streams/there", echo("there"))
	there := strictly(t, p.client, "there")
	ways := []struct{ method, path string }{
		{"POST", "/streams/a"}, {"PUT", "/streams/there"}, {"POST", "/streams/a?chilled=true"}, {"PUT", "/streams/there?chilled=true"},
	}
	for name, c := range deniedConfigs {
		tried := ways[:1]
		if strings.HasPrefix(name, "processor") || name == "import" {
			tried = ways
		}
		for _, way := range tried {
			a := p.expect(t, 400, way.method, way.path, c.config)
			lints := lintsOf(t, a)
			assert.Len(t, lints, 1, "%s: %s %s answered %s", name, way.method, way.path, a)
			assert.Contains(t, strings.Join(lints, "\n"), c.lint, "%s %s", way.method, way.path)
			assert.Regexp(t, `^\(\d+,\d+\) `, lints[0])
		}
	}
	p.expect(t, 404, "GET", "/streams/a", "")
	a := p.expect(t, 400, "PATCH", "/streams/there", `{"pipeline": {"processors": [{"command": {"name": "id"}}]}}`)
	assert.Contains(t, a.Text(), "component type command"+deniedText+"processors.allow)")
	set := "good:\n" + indent(echo("good")) + "bad:\n" + indent(deniedConfigs["processor command"].config)
	a = p.expect(t, 400, "POST", "/streams", set)
	assert.Contains(t, a.Text(), "component type command"+deniedText+"processors.allow)")
	assert.Contains(t, a.Text(), "(10,9)", "the place is that of the whole text")
	p.expect(t, 404, "GET", "/streams/good", "")
	assert.Equal(t, there, strictly(t, p.client, "there"), "it was left alone")
	awaitEcho(t, p.client, "/there/post", "there")
}

// TestStrictResourceComponents: a resource is no way around the policy.
func TestStrictResourceComponents(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	for path, c := range map[string]struct{ config, lint string }{
		"processor/p": {"command: {name: id}", "component type command" + deniedText + "processors.allow)"},
		"input/i":     {"subprocess: {name: id}", "component type subprocess" + deniedText + "inputs.allow)"},
		"output/o":    {"subprocess: {name: id}", "component type subprocess" + deniedText + "outputs.allow)"},
		"processor/m": {"mapping: 'root = file(\"/etc/hostname\")'", "function file" + deniedText + "functions.allow)"},
	} {
		for _, query := range []string{"", "?chilled=true"} {
			a := p.expect(t, 400, "POST", "/resources/"+path+query, c.config)
			assert.Contains(t, a.Text(), c.lint, path)
		}
	}
	// One that was accepted before the policy is not a way either.
	p.expect(t, 200, "POST", "/resources/processor/p", "log: {message: x}")
	p.expect(t, 200, "POST", "/streams/a", strings.Replace(echo("a"), "processors: [", "processors: [{resource: p}, ", 1))
	a := p.expect(t, 400, "POST", "/resources/processor/p", "command: {name: id}")
	assert.Contains(t, a.Text(), "component type command"+deniedText)
	awaitEcho(t, p.client, "/a/post", "a")
}

// TestStrictComponentsOfFiles: files do not get past the policy, and the server
// says which one and where before it serves.
func TestStrictComponentsOfFiles(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := folder(t, map[string]string{
		"good.yaml": echo("good"), "bad.yaml": deniedConfigs["processor command"].config,
		"r.yaml": "processor_resources:\n  - label: p\n    command: {name: id}\n",
	})
	good, bad, resource := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "r.yaml")
	for _, c := range []struct {
		named string
		args  []string
	}{{bad, []string{good, bad}}, {bad, []string{"--chilled", bad}}, {resource, []string{"-r", resource, good}}} {
		said := strictRefusal{args: c.args, late: true}.of(t)
		assert.Contains(t, said, "component type command"+deniedText+"processors.allow)", "%v", c.args)
		assert.Contains(t, said, c.named)
	}
}

// TestStrictPolicyOfAnEarlierServer: a stream and a resource that an earlier
// server has accepted do not run against the policy.
func TestStrictPolicyOfAnEarlierServer(t *testing.T) {
	t.Parallel()
	r, _ := newStrictRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/bad", deniedConfigs["processor command"].config)
	r.expect(t, 200, "POST", "/streams/good", echo("good"))
	r.stop(t)
	r.start(t, strictArgs()...)
	awaitEcho(t, r.client, "/good/post", "good")
	await(t, changeTimeout, "the reason why it does not run", func() error {
		s, err := askStatus(t.Context(), r.client, "bad")
		if err == nil && (s.PID != 0 || !strings.Contains(s.Reason, "component type command"+deniedText)) {
			err = fmt.Errorf("it is %s", s)
		}
		return err
	})
	r.expect(t, 200, "PUT", "/streams/bad", echo("bad"))
	awaitEcho(t, r.client, "/bad/post", "bad")
	r.stop(t)
}

// lintsOf are the findings of a lint answer.
func lintsOf(t testing.TB, a answer) []string {
	t.Helper()
	v, err := a.JSON()
	require.NoError(t, err)
	found, _ := v.(map[string]any)["lint_errors"].([]any)
	lints := make([]string, 0, len(found))
	for _, lint := range found {
		lints = append(lints, fmt.Sprint(lint))
	}
	require.NotEmpty(t, lints, "%s", a)
	return lints
}

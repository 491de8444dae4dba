package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	// A variable of the supervisor's environment that streams must not see, and
	// one that they may.
	closedVariable, closedValue = "PENSTOCK_TEST_CLOSED", "cl0sed-value"
	openVariable, openValue     = "OPEN_TO_STREAMS", "0pen-value"
)

// someEnv is an environment with both.
var someEnv = []string{closedVariable + "=" + closedValue, openVariable + "=" + openValue}

// sayingYAML answers with a text in which variables are resolved.
func sayingYAML(text string) string {
	return fmt.Sprintf(`
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = "%s"'}]}
output: {sync_response: {}}
`, text)
}

// assertNoSecret looks for the closed value in what a stream's process was
// started with, and in what is kept of it.
func assertNoSecret(t *testing.T, p *penstock, id string) {
	t.Helper()
	s := strictly(t, p.client, id)
	environ := readText(t, procFile(s.PID, "environ"))
	assert.NotContains(t, environ, closedValue)
	assert.NotContains(t, environ, closedVariable)
	assert.NotContains(t, readText(t, procFile(s.PID, "cmdline")), closedValue)
	assert.NotContains(t, p.expect(t, 200, "GET", "/streams/"+id, "").Text(), closedValue)
	assert.NotContains(t, p.expect(t, 200, "GET", "/streams/"+id+"/status", "").Text(), closedValue)
}

// TestStrictEnvironment: ${NAME} stands for what the operator allows and for the
// stream's own variables. Everything else is as if it were not set.
func TestStrictEnvironment(t *testing.T) {
	t.Parallel()
	needRoot(t)
	n := newNetns(t)
	p := startPenstockIn(t, withEnv{n, someEnv}, strictArgs(
		"--set", "isolation.env_allow=["+openVariable+", NOT_SET_ANYWHERE]",
		"--set", "isolation.components.functions.allow=[env]")...)
	say := func(id string) string {
		t.Helper()
		return p.expect(t, 200, "POST", "/"+id+"/post", "").Text()
	}

	unset := "required environment variables were not set: [" + closedVariable + "]"
	for _, way := range []struct{ method, path, body string }{
		{"POST", "/streams/a", sayingYAML("${" + closedVariable + "}")},
		{"POST", "/streams", "a:\n" + indent(sayingYAML("${"+closedVariable+"}"))},
		{"POST", "/streams/a", sayingYAML("x${! env(\"x\") }${" + closedVariable + "}")},
	} {
		a := p.expect(t, 400, way.method, way.path, way.body)
		assert.Contains(t, a.Text(), unset, way.path)
		assert.NotContains(t, a.Text(), closedValue)
	}
	for text, want := range map[string]string{
		"${" + closedVariable + ":default}":          "default",
		"${" + openVariable + "}":                    openValue,
		"${" + openVariable + ":default}":            openValue,
		"${NOT_SET_ANYWHERE:default}":                "default",
		"${{" + closedVariable + "}}":                "${" + closedVariable + "}",
		"${HOME:none} ${USER:none} ${SHELL:no}":      "none none no",
		"${PENSTOCK_STREAM_DIR}":                     streamFolder(p.DataDir, "a"),
		"${PENSTOCK_RUNNER:none}${PLUGIN_MIN_PORT:}": "none",
	} {
		p.expect(t, 200, "POST", "/streams/a", sayingYAML(text))
		assert.Equal(t, want, say("a"), text)
		assertNoSecret(t, p, "a")
		p.expect(t, 200, "DELETE", "/streams/a", "")
	}

	// A chilled config that names it gets nothing of it either.
	p.expect(t, 200, "POST", "/streams/a?chilled=true", sayingYAML("<${"+closedVariable+"}>"))
	assert.Equal(t, "<>", say("a"))
	// Nor does the function that reads variables, which the operator allows.
	p.expect(t, 200, "PUT", "/streams/a", strings.Replace(sayingYAML("%s"), `"%s"`,
		`[env("`+closedVariable+`"), env("`+openVariable+`")].format_json(no_indent: true)`, 1))
	assert.Equal(t, `[null,"`+openValue+`"]`, say("a"))
	assertNoSecret(t, p, "a")

	// The stream's own, also in the place of the server's.
	p.expect(t, 200, "PUT", "/streams/a",
		"runtime: {env: {OWN: own, "+openVariable+": mine, "+closedVariable[len("PENSTOCK_"):]+": x}}\n"+
			sayingYAML("${OWN} ${"+openVariable+"}"))
	assert.Equal(t, "own mine", say("a"))
	p.expect(t, 200, "POST", "/streams/b", sayingYAML("${OWN:none} ${"+openVariable+"}"))
	assert.Equal(t, "none "+openValue, say("b"), "the variables of another stream")
	p.expect(t, 200, "PATCH", "/streams/a", `{"runtime": {"env": {"OWN": "changed"}}}`)
	assert.Equal(t, "changed mine", say("a"))
	for name, want := range map[string]string{
		"PENSTOCK_STREAM_DIR": "is a variable of the server's own", "LD_PRELOAD": "is a variable of the server's own",
		"GODEBUG": "is a variable of the server's own", "PLUGIN_PROTOCOL_VERSIONS": "is a variable of the server's own",
	} {
		a := p.expect(t, 400, "PUT", "/streams/b", "runtime: {env: {"+name+": x}}\n"+echo("b"))
		assert.Contains(t, a.Text(), "(1,17) field env: "+name+" "+want)
	}
	a := p.expect(t, 400, "PUT", "/streams/b", "runtime: {env: {OWN: '${"+openVariable+"}'}}\n"+echo("b"))
	assert.Contains(t, a.Text(), "(1,22)")

	// A resource is the operator's, and is used where it is: in a stream.
	cache := func(text string) string { return "memory: {init_values: {key: '" + text + "'}}" }
	a = p.expect(t, 400, "POST", "/resources/cache/c", cache("${"+closedVariable+"}"))
	assert.Contains(t, a.Text(), unset)
	p.expect(t, 200, "POST", "/resources/cache/c", cache("${"+openVariable+"}${"+closedVariable+":}"))
	p.expect(t, 200, "PUT", "/streams/b", strings.Replace(sayingYAML("x"), `{mapping: 'root = "x"'}`,
		"{cache: {resource: c, operator: get, key: key}}", 1))
	assert.Equal(t, openValue, say("b"))
	assertNoSecret(t, p, "b")
	assert.NotContains(t, readText(t, p.LogFile), closedValue)
}

// TestStandardEnvironment: on a laptop ${NAME} stands for what it always did,
// though no process is started with it.
func TestStandardEnvironment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"standard":            {nil, closedValue + " " + openValue},
		"standard with a few": {[]string{"--set", "isolation.env_allow=[" + openVariable + "]"}, "unset " + openValue},
		"none":                {[]string{"--isolation", "none"}, closedValue + " " + openValue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPenstockIn(t, withEnv{host{}, someEnv}, c.args...)
			p.expect(t, 200, "POST", "/streams/a", sayingYAML("${"+closedVariable+":unset} ${"+openVariable+"}"))
			assert.Equal(t, c.want, p.expect(t, 200, "POST", "/a/post", "").Text())
			assertNoSecret(t, p, "a")
			p.expect(t, 200, "PUT", "/streams/a", "runtime: {env: {"+openVariable+": own}}\n"+sayingYAML("${"+openVariable+"}"))
			assert.Equal(t, "own", p.expect(t, 200, "POST", "/a/post", "").Text())
		})
	}
}

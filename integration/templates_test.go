package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shout is a template of a processor that adds a mark.
func shout(mark string) string {
	return "name: shout\ntype: processor\nfields: []\nmapping: |\n  root.mapping = \"root = content().uppercase() + \\\"" + mark + "\\\"\"\n"
}

// through is a stream that answers what a processor makes of its calls.
func through(processor string) string {
	return "input: {http_server: {path: /post}}\npipeline: {processors: [{" + processor + "}]}\noutput: {sync_response: {}}\n"
}

// TestTemplatesOfEveryType: what files define is there for streams and resources,
// in runners that are started ahead and in others, and it is not in GET.
func TestTemplatesOfEveryType(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"shout.yaml": shout("!"),
		"other/all.yaml": "name: posted\ntype: input\nfields: [{name: at, type: string}]\n" +
			"mapping: 'root.http_server.path = \"/\" + this.at'\n",
		"other/out.yaml":   "name: answered\ntype: output\nfields: []\nmapping: 'root.sync_response = {}'\n",
		"other/cache.yaml": "name: kept\ntype: cache\nfields: [{name: for, type: string, default: 1h}]\nmapping: 'root.memory.default_ttl = this.for'\n",
		"other/rate.yaml": "name: slow\ntype: rate_limit\nfields: []\nmetrics_mapping: 'root = \"mapped_\" + this'\n" +
			"mapping: 'root.local = {\"count\": 1, \"interval\": \"1h\"}'\n",
	})
	for name, args := range map[string][]string{
		"flags": {"-t", filepath.Join(dir, "*.yaml"), "-t", filepath.Join(dir, "other", "*.yaml")},
		"key":   {"--set", "templates=[" + filepath.Join(dir, "**", "*.yaml") + "]"},
		"warm":  append(warmArgs(1), "-t", filepath.Join(dir, "**", "*.yaml")),
	} {
		t.Run(name, func(t *testing.T) {
			p := startPenstock(t, args...)
			if name == "warm" {
				p.awaitWarm(t, 1)
			}
			p.expect(t, 200, "POST", "/resources/cache/memo", "label: memo\nkept: {for: 2h}\n")
			p.expect(t, 200, "POST", "/resources/rate_limit/gate", "slow: {}\n")
			const config = "input: {posted: {at: in}}\npipeline:\n  processors:\n    - cache: {resource: memo, operator: set, key: k, value: kept}\n" +
				"    - cache: {resource: memo, operator: get, key: k}\n    - shout: {}\noutput: {answered: {}}\n"
			p.expect(t, 200, "POST", "/streams/a", config)
			assert.Equal(t, "KEPT!", p.expect(t, 200, "POST", "/a/in", "x").Text())
			assert.Contains(t, p.expect(t, 200, "GET", "/streams/a", "").Text(), "shout")
			assert.Contains(t, p.expect(t, 400, "PUT", "/streams/a", strings.Replace(config, "at: in", "at: in, nope: 1", 1)).Text(), "field nope not recognised")
			assert.Contains(t, p.expect(t, 400, "PUT", "/streams/a", strings.Replace(config, "{at: in}", "{}", 1)).Text(), "field at is required")
			assert.Contains(t, p.expect(t, 400, "POST", "/streams/b", through("whisper: {}")).Text(), "whisper")
			if name == "warm" {
				warm, _ := starts(t, p.client)
				assert.NotZero(t, warm, "no runner was taken that was started ahead")
			}
		})
	}
}

// TestTemplatesThatAreWrong end the start, with the place.
func TestTemplatesThatAreWrong(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"good.yaml":    shout("!"),
		"field.yaml":   "name: a\ntype: processor\nnope: 1\nmapping: 'root.mapping = \"root = 1\"'\n",
		"mapping.yaml": "name: a\ntype: processor\nmapping: |\n  root.a = 1\n  root.b = this.(\n",
		"type.yaml":    "name: a\ntype: buffer\nmapping: 'root.memory = {}'\n",
		"name.yaml":    "name: A b\ntype: processor\nmapping: 'root = this'\n",
		"yaml.yaml":    "name: [\n",
		"bomb.yaml":    "name: a\ntype: processor\nmapping: 'root = range(0, 300000000)'\n",
	})
	for name, want := range map[string]string{
		"field.yaml":   "field.yaml(3,1) field nope not recognised",
		"mapping.yaml": "mapping.yaml(6,11) required: ",
		"type.yaml":    "type.yaml(2,",
		"name.yaml":    "name.yaml: component name 'A b' does not match",
		"yaml.yaml":    "yaml.yaml: yaml: ",
		"bomb.yaml":    "bomb.yaml: it cannot be linted: it ended with exit status 2: fatal error: runtime: out of memory",
		"absent.yaml":  "absent.yaml: no such file or directory",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Contains(t, refused(t, "-t", filepath.Join(dir, "good.yaml"), "-t", filepath.Join(dir, name)), want)
		})
	}
	chilled := startPenstock(t, "--chilled", "-t", filepath.Join(dir, "field.yaml"))
	chilled.expect(t, 200, "POST", "/streams/a", through("a: {}"))
	assert.Equal(t, "1", chilled.expect(t, 200, "POST", "/a/post", "x").Text())
	assert.Contains(t, readText(t, chilled.LogFile), "field nope not recognised")
}

// TestTemplatesAndThePolicy: nothing that is denied comes in by a template, and a
// template may be denied itself.
func TestTemplatesAndThePolicy(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"runs.yaml":   "name: runs\ntype: processor\nfields: []\nmapping: 'root.command = {\"name\": \"id\"}'\n",
		"nested.yaml": "name: nested\ntype: processor\nfields: []\nmapping: 'root.try = [{\"runs\": {}}]'\n",
		// It takes the name of what is denied, to be what else is.
		"command.yaml":    "name: command\ntype: processor\nfields: []\nmapping: 'root.subprocess = {\"name\": \"cat\"}'\n",
		"forbidden.yaml":  strings.ReplaceAll(shout("?"), "shout", "forbidden"),
		"shout.yaml":      shout("!"),
		"opens.yaml":      "name: opens\ntype: input\nfields: []\nmapping: 'root.file = {\"paths\": [\"/etc/passwd\"]}'\n",
		"bad/reads.yaml":  "name: reads\ntype: processor\nfields: []\nmapping: 'root.mapping = \"root = \" + file(\"/etc/passwd\").string().quote()'\n",
		"deny/smile.yaml": shout(":)"),
	})
	const denied = " is denied by this server's policy"
	policy := []string{
		"--set", "isolation.components.processors.deny=[command, subprocess, forbidden]",
		"--set", "isolation.components.inputs.deny=[file]", "--set", "isolation.components.functions.deny=[file]",
	}
	for name, args := range map[string][]string{"cold": {}, "warm": warmArgs(1)} {
		t.Run(name, func(t *testing.T) {
			p := startPenstock(t, append(append([]string{"-t", filepath.Join(dir, "*.yaml")}, policy...), args...)...)
			for of, config := range map[string]string{
				"processor command":   through("runs: {}"),
				"component command ":  through("nested: {}"),
				"component command":   through("command: {}"),
				"component forbidden": through("forbidden: {}"),
				"input file":          "input: {opens: {}}\noutput: {drop: {}}\n",
			} {
				if name == "warm" {
					p.awaitWarm(t, 1)
				}
				for _, path := range []string{"/streams/x", "/streams/x?chilled=true"} {
					assert.Contains(t, p.expect(t, 400, "POST", path, config).Text(), denied, "%s: %s", of, path)
				}
			}
			p.expect(t, 200, "POST", "/streams/a", through("shout: {}"))
			assert.Equal(t, "A!", p.expect(t, 200, "POST", "/a/post", "a").Text())
		})
	}
	assert.Contains(t, refused(t, append([]string{"-t", filepath.Join(dir, "bad", "*.yaml")}, policy...)...), "function file"+denied)
	all := []string{"-t", filepath.Join(dir, "shout.yaml"), "--set", `isolation.components.processors.deny=["*"]`}
	p := startPenstock(t, all...)
	assert.Contains(t, p.expect(t, 400, "POST", "/streams/a", through("shout: {}")).Text(), "component type shout"+denied)
	p.stop(t)
	p = startPenstock(t, append(all, "--set", "isolation.components.processors.allow=[shout, mapping]")...)
	p.expect(t, 200, "POST", "/streams/a", through("shout: {}"))
}

// TestTemplatesOverChanges: a stream has the templates that its runner was started
// with, through the death of the supervisor and its own, and then the present ones.
func TestTemplatesOverChanges(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"shout.yaml": shout("!")})
	write := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "shout.yaml"), []byte(text), 0o600))
	}
	glob := filepath.Join(dir, "*.yaml")
	r := newRestartable(t)
	r.start(t, "--on-exit=detach", "-t", glob, "--watch")
	says := func(want string) error {
		if got := r.expect(t, http.StatusOK, "POST", "/a/post", "a").Text(); got != want {
			return assert.AnError
		}
		return nil
	}
	r.expect(t, 200, "POST", "/streams/a", through("shout: {}"))
	require.NoError(t, says("A!"))

	// Watched: the stream keeps what it has, and the next start takes the new one.
	write(shout("?"))
	await(t, 10*time.Second, "the changed template", func() error {
		r.call(t, "DELETE", "/streams/b", "")
		r.expect(t, 200, "POST", "/streams/b", through("shout: {}"))
		if got := r.expect(t, 200, "POST", "/b/post", "b").Text(); got != "B?" {
			return assert.AnError
		}
		return nil
	})
	require.NoError(t, says("A!"))
	r.expect(t, 200, "POST", "/streams/a/restart", "")
	await(t, 10*time.Second, "the restarted stream", func() error { return says("A?") })

	// A wrong one changes nothing, and is told of.
	write("name: shout\ntype: processor\nmapping: 'root = this.('\n")
	await(t, 10*time.Second, "the error in the log", func() error {
		if !strings.Contains(readText(t, r.LogFile), "shout.yaml(3,") {
			return assert.AnError
		}
		return nil
	})
	r.expect(t, 200, "POST", "/streams/a/restart", "")
	await(t, 10*time.Second, "the restarted stream", func() error { return says("A?") })

	// A server without the template adopts the stream, and cannot start it again.
	pid := mustStatus(t, r.client, "a").PID
	r.kill()
	r.start(t, "--on-exit=detach")
	assert.Equal(t, pid, awaitState(t, r.client, "a", "running").PID)
	require.NoError(t, says("A?"))
	assert.Contains(t, r.expect(t, 400, "POST", "/streams/c", through("shout: {}")).Text(), "shout")

	// With it, a killed runner is started with the present one.
	write(shout("."))
	r.kill()
	r.start(t, "-t", glob)
	assert.Equal(t, pid, awaitState(t, r.client, "a", "running").PID)
	require.NoError(t, says("A?"))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitPID(t, r.client, "a", pid)
	await(t, 10*time.Second, "the runner that was started again", func() error { return says("A.") })
}

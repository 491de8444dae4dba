package integration

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRunnersOfFiles: files are linted and tested, and streams of templates run, by
// the smallest runner that has what they name.
func TestRunnersOfFiles(t *testing.T) {
	t.Parallel()
	core := runnersOf(t, "messaging")
	dir := folder(t, map[string]string{
		"core.yaml": configFiles["good.yaml"],
		"redis.yaml": "input: {redis_streams: {url: 'redis://localhost:1', streams: [a]}}\npipeline: {processors: [{mapping: root = content().uppercase()}]}\noutput: {drop: {}}\n" +
			"tests:\n  - name: upper\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: A}]]\n",
		"wrong.yaml":              "input:\n  redis_streams:\n    url: redis://localhost:1\n    streams: [a]\n    nope: 1\noutput: {drop: {}}\n",
		"templated.yaml":          "input: {outer: {}}\noutput: {drop: {}}\n",
		"lacks.yaml":              "input: {mongodb: {url: 'mongodb://localhost:1', database: a, collection: b, query: 'root = {}'}}\noutput: {drop: {}}\n",
		"asks.yaml":               "runtime: {runner: core}\ninput: {redis_streams: {url: 'redis://localhost:1', streams: [a]}}\noutput: {drop: {}}\n",
		"apart.yaml":              "input: {redis_streams: {url: 'redis://localhost:1', streams: [a]}}\npipeline: {processors: [{mapping: root = content().uppercase()}]}\noutput: {drop: {}}\n",
		"apart_benthos_test.yaml": "tests:\n  - name: upper\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: A}]]\n",
		"mocked.yaml": "input: {generate: {mapping: root = 1}}\npipeline: {processors: [{label: far, mapping: root = deleted()}]}\noutput: {drop: {}}\n" +
			"tests:\n  - name: mock\n    target_processors: /pipeline/processors\n    mocks: {far: {awk: {codec: text, program: '{ print \"awk \" $0 }'}}}\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: awk a}]]\n",
		"u/awks.yaml": "name: awks\ntype: processor\nfields: []\nmapping: 'root.awk = {\"codec\": \"none\", \"program\": \"{}\"}'\n" +
			"tests:\n  - name: made\n    config: {}\n    expected: {awk: {codec: none, program: '{}'}}\n",
		"t/outer.yaml": "name: outer\ntype: input\nfields: []\nmapping: 'root.broker.inputs = [{\"queue\": {}}]'\n",
		"t/queue.yaml": "name: queue\ntype: input\nfields: []\nmapping: 'root.redis_streams = {\"url\": \"redis://localhost:1\", \"streams\": [\"a\"]}'\n",
	})
	bin, err := product()
	require.NoError(t, err)
	run := func(args ...string) verb { return runVerb(t, dir, bin.Penstock, append(args, "--runner", core)...) }

	v := run("lint", "--verbose", "-t", "t/*.yaml", "core.yaml", "redis.yaml", "templated.yaml", "wrong.yaml", "lacks.yaml", "asks.yaml")
	assert.Equal(t, 1, v.code)
	assert.Equal(t, "core.yaml: OK\nredis.yaml: OK\ntemplated.yaml: OK\nwrong.yaml: FAILED\nlacks.yaml: FAILED\nasks.yaml: FAILED\n", v.stdout)
	assert.Contains(t, v.stderr, "wrong.yaml(5,1) field nope not recognised\n")
	assert.Contains(t, v.stderr, "lacks.yaml(1,1) no runner that is installed has the input mongodb at input: the runner connect has it")
	assert.Contains(t, v.stderr, "asks.yaml(1,1) the runner core, which is asked for, does not have the input redis_streams at input: the runner messaging has it")
	v = run("lint", "--upstream", "lacks.yaml")
	assert.Equal(t, []string{"lacks.yaml(1,1) unable to infer input type from candidates: [mongodb]"}, v.lines())

	v = run("test", "redis.yaml")
	assert.Equal(t, "Test 'redis.yaml' succeeded\n", v.stdout, v.stderr)

	// Either of a config and its tests stands for both; what tests put in the place of
	// a processor counts, and what a template makes.
	for _, name := range []string{"apart.yaml", "apart_benthos_test.yaml"} {
		v = run("test", name)
		assert.Equal(t, "Test 'apart.yaml' succeeded\n", v.stdout, v.stderr)
	}
	v = run("test", "mocked.yaml")
	assert.Equal(t, "Test 'mocked.yaml' succeeded\n", v.stdout, v.stderr)
	v = run("template", "lint", "u/awks.yaml")
	assert.Zero(t, v.code, v.stderr)

	p := startPenstock(t, "--runner", core, "-t", filepath.Join(dir, "t", "*.yaml"))
	p.expect(t, 200, "POST", "/streams/a", "input: {outer: {}}\noutput: {drop: {}}\n")
	assertRunner(t, p.client, "a", "messaging")
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
	assertRunner(t, p.client, "b", "core")
}

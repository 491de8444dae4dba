package integration

import (
	"bytes"
	"maps"
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

// verb is how a command that reads files has ended.
type verb struct {
	stdout, stderr string
	code           int
	// resident is the most memory that it, or a process of it, has had in bytes.
	resident int64
	took     time.Duration
}

// lines are those of the standard error, sorted: upstream's threads write it.
func (v verb) lines() []string {
	lines := strings.Split(strings.TrimSpace(v.stderr), "\n")
	slices.Sort(lines)
	return lines
}

// runVerb runs a command line in a folder.
func runVerb(t *testing.T, dir, bin string, args ...string) verb {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	require.NoError(t, cmd.Start())
	ended, peak := make(chan struct{}), make(chan int64)
	go func() {
		// The usage of a process that has ended begins with the memory of the one
		// that has forked it, which here is a large one.
		var most int64
		for {
			select {
			case <-ended:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, peakOfTree(cmd.Process.Pid))
			}
		}
	}()
	err := cmd.Wait()
	took := time.Since(began)
	close(ended)
	resident := <-peak
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(t, err, &exit)
	}
	return verb{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), resident, took}
}

// peakOfTree is the most memory that a process or one that it has started has had
// by now, in bytes; 0 when it has ended.
func peakOfTree(pid int) (peak int64) {
	own, err := peakOf(pid)
	if err != nil {
		return 0
	}
	peak = int64(own)
	for _, child := range children(pid) {
		peak = max(peak, peakOfTree(child.PID))
	}
	return peak
}

// penstockVerb is runVerb of the product.
func penstockVerb(t *testing.T, dir string, args ...string) verb {
	t.Helper()
	bin, err := product()
	require.NoError(t, err)
	return runVerb(t, dir, bin.Penstock, append(args, "--runner", bin.Runner)...)
}

// configFiles are files of which upstream's verbs say something different each.
var configFiles = map[string]string{
	"good.yaml":       "input: {generate: {count: 1, mapping: 'root = 1'}}\noutput: {drop: {}}\n",
	"bad.yaml":        "input:\n  generate: {count: 1, mapping: 'root = 1', nope: 1}\noutput:\n  drop: {}\n",
	"mapping.yaml":    "input: {generate: {count: 1, mapping: 'root = 1'}}\npipeline:\n  processors:\n    - mapping: |\n        root.a = this.b\n        root.c = this.d.(\noutput: {drop: {}}\n",
	"unknown.yaml":    "input: {generate: {count: 1, mapping: 'root = 1'}}\noutput: {dropp: {}}\n",
	"broken.yaml":     "input: {generate: [\n",
	"empty.yaml":      "",
	"tabs.yaml":       "input:\n\tgenerate: {}\n",
	"disabled.yaml":   "# BENTHOS LINT DISABLE\ninput: {generate: {count: 1, mapping: 'root = 1', nope: 1}}\noutput: {drop: {}}\n",
	"variable.yaml":   "input: {generate: {count: 1, mapping: 'root = \"${PENSTOCK_NOT_SET}\"'}}\noutput: {drop: {}}\n",
	"default.yaml":    "input: {generate: {count: 1, mapping: 'root = \"${PENSTOCK_NOT_SET:x}\"'}}\noutput: {drop: {}}\n",
	"dotenv.yaml":     "input: {generate: {count: 1, mapping: 'root = \"${PENSTOCK_FROM_FILE}\"'}}\noutput: {drop: {}}\n",
	"deprecated.yaml": "input: {generate: {count: 1, mapping: 'root = 1'}}\npipeline: {processors: [{bloblang: 'root = 1'}]}\noutput: {http_client: {url: 'http://localhost/', copy_response_headers: true}}\n",
	"alias.yaml":      "input: {generate: {count: 1, mapping: 'root = 1'}}\npipeline: {processors: [&p {mapping: 'root = 1', z: 2}, *p]}\noutput: {drop: {}}\n",
	"service.yaml":    "http: {address: 'localhost:1'}\nlogger: {level: INFO}\nmetrics: {none: {}}\n",
	"res/cache.yaml":  "cache_resources:\n  - label: c\n    memory: {}\n  - label: d\n    memory: {nope: 1}\n",
	"templated.yaml":  "input: {generate: {count: 1, mapping: 'root = 1'}}\npipeline: {processors: [{shout: {mark: '!', nope: 1}}]}\noutput: {drop: {}}\n",
	"doc.md":          "Text\n\n```yaml\ninput: {generate: {nope: 1}}\n```\n",
	"[odd] name.yaml": "input: {generate: {count: 1, mapping: 'root = 1', nope: 1}}\noutput: {drop: {}}\n",
	"sub/deep/a.yml":  "input: {generate: {mapping: 'root = 1', nope: 1}}\n",
	"templates/shout.yaml": "name: shout\ntype: processor\nfields:\n  - name: mark\n    type: string\n" +
		"mapping: |\n  root.mapping = \"root = content().uppercase() + %v\".format(this.mark.quote())\n" +
		"tests:\n  - name: marks\n    config: {mark: '?'}\n    expected: {mapping: 'root = content().uppercase() + \"?\"'}\n",
	"templates/bad/lint.yaml":  "name: lint\ntype: processor\nnope: 1\nmapping: 'root.mapping = \"root = 1\"'\n",
	"templates/bad/map.yaml":   "name: map\ntype: processor\nmapping: 'root = this.('\n",
	"templates/bad/tests.yaml": "name: failing\ntype: processor\nmapping: 'root.mapping = \"root = 1\"'\ntests:\n  - name: fails\n    config: {}\n    expected: {mapping: 'root = 2'}\n",
	"tested.yaml": "input: {generate: {count: 1, mapping: 'root = 1'}}\npipeline:\n  processors:\n    - mapping: root = content().uppercase()\noutput: {drop: {}}\n" +
		"tests:\n  - name: upper\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: A}]]\n",
	"beside.yaml":              "pipeline:\n  processors:\n    - label: greet\n      mapping: root = \"hello \" + env(\"WHOM\")\n",
	"beside_benthos_test.yaml": "tests:\n  - name: greets\n    target_processors: greet\n    environment: {WHOM: you}\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: hello you}]]\n",
	"failing.yaml": "pipeline:\n  processors:\n    - mapping: root = content().uppercase()\n" +
		"tests:\n  - name: lower\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: a}]]\n",
	"needs.yaml": "pipeline:\n  processors:\n    - cache: {resource: c, operator: set, key: k, value: v}\n    - cache: {resource: c, operator: get, key: k}\n" +
		"tests:\n  - name: cached\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: v}]]\n",
	"shouts.yaml": "pipeline:\n  processors:\n    - shout: {mark: '!'}\n" +
		"tests:\n  - name: shouts\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: A!}]]\n",
	"linted.yaml": "pipeline:\n  processors:\n    - mapping: root = 1\n      nope: 1\n" +
		"tests:\n  - name: one\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n    output_batches: [[{content_equals: '1'}]]\n",
	"cache.yaml": "cache_resources:\n  - label: c\n    memory: {}\n",
	"vars.env":   "PENSTOCK_FROM_FILE=here\n",
}

// TestConfigVerbsAreAsUpstream has upstream's own command line and Penstock say the
// same of the same files.
func TestConfigVerbsAreAsUpstream(t *testing.T) {
	t.Parallel()
	upstream, err := reference()
	require.NoError(t, err)
	dir := folder(t, configFiles)
	lint := func(args ...string) []string { return append([]string{"lint", "--verbose"}, args...) }
	var lines, fails int
	for _, args := range [][]string{
		lint(), lint("./..."), lint("..."), lint("sub/..."), lint("*.yaml"), lint("sub/**/*.yml"), lint("sub/*/*.yml"), lint("good.yaml", "default.yaml"),
		lint("--deprecated", "deprecated.yaml"), lint("deprecated.yaml"), lint("--labels", "good.yaml"),
		lint("--skip-env-var-check", "variable.yaml"), lint("-e", "vars.env", "dotenv.yaml"), lint("dotenv.yaml"),
		lint("-r", "res/cache.yaml", "good.yaml"), lint("-r", "cache.yaml,res/cache.yaml"),
		lint("-t", "templates/shout.yaml", "templated.yaml"), lint("-t", "templates/*.yaml", "good.yaml"), lint("templated.yaml"),
		lint("absent.yaml"), lint("absent*.yaml"), lint("doc.md"), lint("good.yaml", "good.yaml"), lint("disabled.yaml"),
		{"test", "./..."}, {"test", "tested.yaml", "beside.yaml"}, {"test", "-v", "beside_benthos_test.yaml"}, {"test", "failing.yaml", "tested.yaml"},
		{"test", "needs.yaml"}, {"test", "-r", "cache.yaml", "needs.yaml"}, {"test", "-r", "c*.yaml", "needs.yaml"},
		{"test", "shouts.yaml"}, {"test", "-t", "templates/*.yaml", "shouts.yaml"}, {"test", "linted.yaml"}, {"test", "broken.yaml"},
		{"test", "good.yaml"}, {"test"}, {"test", "absent.yaml"}, {"test", "--log", "info", "tested.yaml"}, {"test", "-t", "templates/bad/map.yaml", "tested.yaml"},
		{"template", "lint", "templates/..."}, {"template", "lint", "--verbose", "templates/*.yaml"}, {"template", "lint", "absent.yaml"},
		{"template", "lint", "templates/bad/tests.yaml"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			theirs := runVerb(t, dir, upstream, args...)
			if args[0] == "lint" {
				args = append(args, "--upstream")
			}
			ours := penstockVerb(t, dir, args...)
			assert.Equal(t, theirs.code, ours.code, "the exit code\n%s%s", ours.stdout, ours.stderr)
			want := verb{stderr: theirs.stdout}.lines()
			got := verb{stderr: ours.stdout}.lines()
			if args[0] == "test" {
				// It is in the order of the files.
				assert.Equal(t, theirs.stdout, ours.stdout)
			}
			assert.Equal(t, want, got, "standard output")
			if args[0] == "lint" {
				// A file that is named twice is linted once.
				want, got = slices.Compact(theirs.lines()), slices.Compact(ours.lines())
			} else {
				want, got = theirs.lines(), ours.lines()
			}
			assert.Equal(t, want, got, "standard error")
			lines += len(theirs.lines())
			fails += theirs.code
		})
	}
	t.Logf("%d lines of upstream's on standard error compared, %d command lines failed", lines, fails)
	assert.Greater(t, lines, 60)
	assert.Greater(t, fails, 15)
}

// TestLintSaysWhatIsRefused compares the lints of files, with positions, with what
// the API says of the same text.
func TestLintSaysWhatIsRefused(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	const good = "input: {http_server: {path: /post}}\noutput: {sync_response: {}}\n"
	files := map[string]string{
		"policy.yaml":    "runtime: {restart: {policy: nevr}}\n" + good,
		"several.yaml":   good + "runtime:\n  limits:\n    memory: 1\n    cpus: 2\n  replicas: 0\n",
		"service.yaml":   "http: {address: 'localhost:1'}\n" + good,
		"engine.yaml":    "runtime: {limits: {memory: 64MiB}}\ninput:\n  http_server:\n    path: /post\n    nope: 1\noutput: {sync_response: {}}\n",
		"both.yaml":      "runtime: {nope: 1}\ninput:\n  http_server:\n    path: /post\n    nope: 1\noutput: {sync_response: {}}\n",
		"merged.yaml":    "input: {http_server: &a {path: /post}}\npipeline:\n  processors:\n    - http: {<<: {url: 'http://localhost'}, nope: 1}\noutput: {sync_response: {}}\n",
		"self.yaml":      "input: &a {generate: *a}\noutput: {drop: {}}\n",
		"documents.yaml": good + "---\n" + good,
	}
	dir := folder(t, files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			v := penstockVerb(t, dir, "lint", name)
			assert.Equal(t, 1, v.code)
			refusal := p.expect(t, 400, "POST", "/streams/x", files[name])
			var said []string
			if refusal.MediaType() == "application/json" {
				said = lintsOf(t, refusal)
			}
			for _, lint := range said {
				assert.Contains(t, v.lines(), name+lint)
			}
			if len(said) == 0 {
				// The API's text names the place in words.
				assert.NotEmpty(t, v.stderr)
				t.Logf("%s\n%s", refusal.Text(), v.stderr)
			}
		})
	}
	ids := folder(t, map[string]string{"a b.yaml": good, "ok.yaml": "runtime: {env: {WHOM: you}}\ninput: {http_server: {path: '/${WHOM}'}}\noutput: {sync_response: {}}\n"})
	v := penstockVerb(t, ids, "lint", ".")
	assert.Equal(t, 1, v.code)
	assert.Equal(t, []string{`a b.yaml(1,1) stream id "a b" is not valid: use 1 to 128 of A-Z a-z 0-9 . _ - and do not start with a dot`}, v.lines())
	assert.Zero(t, penstockVerb(t, ids, "lint", "ok.yaml").code, "a variable of the runtime block is set")
}

// TestLintOutlivesWhatItLints: files that take all memory or never end are told of, and the others are linted.
func TestLintOutlivesWhatItLints(t *testing.T) {
	t.Parallel()
	hostile := func(mapping string) string {
		return "input: {generate: {count: 1, mapping: 'root = 1'}}\npipeline: {processors: [{mapping: '" + mapping + "'}]}\noutput: {drop: {nope: 1}}\n"
	}
	files := map[string]string{
		"a.yaml":         configFiles["bad.yaml"],
		"b-memory.yaml":  hostile("root = range(0, 300000000)"),
		"c.yaml":         configFiles["bad.yaml"],
		"d-slow.yaml":    hostile("root = " + strings.Repeat("(", 100000)),
		"f.yaml":         configFiles["good.yaml"],
		"g-aliases.yaml": "input: {generate: {count: 1, mapping: 'root = 1'}}\nl0: &l0 [x, x, x, x, x, x, x, x, x, x]\n" + aliases(7) + "output: {drop: {}}\n",
		"z.yaml":         configFiles["bad.yaml"],
	}
	dir := folder(t, files)
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "e-pipe.yaml"), 0o600))
	v := penstockVerb(t, dir, "lint", "--timeout", "3s", "--memory", "512MiB", "./...")
	t.Logf("%s, at most %d MiB\n%s", v.took, v.resident>>20, v.stderr)
	assert.Equal(t, 1, v.code)
	assert.Greater(t, v.resident, int64(20<<20), "bytes of memory")
	assert.Less(t, v.resident, int64(600<<20), "bytes of memory")
	for _, name := range []string{"a", "c", "z"} {
		assert.Contains(t, v.lines(), name+".yaml(2,1) field nope not recognised")
	}
	assert.NotContains(t, v.stderr, "f.yaml")
	assert.Regexp(t, `(?m)^b-memory\.yaml\(1,1\) it cannot be linted: .*out of memory`, v.stderr)
	// Its stack may be too large for the bound before the time is over.
	assert.Regexp(t, `(?m)^d-slow\.yaml\(1,1\) it cannot be linted: it (took longer than 3s|ended with)`, v.stderr)
	assert.Regexp(t, `(?m)^e-pipe\.yaml\(1,1\) it cannot be linted: it took longer than 3s`, v.stderr)
	assert.Regexp(t, `(?m)^g-aliases\.yaml\(.*expands to more than 100000 nodes`, v.stderr)
	assert.Empty(t, mentioning("512MiB"), "processes that outlived the command")
}

// aliases are lines each of which names the one before ten times.
func aliases(depth int) string {
	var b strings.Builder
	for i := range depth {
		now, before := string(rune('1'+i)), string(rune('0'+i))
		b.WriteString("l" + now + ": &l" + now + " [" + strings.TrimSuffix(strings.Repeat("*l"+before+", ", 10), ", ") + "]\n")
	}
	return b.String()
}

// TestConfigTestsOfStreams: what is Penstock's own in a file is none of its tests'
// business, and a test that takes all memory ends.
func TestConfigTestsOfStreams(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"own.yaml":  "runtime: {restart: {policy: never}}\n" + configFiles["tested.yaml"],
		"bomb.yaml": strings.ReplaceAll(configFiles["failing.yaml"], "content().uppercase()", "range(0, 300000000)"),
	})
	v := penstockVerb(t, dir, "test", "own.yaml")
	assert.Equal(t, verb{stdout: "Test 'own.yaml' succeeded\n", resident: v.resident, took: v.took}, v)
	v = penstockVerb(t, dir, "test", "--memory", "512MiB", "bomb.yaml")
	assert.NotZero(t, v.code)
	assert.Contains(t, v.stderr, "out of memory")
	assert.Less(t, v.resident, int64(600<<20))
	v = penstockVerb(t, dir, "test", "--memory", "lots", "own.yaml")
	assert.Contains(t, v.stderr, "is not a size")
}

// TestConfigTestsThatNeverEnd: they are ended, and named, in their file or beside it,
// and what is before them has its result.
func TestConfigTestsThatNeverEnd(t *testing.T) {
	t.Parallel()
	endless := func(file string) string {
		return strings.ReplaceAll(configFiles[file], "content().uppercase()", `range(0, 30000).map_each(range(0, 30000).map_each("x".hash("sha512")).length())`)
	}
	dir := folder(t, map[string]string{
		"a.yaml": configFiles["tested.yaml"], "b.yaml": endless("failing.yaml"), "z.yaml": configFiles["tested.yaml"],
		"c.yaml": "pipeline:\n  processors:\n    - sleep: {duration: 1h}\n", "c_benthos_test.yaml": "tests:\n  - name: sleeps\n    target_processors: /pipeline/processors\n    input_batch: [{content: a}]\n",
		"t.yaml": "name: t\ntype: processor\nmapping: 'root.mapping = range(0, 30000).map_each(range(0, 30000).map_each(\"x\".hash(\"sha512\")).length())'\ntests: [{name: never, config: {}}]\n",
	})
	for want, args := range map[string][]string{
		"b.yaml: its tests (lower) took longer than 10s: look for mappings that never end":  {"test", "--timeout", "10s", "./..."},
		"c.yaml: its tests (sleeps) took longer than 10s: look for mappings that never end": {"test", "--timeout", "10s", "z.yaml", "c_benthos_test.yaml", "a.yaml"},
		"t.yaml: it took longer than 3s": {"template", "lint", "--timeout", "3s", "t.yaml"},
		"--timeout is -1s: it must be 0": {"test", "--timeout", "-1s", "a.yaml"},
	} {
		v := penstockVerb(t, dir, args...)
		assert.Equal(t, 1, v.code, want)
		assert.Contains(t, v.stderr, want)
		assert.Less(t, v.took, time.Minute)
		if args[0] == "test" && args[2] == "10s" {
			// It has had as long, and the start of the engine with it.
			assert.Equal(t, "Test 'a.yaml' succeeded\n", v.stdout)
		}
	}
}

// TestExamplesAreLintedAndTested: the files that the repository shows are in order.
func TestExamplesAreLintedAndTested(t *testing.T) {
	t.Parallel()
	const templates = "configs/templates/*.yaml"
	v := penstockVerb(t, repo, "lint", "--verbose", "-t", templates, "-r", "configs/resources/*.yaml", "configs/examples")
	assert.Zero(t, v.code, v.stderr)
	files, err := filepath.Glob(filepath.Join(repo, "configs", "examples", "*"))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, strings.Count(v.stdout, ": OK\n"), len(files))
	v = penstockVerb(t, repo, "test", "-t", templates, "configs/examples")
	assert.Zero(t, v.code, v.stderr)
	assert.Contains(t, v.stdout, "Test 'configs/examples/templated.yaml' succeeded")
	v = penstockVerb(t, repo, "template", "lint", templates)
	assert.Zero(t, v.code, v.stderr)
	bin, err := product()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), bin.Runner, "--engine", "0", "run", "x.yaml").CombinedOutput()
	assert.Error(t, err, "the runner is no engine to run streams by hand")
	assert.Contains(t, string(out), "is for the verbs [test template]")
}

package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sharedCacheYAML is a stream that does to a cache what headers ask for, and
// answers what came of it.
const sharedCacheYAML = `
input: {http_server: {path: /op}}
pipeline:
  processors:
    - switch:
        - check: 'meta("Op") == "get"'
          processors: [{cache: {resource: '%[1]s', operator: get, key: '${! meta("Key") }'}}]
        - check: 'meta("Op") == "set"'
          processors: [{cache: {resource: '%[1]s', operator: set, key: '${! meta("Key") }', value: '${! content() }', ttl: '${! meta("Ttl").or("") }'}}]
        - check: 'meta("Op") == "add"'
          processors: [{cache: {resource: '%[1]s', operator: add, key: '${! meta("Key") }', value: '${! content() }'}}]
        - check: 'meta("Op") == "delete"'
          processors: [{cache: {resource: '%[1]s', operator: delete, key: '${! meta("Key") }'}}]
    - mapping: 'root = if errored() { "error: " + error() } else { content() }'
output: {sync_response: {}}
`

func usesCache(label string) string { return fmt.Sprintf(sharedCacheYAML, label) }

// operate asks a stream of sharedCacheYAML for an operation.
func operate(t testing.TB, c *client, stream, op, key, value string, ttl ...string) string {
	t.Helper()
	header := map[string]string{"Op": op, "Key": key}
	if len(ttl) > 0 {
		header["Ttl"] = ttl[0]
	}
	var text string
	await(t, soonTimeout, "an answer of "+stream, func() error {
		a, err := refuseNot(c.ask(t.Context(), request{Method: http.MethodPost, Path: "/" + stream + "/op", Body: value, Header: header}))
		text = a.Text()
		return err
	})
	return text
}

// hostOf is the process of the resource host: the runner that is no stream's.
func hostOf(t testing.TB, c *client, runners func() []process) (pid int) {
	t.Helper()
	await(t, changeTimeout, "the resource host", func() error {
		var list map[string]any
		c.getJSON(t, "/streams", &list)
		streams := map[int]bool{}
		for id := range list {
			status, err := askStatus(t.Context(), c, id)
			if err != nil {
				return err
			}
			streams[status.PID] = true
		}
		others := slices.DeleteFunc(runners(), func(p process) bool { return streams[p.PID] })
		if len(others) != 1 {
			return fmt.Errorf("these processes are no stream's: %v", others)
		}
		pid = others[0].PID
		return nil
	})
	return pid
}

func TestSharedMemoryCache(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {compaction_interval: 1ms}")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, usesCache("mine"))
	}
	assert.Len(t, p.runners(), 2, "the host is started when it is needed first")
	assert.Equal(t, "error: operator failed for key 'k': key does not exist", operate(t, p.client, "a", "get", "k", "x"))
	assert.Equal(t, "one", operate(t, p.client, "a", "set", "k", "one"))
	assert.Equal(t, "one", operate(t, p.client, "b", "get", "k", "x"))
	assert.Equal(t, "error: key already exists: k", operate(t, p.client, "b", "add", "k", "two"))
	assert.Equal(t, "", operate(t, p.client, "b", "set", "empty", ""))
	assert.Equal(t, "", operate(t, p.client, "a", "get", "empty", "x"))
	assert.Equal(t, "x", operate(t, p.client, "a", "delete", "empty", "x"))
	assert.Contains(t, operate(t, p.client, "b", "get", "empty", "x"), "does not exist")
	assert.Equal(t, "large", operate(t, p.client, "a", "set", strings.Repeat("k", 4<<10), "large"))
	assert.Equal(t, "large", operate(t, p.client, "b", "get", strings.Repeat("k", 4<<10), "x"))

	assert.Equal(t, "short", operate(t, p.client, "a", "set", "brief", "short", "300ms"))
	began := time.Now()
	await(t, soonTimeout, "the item to expire", func() error {
		if strings.Contains(operate(t, p.client, "b", "get", "brief", "x"), "does not exist") {
			return nil
		}
		return errors.New("it is there")
	})
	assert.Greater(t, time.Since(began), 200*time.Millisecond)
	assert.Less(t, time.Since(began), 10*time.Second)

	p.expect(t, 200, "DELETE", "/streams/a", "")
	p.expect(t, 200, "DELETE", "/streams/b", "")
	p.expect(t, 200, "POST", "/streams/c", usesCache("mine"))
	assert.Equal(t, "one", operate(t, p.client, "c", "get", "k", "x"), "it outlives its streams")

	// What is left of it is an end with the last resource.
	p.expect(t, 200, "DELETE", "/streams/c", "")
	p.expect(t, 200, "DELETE", "/resources/cache/mine", "")
	await(t, changeTimeout, "the end of the host", func() error {
		if left := p.runners(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
}

// TestSharedErrors: an error of the cache's own passes by its text.
func TestSharedErrors(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not-there")
	texts := map[string]string{}
	for name, c := range map[string]*client{"reference": startReference(t).client, "penstock": startPenstock(t).client} {
		c.expect(t, 200, "POST", "/resources/cache/broken", "file: {directory: "+quoted(dir)+"}")
		c.expect(t, 200, "POST", "/streams/a", usesCache("broken"))
		texts[name] = operate(t, c, "a", "set", "k", "x") + "\n" + operate(t, c, "a", "add", "k", "x") + "\n" + operate(t, c, "a", "delete", "k", "x")
	}
	t.Log(texts["penstock"])
	assert.Contains(t, texts["penstock"], "no such file or directory")
	assert.Equal(t, texts["reference"], texts["penstock"])
}

// TestSharedLiveChange: a change reaches the streams while they run, and costs
// no other resource what it holds.
func TestSharedLiveChange(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	for _, label := range []string{"changed", "other"} {
		p.expect(t, 200, "POST", "/resources/cache/"+label, "memory: {init_values: {k: zero}}")
		p.expect(t, 200, "POST", "/streams/"+label, usesCache(label))
		assert.Equal(t, "filled", operate(t, p.client, label, "set", "own", "filled"))
	}
	p.expect(t, 200, "POST", "/resources/cache/both", "multilevel: [changed, other]")
	p.expect(t, 200, "POST", "/streams/both", usesCache("both"))
	assert.Equal(t, "zero", operate(t, p.client, "both", "get", "k", "x"))
	pids := func() []int {
		return []int{runnerOf(t, p.client, "changed"), runnerOf(t, p.client, "other"), runnerOf(t, p.client, "both"), hostOf(t, p.client, p.runners)}
	}
	before := pids()
	p.expect(t, 200, "POST", "/resources/cache/changed", "memory: {init_values: {k: one}}")
	assert.Equal(t, "one", operate(t, p.client, "changed", "get", "k", "x"))
	assert.Contains(t, operate(t, p.client, "changed", "get", "own", "x"), "does not exist", "it is another cache")
	assert.Equal(t, "filled", operate(t, p.client, "other", "get", "own", "x"), "this one was not touched")
	assert.Equal(t, "one", operate(t, p.client, "both", "get", "k", "x"), "a resource that uses it has the new one")

	// What cannot be had changes nothing.
	p.expect(t, 400, "POST", "/resources/cache/changed", "memory: {default_ttl: never}")
	p.expect(t, 400, "POST", "/resources/cache/changed", "nope: {}")
	assert.Equal(t, "one", operate(t, p.client, "changed", "get", "k", "x"))
	assert.Equal(t, before, pids())
}

// TestSharedResourceOfAResource: a resource that each stream has of its own
// refers to the one instance.
func TestSharedResourceOfAResource(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/resources/cache/seen", "memory: {}")
	p.expect(t, 200, "POST", "/resources/processor/once", "dedupe: {cache: seen, key: '${! content() }'}")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, `
input: {http_server: {timeout: 2s}}
pipeline: {processors: [{resource: once}]}
output: {sync_response: {}}
`)
	}
	assert.Equal(t, "x", p.expect(t, 200, "POST", "/a/post", "x").Text())
	assert.Equal(t, "", p.expect(t, 200, "POST", "/b/post", "x").Text(), "the other stream has seen it")
	assert.Equal(t, "y", p.expect(t, 200, "POST", "/b/post", "y").Text())
}

const (
	dedupeStreams  = 8
	dedupeMessages = 12_500
)

// dedupeYAML is a stream that sends the same messages as all others, of which
// each is to come out of one of them, into a file.
func dedupeYAML(id, file string, messages int) string {
	return fmt.Sprintf(`
input: {generate: {count: %d, interval: "", mapping: 'root = count("%s").string()'}}
pipeline: {threads: 1, processors: [{dedupe: {cache: seen, key: '${! content() }'}}]}
output: {file: {path: %s, codec: lines}}
`, messages, id, quoted(file))
}

// outputs are the lines of all files of a folder, and how often each is there.
func outputs(t testing.TB, dir string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		require.NoError(t, err)
		for line := range strings.FieldsSeq(string(text)) {
			counts[line]++
		}
	}
	return counts
}

func awaitOver(t testing.TB, c *client, id string) {
	t.Helper()
	await(t, 2*time.Minute, "the end of "+id, func() error {
		return active(false)(c.call(t, http.MethodGet, "/streams/"+id, ""))
	})
}

// TestSharedDedupe: 100,000 operations of eight streams come to what they come to
// in one process.
func TestSharedDedupe(t *testing.T) {
	t.Parallel()
	counts := map[string]map[string]int{}
	for name, c := range map[string]*client{"reference": startReference(t).client, "penstock": startPenstock(t).client} {
		dir := t.TempDir()
		c.expect(t, 200, "POST", "/resources/cache/seen", "memory: {}")
		began := time.Now()
		for i := range dedupeStreams {
			id := fmt.Sprintf("s%d", i)
			c.expect(t, 200, "POST", "/streams/"+id, dedupeYAML(id, filepath.Join(dir, id), dedupeMessages))
		}
		for i := range dedupeStreams {
			awaitOver(t, c, fmt.Sprintf("s%d", i))
		}
		took := time.Since(began)
		counts[name] = outputs(t, dir)
		t.Logf("%s: %d operations by %d streams in %s, %.0f a second; %d messages came out", name, dedupeStreams*dedupeMessages, dedupeStreams,
			took.Round(time.Millisecond), dedupeStreams*dedupeMessages/took.Seconds(), len(counts[name]))
	}
	assert.Len(t, counts["penstock"], dedupeMessages)
	assert.Equal(t, counts["reference"], counts["penstock"])
}

// TestSharedRateLimit: the count of a rate limit holds for all streams together.
func TestSharedRateLimit(t *testing.T) {
	t.Parallel()
	const streams, limit = 4, 50
	passed := map[string]int{}
	for name, c := range map[string]*client{"reference": startReference(t).client, "penstock": startPenstock(t).client} {
		c.expect(t, 200, "POST", "/resources/rate_limit/mine", fmt.Sprintf("local: {count: %d, interval: 1h}", limit))
		for i := range streams {
			c.expect(t, 200, "POST", fmt.Sprintf("/streams/s%d", i), limitedYAML)
		}
		for i := range streams * limit {
			var a answer
			await(t, soonTimeout, "an answer", func() (err error) {
				a, err = refuseNot(c.ask(t.Context(), request{Method: http.MethodPost, Path: fmt.Sprintf("/s%d/post", i%streams), Body: "x"}))
				return err
			})
			if a.Status == http.StatusOK {
				passed[name]++
			} else {
				assert.Equal(t, http.StatusTooManyRequests, a.Status, "%s: %s", name, a)
			}
		}
	}
	assert.Equal(t, map[string]int{"reference": limit, "penstock": limit}, passed)
}

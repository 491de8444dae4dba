package integration

import (
	"encoding/json"
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

// resourceInfo is what GET /resources tells about one.
type resourceInfo struct {
	Config  any
	Shared  bool
	Streams []string
}

// resourceUse is a resource of each type with a stream that uses it and shows
// in its answer which version of the resource it has.
type resourceUse struct {
	typ, first, second string
	stream             string
	want               [2]string
}

var resourceUses = []resourceUse{
	{
		typ: "cache", first: "memory: {init_values: {k: one}}", second: `{"memory":{"init_values":{"k":"two"}}}`,
		stream: `
input: {http_server: {}}
pipeline: {processors: [{cache: {resource: mine, operator: get, key: k}}]}
output: {sync_response: {}}
`,
		want: [2]string{"one", "two"},
	},
	{
		typ: "processor", first: `mapping: 'root = "one"'`, second: `mapping: 'root = "two"'`,
		stream: `
input: {http_server: {}}
pipeline: {processors: [{resource: mine}]}
output: {sync_response: {}}
`,
		want: [2]string{"one", "two"},
	},
	{
		typ: "output", first: "sync_response: {}\nprocessors: [{mapping: 'root = \"one\"'}]", second: "sync_response: {}\nprocessors: [{mapping: 'root = \"two\"'}]",
		stream: "input: {http_server: {}}\noutput: {resource: mine}\n",
		want:   [2]string{"one", "two"},
	},
	{
		typ: "input", first: "http_server: {path: /post}\nprocessors: [{mapping: 'root = \"one\"'}]", second: "http_server: {path: /post}\nprocessors: [{mapping: 'root = \"two\"'}]",
		stream: "input: {resource: mine}\noutput: {sync_response: {}}\n",
		want:   [2]string{"one", "two"},
	},
	{
		typ: "rate_limit", first: "local: {count: 1, interval: 1h}", second: "local: {count: 1000, interval: 1h}",
		stream: limitedYAML, want: [2]string{"passed", "passed"},
	},
}

const limitedYAML = `
input: {http_server: {rate_limit: mine}}
pipeline: {processors: [{mapping: 'root = "passed"'}]}
output: {sync_response: {}}
`

func TestResourcesOfEveryType(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/other", echoYAML)
	for _, use := range resourceUses {
		path := "/resources/" + use.typ + "/mine"
		p.expect(t, http.StatusNotFound, http.MethodGet, path, "")
		p.expect(t, http.StatusNotFound, http.MethodDelete, path, "")
		a := p.expect(t, http.StatusBadRequest, http.MethodPost, "/streams/user", use.stream)
		assert.NoError(t, line("mine")(a), "a stream whose resource is not there")

		p.expect(t, http.StatusOK, http.MethodPost, path, use.first)
		var info resourceInfo
		p.getJSON(t, path, &info)
		assert.Empty(t, info.Streams)
		p.expect(t, http.StatusOK, http.MethodPost, "/streams/user", use.stream)
		post := func() (text string) {
			t.Helper()
			// The engine builds an input resource when its stream begins to read.
			await(t, soonTimeout, "the stream's endpoint", func() error {
				a, err := refuseNot(p.ask(t.Context(), request{Method: http.MethodPost, Path: "/user/post", Body: "x"}))
				text = a.Text()
				return err
			})
			return text
		}
		assert.Equal(t, use.want[0], post(), use.typ)

		var all map[string]map[string]resourceInfo
		p.getJSON(t, "/resources", &all)
		p.getJSON(t, path, &info)
		assert.Equal(t, info, all[use.typ]["mine"])
		assert.Equal(t, []string{"user"}, info.Streams)
		assert.Len(t, all, 1)

		pid, otherPID := runnerOf(t, p.client, "user"), runnerOf(t, p.client, "other")
		p.expect(t, http.StatusOK, http.MethodPost, path, use.second)
		assert.Equal(t, use.want[1], post(), use.typ)
		if info.Shared {
			assert.Equal(t, pid, runnerOf(t, p.client, "user"), "a shared resource is exchanged while its streams run")
		} else {
			assert.NotEqual(t, pid, runnerOf(t, p.client, "user"), "a stream gets an instance of its own by a restart")
		}
		assert.Equal(t, use.typ == "cache" || use.typ == "rate_limit", info.Shared, use.typ)
		assert.Equal(t, otherPID, runnerOf(t, p.client, "other"), "a stream without the resource is left alone")
		p.getJSON(t, path, &info)
		assert.NotContains(t, fmt.Sprint(info.Config), "one")

		a = p.expect(t, http.StatusConflict, http.MethodDelete, path, "")
		assert.NoError(t, line("user")(a))
		assert.Equal(t, use.want[1], post(), "after the refused deletion")
		p.expect(t, http.StatusOK, http.MethodDelete, "/streams/user", "")
		p.expect(t, http.StatusOK, http.MethodDelete, path, "")
		p.expect(t, http.StatusNotFound, http.MethodGet, path, "")
		p.expect(t, http.StatusNotFound, http.MethodDelete, path, "")
		p.getJSON(t, "/resources", &all)
	}
	assert.Equal(t, "{}", p.expect(t, http.StatusOK, http.MethodGet, "/resources", "").Text())
}

// A rate limit counts from its replacement on anew, by its new figures.
func TestResourcesRateLimit(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/rate_limit/mine", "local: {count: 1, interval: 1h}")
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/user", limitedYAML)
	p.expect(t, http.StatusOK, http.MethodPost, "/user/post", "x")
	for range 3 {
		p.expect(t, http.StatusTooManyRequests, http.MethodPost, "/user/post", "x")
	}
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/rate_limit/mine", "local: {count: 3, interval: 1h}")
	for range 3 {
		p.expect(t, http.StatusOK, http.MethodPost, "/user/post", "x")
	}
	a := p.expect(t, http.StatusTooManyRequests, http.MethodPost, "/user/post", "x")
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
}

// A resource that another resource uses reaches the streams of that one.
func TestResourcesOfResources(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/cache/store", "memory: {init_values: {k: one}}")
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/look", "cache: {resource: store, operator: get, key: k}")
	for _, id := range []string{"a", "b"} {
		p.expect(t, http.StatusOK, http.MethodPost, "/streams/"+id, `
input: {http_server: {}}
pipeline: {processors: [{resource: look}]}
output: {sync_response: {}}
`)
	}
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/c", echoYAML)
	get := func(stream string) string {
		t.Helper()
		return p.expect(t, http.StatusOK, http.MethodPost, "/"+stream+"/post", "x").Text()
	}
	assert.Equal(t, "one", get("a"))
	pids := map[string]int{}
	for _, id := range []string{"a", "b", "c"} {
		pids[id] = runnerOf(t, p.client, id)
	}
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/cache/store", "memory: {init_values: {k: two}}")
	assert.Equal(t, "two", get("a"))
	assert.Equal(t, "two", get("b"))
	assert.Equal(t, pids["a"], runnerOf(t, p.client, "a"), "it is exchanged in the resource host")
	assert.Equal(t, pids["b"], runnerOf(t, p.client, "b"))
	assert.Equal(t, pids["c"], runnerOf(t, p.client, "c"))

	a := p.expect(t, http.StatusConflict, http.MethodDelete, "/resources/cache/store", "")
	assert.NoError(t, line("a, b", "processor/look")(a))
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/a", "")
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/b", "")
	a = p.expect(t, http.StatusConflict, http.MethodDelete, "/resources/cache/store", "")
	assert.NoError(t, line("processor/look")(a))
	p.expect(t, http.StatusOK, http.MethodDelete, "/resources/processor/look", "")
	p.expect(t, http.StatusOK, http.MethodDelete, "/resources/cache/store", "")
}

// A change of a resource that one of its streams cannot be built with leaves
// everything as it was.
func TestResourcesThatAStreamCannotTake(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/step", `mapping: 'root = content() + " one"'`)
	mapping := filepath.Join(t.TempDir(), "mapping.blobl")
	require.NoError(t, os.WriteFile(mapping, []byte("root = content().uppercase()\n"), 0o600))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/fine", `
input: {http_server: {}}
pipeline: {processors: [{resource: step}]}
output: {sync_response: {}}
`)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/brittle", `
input: {http_server: {}}
pipeline:
  processors:
    - resource: step
    - mapping: 'from `+quoted(mapping)+`'
output: {sync_response: {}}
`)
	pids := []int{runnerOf(t, p.client, "fine"), runnerOf(t, p.client, "brittle")}
	require.NoError(t, os.WriteFile(mapping, []byte("root = nope(\n"), 0o600))
	a := p.expect(t, http.StatusBadRequest, http.MethodPost, "/resources/processor/step", `mapping: 'root = content() + " two"'`)
	assert.Contains(t, a.Text(), "brittle")
	assert.NotContains(t, a.Text(), "fine")
	assert.Equal(t, pids, []int{runnerOf(t, p.client, "fine"), runnerOf(t, p.client, "brittle")})
	assert.Equal(t, "x one", p.expect(t, http.StatusOK, http.MethodPost, "/fine/post", "x").Text())
	assert.Equal(t, "X ONE", p.expect(t, http.StatusOK, http.MethodPost, "/brittle/post", "x").Text())
	assert.Contains(t, p.expect(t, http.StatusOK, http.MethodGet, "/resources/processor/step", "").Text(), "one")

	require.NoError(t, os.WriteFile(mapping, []byte("root = content().lowercase()\n"), 0o600))
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/step", `mapping: 'root = content() + " TWO"'`)
	assert.Equal(t, "x TWO", p.expect(t, http.StatusOK, http.MethodPost, "/fine/post", "x").Text())
	assert.Equal(t, "x two", p.expect(t, http.StatusOK, http.MethodPost, "/brittle/post", "X").Text())
}

func TestResourcesRefused(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/cache/taken", "memory: {}")
	for _, test := range []struct {
		path, body string
		want       []string
	}{
		{"/resources/buffer/x", "memory: {}", []string{"cache", "input", "output", "processor", "rate_limit"}},
		{"/resources/cache/.x", "memory: {}", []string{".x"}},
		{"/resources/cache/a%20b", "memory: {}", []string{"a b"}},
		{"/resources/cache/a%2Fb", "memory: {}", []string{"a/b"}},
		{"/resources/cache/x", "", nil},
		{"/resources/cache/x", "[", []string{"line 1"}},
		{"/resources/cache/x", "&a [*a]", nil},
		{"/resources/cache/x", "lru: {cap: -1}", []string{"cap"}},
		{"/resources/cache/x", "nope: {}", []string{"nope"}},
		{"/resources/rate_limit/taken", "local: {}", []string{"taken", "cache"}},
	} {
		a := p.expect(t, http.StatusBadRequest, http.MethodPost, test.path, test.body)
		if a.MediaType() == "application/json" {
			assertLint(t, "", a)
			continue
		}
		assert.NoError(t, line(test.want...)(a), "%s %s", test.path, test.body)
	}
	for _, test := range []struct{ typ, body, want string }{
		{"cache", "memory:\n  default_ttl: 60s\n  nope: 1\n", "(3,1) field nope not recognised"},
		{"cache", `{"memory":{"nope":1}}`, "(1,"},
		{"processor", "mapping: |\n  root.a = 1\n  root.b = nope()\n", "(3,"},
		{"rate_limit", "# comment\n\nlocal:\n  wat: x\n", "(4,1) field wat not recognised"},
		{"output", "label: other\nfile:\n  path: x\n  wat: y\n", "(4,1) field wat not recognised"},
	} {
		a := p.expect(t, http.StatusBadRequest, http.MethodPost, "/resources/"+test.typ+"/x", test.body)
		assertLint(t, test.want, a)
	}
	var all map[string]map[string]resourceInfo
	p.getJSON(t, "/resources", &all)
	assert.Len(t, all, 1)
	assert.Len(t, all["cache"], 1)

	const nope = "memory: {nope: 1}"
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/cache/x?chilled=true", nope)
	p.expect(t, http.StatusBadRequest, http.MethodPost, "/resources/cache/x", nope)
	p.expect(t, http.StatusBadRequest, http.MethodPost, "/resources/cache/x?chilled=true", "lru: {cap: -1}")
	assert.Contains(t, p.expect(t, http.StatusOK, http.MethodGet, "/resources/cache/x", "").Text(), "nope")
	p.expect(t, http.StatusOK, http.MethodDelete, "/resources/cache/x", "")
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		p.expect(t, http.StatusBadRequest, method, "/resources/cache/taken", "memory: {}")
	}
}

// assertLint checks a refusal by the linter: the same findings under both
// keys, one of which has the text.
func assertLint(t *testing.T, want string, a answer) {
	t.Helper()
	var lints struct {
		Linting []string `json:"linting_errors"`
		Lint    []string `json:"lint_errors"`
	}
	require.NoError(t, json.Unmarshal(a.Body, &lints), "%s", a)
	assert.Equal(t, lints.Linting, lints.Lint)
	require.NotEmpty(t, lints.Lint)
	assert.Contains(t, strings.Join(lints.Lint, "\n"), want)
}

// A stream that has ended keeps its end when its resource changes, and one that
// is blocked does not hold the change up.
func TestResourcesOfStreamsThatDoNotRun(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/step", "mapping: root = this")
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/ended", `
input: {generate: {count: 1, interval: "", mapping: 'root = {}'}}
pipeline: {processors: [{resource: step}]}
output: {drop: {}}
`)
	await(t, soonTimeout, "the end of the stream", func() error {
		return active(false)(p.call(t, http.MethodGet, "/streams/ended", ""))
	})
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/blocked", `
input: {generate: {interval: "", mapping: 'root = {}'}}
pipeline: {threads: 1, processors: [{resource: step}, {sleep: {duration: 1h}}]}
output: {drop: {}}
`)
	blocked := runnerOf(t, p.client, "blocked")
	await(t, soonTimeout, "its first message", func() error {
		if received(t, p.client, "blocked") == 0 {
			return errors.New("it has received none")
		}
		return nil
	})
	began := time.Now()
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/step?timeout=300ms", "mapping: root = {}")
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.NotEqual(t, blocked, runnerOf(t, p.client, "blocked"))
	assert.NoError(t, active(false)(p.call(t, http.MethodGet, "/streams/ended", "")))
	assert.Len(t, p.runners(), 1)

	// It still counts as a user: an update may set it going again.
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/blocked?timeout=300ms", "")
	a := p.expect(t, http.StatusConflict, http.MethodDelete, "/resources/processor/step", "")
	assert.NoError(t, line("ended")(a))
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/ended", "")
	p.expect(t, http.StatusOK, http.MethodDelete, "/resources/processor/step", "")
}

// received is how many messages a stream's input has taken.
func received(t *testing.T, c *client, stream string) float64 {
	t.Helper()
	var stats struct{ Input struct{ Received float64 } }
	c.getJSON(t, "/streams/"+stream+"/stats", &stats)
	return stats.Input.Received
}

// Many users of one resource are restarted together.
func TestResourcesOfManyStreams(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/step", `mapping: 'root = "one"'`)
	const streams = 12
	var ids []string
	for i := range streams {
		id := fmt.Sprintf("s%02d", i)
		ids = append(ids, id)
		p.expect(t, http.StatusOK, http.MethodPost, "/streams/"+id, "input: {http_server: {}}\npipeline: {processors: [{resource: step}]}\noutput: {sync_response: {}}\n")
	}
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/step", `mapping: 'root = "two"'`)
	for _, id := range ids {
		assert.Equal(t, "two", p.expect(t, http.StatusOK, http.MethodPost, "/"+id+"/post", "x").Text(), id)
	}
	var info resourceInfo
	p.getJSON(t, "/resources/processor/step", &info)
	assert.True(t, slices.Equal(ids, info.Streams), "%v", info.Streams)
	assert.Len(t, p.runners(), streams)
}

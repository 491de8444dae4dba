package api

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"penstock/supervisor"
	"penstock/supervisor/calls"
	"penstock/supervisor/document"
)

// verbs are the methods that a path of the document can have.
var verbs = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}

// ofStreams are the paths that the gateway takes.
var ofStreams = []string{"/{id}/ready", "/{id}/{path}"}

type object = map[string]any

// openAPI is docs/openapi.yaml.
type openAPI struct{ root object }

func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	require.NoError(t, err)
	var d openAPI
	require.NoError(t, yaml.Unmarshal(text, &d.root))
	require.Equal(t, "3.1.0", d.root["openapi"])
	return d
}

// resolve follows a reference, if v is one.
func (d openAPI) resolve(t *testing.T, v any) object {
	t.Helper()
	o, ok := v.(object)
	require.True(t, ok, "%v is no object", v)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	at := any(d.root)
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		parent, _ := at.(object)
		at, ok = parent[name]
		require.True(t, ok, "nothing is at %s", ref)
	}
	return d.resolve(t, at)
}

func (d openAPI) path(path string) object {
	item, _ := d.root["paths"].(object)[path].(object)
	return item
}

// operation is nil where there is none.
func (d openAPI) operation(path, verb string) object {
	op, _ := d.path(path)[strings.ToLower(verb)].(object)
	return op
}

// each calls do for every operation.
func (d openAPI) each(do func(path, verb string, op object)) {
	for path := range d.root["paths"].(object) {
		for _, verb := range verbs {
			if op := d.operation(path, verb); op != nil {
				do(path, verb, op)
			}
		}
	}
}

func TestOpenAPIIsSound(t *testing.T) {
	d := readOpenAPI(t)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			d.resolve(t, v)
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(d.root)

	ids := map[any]bool{}
	d.each(func(path, verb string, op object) {
		assert.NotContains(t, ids, op["operationId"])
		ids[op["operationId"]] = true
		item := d.path(path)
		assert.True(t, op["summary"] != nil || item["summary"] != nil, "%s %s has no summary", verb, path)
		for _, response := range op["responses"].(object) {
			assert.NotEmpty(t, d.resolve(t, response)["description"], "%s %s", verb, path)
		}

		parameters, _ := item["parameters"].([]any)
		var names []string
		for _, p := range parameters {
			p := d.resolve(t, p)
			assert.Equal(t, "path", p["in"])
			assert.Equal(t, true, p["required"])
			names = append(names, "{"+p["name"].(string)+"}")
		}
		var segments []string
		for segment := range strings.SplitSeq(path, "/") {
			if strings.HasPrefix(segment, "{") {
				segments = append(segments, segment)
			}
		}
		assert.Equal(t, segments, names, path)
	})
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	want := slices.Clone(ofStreams)
	for _, r := range new(Server).apiRoutes() {
		want = append(want, upstreamPath(r.path))
	}
	assert.ElementsMatch(t, want, slices.Collect(maps.Keys(readOpenAPI(t).root["paths"].(object))))
}

// filled is a path with a value for each parameter.
func filled(path string) string {
	if slices.Contains(ofStreams, path) {
		path = strings.Replace(path, "{id}", "foo", 1)
	}
	return strings.NewReplacer("{id}", "a", "{type}", "cache", "{path}", "post", "{call}", callID, "{class}", "input", "{name}", "generate").Replace(path)
}

// needed is what an operation does not succeed without.
var needed = map[string]struct{ query, body string }{
	"POST /streams/{id}/rollback": {query: "?revision=1"},
	"PUT /streams/{id}/log-level": {body: "debug"},
}

func needs(operation string) (query, body string) {
	n := needed[operation]
	if n.body == "" {
		n.body = "{}"
	}
	return n.query, n.body
}

// having has the stream a and the resource cache/a.
func having(t *testing.T, streams *recorder) {
	t.Helper()
	doc, err := document.Parse([]byte("{x: 1}"))
	require.NoError(t, err)
	require.NoError(t, streams.Create(t.Context(), "a", doc, supervisor.Change{}))
	require.NoError(t, streams.PutResource(t.Context(), "cache", "a", doc, supervisor.Change{}))
	streams.setCall(callOf(calls.Done))
}

func TestOpenAPIHasEveryMethod(t *testing.T) {
	d := readOpenAPI(t)
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	// There will be no events to wait for.
	streams.hub.Close()
	addr := serve(t, testConfig(), streams)
	for path := range d.root["paths"].(object) {
		for _, verb := range verbs {
			t.Run(verb+" "+path, func(t *testing.T) {
				having(t, streams)
				query, body := needs(verb + " " + path)
				got := call(t, addr, verb, filled(path)+query, body)
				served := d.operation(path, verb) != nil || d.path(path)["x-any-method"] == true
				switch {
				case slices.Contains(ofStreams, path):
					assert.Equal(t, http.StatusTeapot, got.StatusCode)
				case served:
					assert.Equal(t, http.StatusOK, got.StatusCode, got.text)
				default:
					assert.Equal(t, http.StatusBadRequest, got.StatusCode)
					if verb != http.MethodHead {
						assert.Regexp(t, "^Error: (verb|method) not supported", got.text)
					}
				}
			})
		}
	}
}

// attempt is a request that is to be answered in another way than 200.
type attempt struct {
	err     error
	faults  []supervisor.Fault
	body    string
	query   string
	noToken bool
	// call is what the asynchronous call is, instead of done.
	call calls.Status
}

// attempts are what can go wrong, by operation.
func attempts() map[string][]attempt {
	var (
		broken   = attempt{err: errors.New("no runner starts")}
		closed   = attempt{err: supervisor.ErrClosed}
		missing  = attempt{err: supervisor.ErrNotFound}
		unknown  = attempt{err: fmt.Errorf("input %q: %w", "kafak", supervisor.ErrNoComponent)}
		full     = attempt{err: fmt.Errorf("creating: %w", supervisor.ErrFull)}
		conflict = attempt{err: failures(map[string]error{"a": supervisor.ErrConflict})}
		deleted  = attempt{err: failures(map[string]error{"a": supervisor.ErrNotFound})}
		lint     = attempt{err: &supervisor.LintError{Lints: []string{"(1,1) x"}}}
		config   = []attempt{
			{err: supervisor.ErrInvalid},
			lint,
			{body: "a: ["},
			{body: configOf(2000)},
			broken,
			closed,
			full,
		}
	)
	with := func(more ...attempt) []attempt { return append(slices.Clone(config), more...) }
	return map[string][]attempt{
		"GET /ping": nil, "GET /version": nil, "GET /endpoints": nil, "GET /streams": nil, "GET /resources": nil,
		"GET /events": nil, "GET /metrics": nil,
		"GET /components": {unknown, closed, broken}, "GET /components/schema": {unknown, closed, broken}, "GET /components/{class}/{name}": {unknown, closed, broken},
		"GET /ready":                    {{faults: []supervisor.Fault{{ID: "a", Reason: "why"}, {ID: "b", Reason: "why not"}}}},
		"POST /streams":                 with(deleted, conflict),
		"POST /streams/{id}":            with(missing, attempt{err: supervisor.ErrExists}),
		"GET /streams/{id}":             {missing},
		"PUT /streams/{id}":             with(missing),
		"PATCH /streams/{id}":           with(missing),
		"DELETE /streams/{id}":          {missing, closed, full},
		"GET /streams/{id}/stats":       {missing, broken, {err: supervisor.ErrUnavailable}, {query: "?format=x"}},
		"GET /streams/{id}/status":      {missing},
		"POST /streams/{id}/pause":      {missing, closed, full},
		"POST /streams/{id}/resume":     {missing, closed, full, broken, {err: supervisor.ErrInvalid}, lint},
		"POST /streams/{id}/restart":    {missing, closed, full, broken, {err: supervisor.ErrInvalid}, lint, {err: supervisor.ErrPaused}},
		"GET /streams/{id}/revisions":   {missing, broken},
		"POST /streams/{id}/rollback":   {missing, closed, full, broken, lint, {query: "?revision=x"}, {query: "?revision=9"}},
		"GET /streams/{id}/events":      {missing},
		"GET /calls":                    {{query: "?state=x"}},
		"GET /calls/{call}":             {{call: calls.Queued}, {err: supervisor.ErrNoCall}, {query: "?wait=x"}},
		"GET /calls/{call}/result":      {{call: calls.Running}, {call: calls.Failed}, {err: supervisor.ErrNoCall}, {query: "?wait=-1s"}, {err: supervisor.ErrCallsClosed}},
		"DELETE /calls/{call}":          {{err: supervisor.ErrNoCall}, {err: supervisor.ErrCallsClosed}, full},
		"GET /streams/{id}/logs":        {missing, broken, {query: "?tail=x"}, {query: "?format=ndjson"}},
		"PUT /streams/{id}/log-level":   {missing, closed, full, {body: "loud"}, {body: strings.Repeat(" ", 2000)}},
		"POST /resources/{type}/{id}":   with(deleted, conflict, attempt{err: supervisor.ErrResourceType}),
		"GET /resources/{type}/{id}":    {missing},
		"DELETE /resources/{type}/{id}": {missing, closed, full, {err: &supervisor.InUseError{Streams: []string{"a"}}}},
	}
}

// Every answer that an operation can give is documented, and none else.
func TestOpenAPIHasEveryAnswer(t *testing.T) {
	d := readOpenAPI(t)
	cfg := testConfig()
	cfg.MaxBodyBytes = 1000
	cfg.Auth.TokenFile = tokenFile(t, "s3cret")
	streams := newRecorder()
	streams.hub.Close()
	addr := serve(t, cfg, streams)
	tried := attempts()
	d.each(func(path, verb string, op object) {
		if slices.Contains(ofStreams, path) {
			return
		}
		name := verb + " " + path
		t.Run(name, func(t *testing.T) {
			require.Contains(t, tried, name)
			all := append([]attempt{{}}, tried[name]...)
			if path != "/ping" {
				all = append(all, attempt{noToken: true})
			}
			documented := op["responses"].(object)
			given := map[string]bool{}
			for _, a := range all {
				streams.failWith(nil)
				having(t, streams)
				if a.call != "" {
					streams.setCall(callOf(a.call))
				}
				streams.failWith(a.err)
				streams.mu.Lock()
				streams.faults = a.faults
				streams.mu.Unlock()
				query, body := needs(name)
				if a.query != "" {
					query = a.query
				}
				if a.body != "" {
					body = a.body
				}
				headers := []string{"Authorization: Bearer s3cret"}
				if a.noToken {
					headers = nil
				}
				got := call(t, addr, verb, filled(path)+query, body, headers...)
				streams.failWith(nil)

				status := strconv.Itoa(got.StatusCode)
				given[status] = true
				if !assert.Contains(t, documented, status, "%+v: %s", a, got.text) {
					continue
				}
				response := d.resolve(t, documented[status])
				content, _ := response["content"].(object)
				if content == nil {
					assert.Empty(t, got.text)
					continue
				}
				kind, _, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
				require.NoError(t, err)
				assert.Contains(t, content, kind, "%+v: %s", a, got.text)
				if got.StatusCode != http.StatusOK && kind == "text/plain" {
					assert.Equal(t, 1, strings.Count(got.text, "\n"), got.text)
				}
				if schema := d.resolve(t, content[kind].(object)["schema"]); kind == "application/json" && schema["type"] == "object" {
					assertHas(t, got.text, schema["required"])
				}
			}
			assert.ElementsMatch(t, slices.Collect(maps.Keys(documented)), slices.Collect(maps.Keys(given)))
		})
	})
}

// assertHas says that a JSON object has the keys.
func assertHas(t *testing.T, text string, keys any) {
	t.Helper()
	var got object
	require.NoError(t, yaml.Unmarshal([]byte(text), &got), text)
	names, _ := keys.([]any)
	for _, name := range names {
		assert.Contains(t, got, name)
	}
}

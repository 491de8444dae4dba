package catalogue

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"penstock/rpc"
)

// origin is where the schemas are served from, in these tests.
const origin = "http://localhost"

// libraryOf is what the real core runner says, and one that has more.
func libraryOf(t *testing.T, runner string) *Library {
	t.Helper()
	p := newPlace(t)
	p.cfg.Core = coreBinary
	old := component(rpc.TypeOutput, "pipe", rpc.Field{Name: "to", Type: "string", Kind: "scalar", Description: "Where <to>."})
	old.Status = "deprecated"
	p.cfg.Others = map[string]string{"more": filepath.Join(p.dir, "more")}
	script(t, p.cfg.Others["more"], says(t, p.dir, with(component(rpc.TypeInput, "queue",
		rpc.Field{Name: "grid", Type: "int", Kind: "2darray", Default: json.RawMessage("[]"), Examples: []any{[]any{1.0}}},
		rpc.Field{Name: "key", Type: "string", Kind: "map", Secret: true},
		rpc.Field{Name: "gone", Type: "bool", Kind: "scalar", Deprecated: true},
		rpc.Field{Name: "mode", Type: "string", Kind: "scalar", Options: []string{"a"}, AnnotatedOptions: [][2]string{{"b", "means b"}}},
		rpc.Field{Name: "share", Type: "float", Kind: "scalar", Optional: true},
		rpc.Field{Name: "any", Type: "unknown", Kind: "scalar", Optional: true},
	), old)))
	l, err := p.begin(t).Library(t.Context(), runner)
	require.NoError(t, err)
	return l
}

// plain is a schema as it goes over the wire.
func plain(t *testing.T, s Schema) map[string]any {
	t.Helper()
	text, err := json.Marshal(s)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

// compile makes the schema a validator, and so checks it against draft 2020-12. It
// finds that of a whole config under its address.
func compile(t *testing.T, l *Library, s Schema) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	require.NoError(t, c.AddResource(origin+l.query(wholePath), plain(t, l.Whole())))
	id := origin + s["$id"].(string)
	if s["$id"] != l.query(wholePath) {
		require.NoError(t, c.AddResource(id, plain(t, s)))
	}
	out, err := c.Compile(id)
	require.NoError(t, err)
	return out
}

func TestSchemaOfWholeConfigs(t *testing.T) {
	l := libraryOf(t, "")
	whole := compile(t, l, l.Whole())
	examples, err := filepath.Glob("../../configs/examples/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, path := range examples {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if strings.Contains(path, "templated") {
			continue // The schema knows no templates.
		}
		assert.NoError(t, whole.Validate(values(t, string(text))), path)
	}
	for config, place := range map[string]string{
		"input: {genrate: {}}":                                "/input",
		"imput: {stdin: {}}":                                  "",
		"input: {generate: {mapping: a, count: many}}":        "/input/generate/count",
		"input: {generate: {mapping: a, counts: 5}}":          "/input/generate",
		"input: {generate: {interval: 1s}}":                   "/input/generate",
		"input: {type: quue}":                                 "/input/type",
		"output: {switch: {cases: [{output: {dorp: {}}}]}}":   "/output/switch/cases/0/output",
		"pipeline: {processors: [{try: [{mapping: {}}]}]}":    "/pipeline/processors/0/try/0/mapping",
		"pipeline: {processors: {mapping: a}}":                "/pipeline/processors",
		"input: {queue: {mode: c, key: {a: b}}}":              "/input/queue/mode",
		"input: {queue: {mode: a, key: {a: b}, grid: [1]}}":   "/input/queue/grid/0",
		"pipeline: {threads: two}":                            "/pipeline/threads",
		"input: {stdin: {}, processors: [{type: mappping}]}":  "/input/processors/0/type",
		"input: {http_client: {url: a, tls: {enabled: [1]}}}": "/input/http_client/tls/enabled",
	} {
		err := whole.Validate(values(t, config))
		var invalid *jsonschema.ValidationError
		if assert.ErrorAs(t, err, &invalid, config) {
			places := deepest(invalid)
			assert.Contains(t, places, place, config)
		}
	}
	for _, config := range []string{
		"input: {generate: {mapping: a, count: '${COUNT:5}', interval: '@every 1s', batch_size: '7'}}\noutput: {drop: {}}",
		"input: {type: queue, label: a, queue: {mode: '${MODE}', key: {a: b}, grid: [[1, 2], []], gone: true, share: 0.5, any: {x: [1]}}}",
		"pipeline: {threads: 4, processors: [{try: [{mapping: 'root = this'}, {switch: [{check: '', processors: [{noop: {}}]}]}]}]}",
		"output: {label: x, broker: {pattern: fan_out, outputs: [{drop: {}, processors: [{type: noop}]}]}}",
		"runtime: {replicas: 3}\nbuffer: {memory: {}}",
		// Neither lists and maps nor what is deprecated have to be there.
		"input: {queue: {mode: a}}",
	} {
		assert.NoError(t, whole.Validate(values(t, config)), config)
	}
}

// deepest are the places that a failed validation is about.
func deepest(e *jsonschema.ValidationError) (out []string) {
	if len(e.Causes) == 0 {
		place := ""
		for _, part := range e.InstanceLocation {
			place += "/" + part
		}
		return []string{place}
	}
	for _, cause := range e.Causes {
		out = append(out, deepest(cause)...)
	}
	return out
}

func TestSchemaOfEveryComponent(t *testing.T) {
	for _, runner := range []string{"", "core"} {
		l := libraryOf(t, runner)
		list, err := l.List("")
		require.NoError(t, err)
		want := len(coreSays.Components)
		if runner == "" {
			want += 2
		}
		require.Len(t, list, want)
		// One compiler for all, since the definitions are the same.
		c := jsonschema.NewCompiler()
		require.NoError(t, c.AddResource(origin+l.query(wholePath), plain(t, l.Whole())))
		for _, e := range list {
			s, err := l.Component(string(e.Class), e.Name)
			require.NoError(t, err)
			id := origin + s["$id"].(string)
			require.NoError(t, c.AddResource(id, plain(t, s)))
			_, err = c.Compile(id)
			require.NoError(t, err, "%s %s", e.Class, e.Name)
		}
	}
}

func TestSchemaOfAComponent(t *testing.T) {
	l := libraryOf(t, "")
	s, err := l.Component("input", "queue")
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "/components/input/queue",
		"title": "input queue", "class": "input", "name": "queue", "status": "stable", "summary": "", "runners": ["more"],
		"type": "object", "additionalProperties": false, "required": ["mode"],
		"properties": {
			"grid": {"type": "array", "items": {"type": "array", "items": {"type": ["integer", "string"], "pattern": "^-?[0-9]+$|\\$\\{"}}, "default": [], "examples": [[1]]},
			"key": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}, "writeOnly": true},
			"gone": {"type": ["boolean", "string"], "pattern": "^(true|false)$|\\$\\{", "deprecated": true},
			"mode": {"anyOf": [{"enum": ["a", "b"]}, {"type": "string", "pattern": "\\$\\{"}]},
			"share": {"type": ["number", "string"], "pattern": "^-?[0-9]*\\.?[0-9]+([eE][-+]?[0-9]+)?$|\\$\\{"},
			"any": {}
		}
	}`, text(t, s))

	s, err = l.Component("output", "pipe")
	require.NoError(t, err)
	assert.Equal(t, true, s["deprecated"])
	assert.Equal(t, "Where <to>.", s["properties"].(Schema)["to"].(Schema)["description"])

	// A real one, with other components in it.
	s, err = l.Component("input", "broker")
	require.NoError(t, err)
	assert.Equal(t, []string{"core", "more"}, s["runners"])
	got := plain(t, s)
	inputs := got["properties"].(map[string]any)["inputs"].(map[string]any)
	assert.Equal(t, map[string]any{"$ref": "/components/schema#/$defs/input"}, inputs["items"])
	assert.Equal(t, "array", inputs["type"])
	assert.Contains(t, got["description"], got["summary"])
	assert.NotEmpty(t, got["categories"])
	broker := compile(t, l, s)
	assert.NoError(t, broker.Validate(values(t, "inputs: [{queue: {mode: a, key: {}}}, {stdin: {}}]")))
	assert.Error(t, broker.Validate(values(t, "inputs: [{queue: {mode: x, key: {}}}]")))

	s, err = l.Component("processor", "mapping")
	require.NoError(t, err)
	assert.NotEmpty(t, s["usage"])
	s, err = libraryOf(t, "core").Component("input", "broker")
	require.NoError(t, err)
	assert.Equal(t, "/components/input/broker?runner=core", s["$id"])
	assert.Contains(t, text(t, s), `"/components/schema?runner=core#/$defs/input"`)
}

func text(t *testing.T, s Schema) string {
	t.Helper()
	out, err := json.Marshal(s)
	require.NoError(t, err)
	return string(out)
}

func TestWhatThereIsNot(t *testing.T) {
	l := libraryOf(t, "")
	for of, want := range map[[2]string]string{
		{"input", "quue"}:           `input "quue": not found: did you mean queue?`,
		{"input", "Generate"}:       `input "Generate": not found: did you mean generate?`,
		{"processor", "bloblangs"}:  `processor "bloblangs": not found: did you mean bloblang?`,
		{"processor", "http_clien"}: `processor "http_clien": not found: did you mean http?`,
		{"output", "generate"}:      `output "generate": not found: did you mean the input generate?`,
		{"output", "http"}:          `output "http": not found: did you mean http_client or http_server or the processor http?`,
		{"input", "kafka_franz"}:    `input "kafka_franz": not found: the runner messaging has it, and ` + "`make build-messaging` builds that",
		{"input", "zzzzzzzz"}:       `input "zzzzzzzz": not found: GET /components?class=input lists what there is`,
		{"inputs", "generate"}:      `class of components "inputs": not found: did you mean input?`,
		{"xyz", "generate"}:         `class of components "xyz": not found: there are buffer, cache, input, metrics, output, processor, rate_limit, scanner, tracer`,
	} {
		_, err := l.Component(of[0], of[1])
		assert.ErrorIs(t, err, ErrNoComponent, of)
		assert.EqualError(t, err, want)
	}
	_, err := l.List("procesor")
	assert.EqualError(t, err, `class of components "procesor": not found: did you mean processor?`)
	list, err := l.List("buffer")
	require.NoError(t, err)
	assert.NotEmpty(t, list)
	for _, e := range list {
		assert.Equal(t, rpc.TypeBuffer, e.Class)
	}

	i := New(Config{Core: coreBinary, CacheDir: t.TempDir()}, zap.NewNop())
	_, err = i.Library(t.Context(), "more")
	assert.ErrorIs(t, err, ErrNoComponent)
	assert.EqualError(t, err, `runner "more": not found: installed are core`)
	i.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	i = New(Config{Core: coreBinary, CacheDir: t.TempDir()}, zap.NewNop())
	defer i.Close()
	_, err = i.Library(ended, "")
	assert.ErrorIs(t, err, context.Canceled)
}

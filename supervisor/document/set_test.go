package document_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/document"
)

func TestParseSet(t *testing.T) {
	set, err := document.ParseSet([]byte(`# two streams
one:
  input: &in
    generate: {mapping: 'root = "${A}"', count: ${N:3}}
  output: {drop: {}}
two:
  input: *in
  output:
    <<: &out {label: x}
    drop: {}
three:
  input: {<<: *out, inproc: "y"}
four:
`))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"one", "two", "three", "four"}, slices.Collect(maps.Keys(set)))

	assert.Equal(t, `input:
  generate: {mapping: 'root = "${A}"', count: ${N:3}}
output:
  drop: {}
`, string(set["one"].Text()))
	assert.Equal(t, `{"input":{"generate":{"count":"${N:3}","mapping":"root = \"${A}\""}},"output":{"drop":{},"label":"x"}}`, asJSON(t, set["two"]))
	assert.Equal(t, `{"input":{"inproc":"y","label":"x"}}`, asJSON(t, set["three"]))
	assert.Nil(t, set["four"].Value())
	assert.Nil(t, set["one"].Source())

	for id, d := range set {
		again := parse(t, string(d.Text()))
		assert.Equal(t, string(d.Text()), string(again.Text()), "%s stands alone", id)
		assert.True(t, again.Equal(d), id)
	}

	// Positions are those of the whole body.
	for _, c := range []struct {
		id                         string
		line, column, wantL, wantC int
	}{
		{"one", 1, 1, 3, 1}, {"one", 1, 2, 3, 3}, {"one", 2, 1, 4, 1}, {"one", 2, 3, 4, 5}, {"one", 3, 1, 5, 1},
		{"two", 1, 1, 7, 1}, {"two", 2, 1, 4, 1}, {"two", 4, 3, 9, 15}, {"two", 5, 3, 10, 5},
	} {
		line, column := set[c.id].Position(c.line, c.column)
		assert.Equal(t, []int{c.wantL, c.wantC}, []int{line, column}, "%s %d,%d", c.id, c.line, c.column)
	}
}

// Lints are reported by line: a member that was one line of JSON must not
// become one line, or every lint would point to its start.
func TestParseSetOfJSON(t *testing.T) {
	set, err := document.ParseSet([]byte("{\"foo\":{\n\"input\":{\"a\":1,\n\"b\":[1,{\"c\":\"http:\\/\\/x\"}]},\n\"output\":{}},\"bar\":{}}"))
	require.NoError(t, err)
	foo := set["foo"]
	assert.Equal(t, "\"input\":\n  \"a\": 1\n  \"b\":\n    - 1\n    - \"c\": \"http://x\"\n\"output\": {}\n", string(foo.Text()))
	for line, want := range map[int]int{1: 2, 2: 2, 3: 3, 4: 3, 5: 3, 6: 4} {
		posted, _ := foo.Position(line, 1)
		assert.Equal(t, want, posted, "line %d", line)
	}
	assert.Equal(t, "{}", asJSON(t, set["bar"]))
}

func TestParseSetEdges(t *testing.T) {
	for _, text := range []string{"", "{}", "# nothing", "---\n", "null"} {
		set, err := document.ParseSet([]byte(text))
		require.NoError(t, err, text)
		assert.Empty(t, set, text)
		assert.NotNil(t, set, text)
	}
	set, err := document.ParseSet([]byte("# BENTHOS LINT DISABLE\na: {b: 1}\n1: {}\n${X}: {}"))
	require.NoError(t, err)
	require.Contains(t, set, "1")
	require.Contains(t, set, "${X}")
	assert.True(t, set["a"].LintDisabled())
	assert.Equal(t, "# BENTHOS LINT DISABLE\nb: 1\n", string(set["a"].Text()))
	line, column := set["a"].Position(2, 1)
	assert.Equal(t, []int{2, 1}, []int{line, column})

	for text, want := range map[string]string{
		"[a]":                     "line 1, column 1: a set must be a mapping of ids to configs",
		"a":                       "line 1, column 1: a set must be a mapping of ids to configs",
		"foo: {}\nbar: 1\nfoo: 2": `line 3, column 1: mapping key "foo" already defined at line 1: remove one`,
		"a: {b: c: d}":            "yaml: did not find expected ',' or '}'",
	} {
		_, err := document.ParseSet([]byte(text))
		var e *document.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, want, err.Error())
	}
}

func TestParseResources(t *testing.T) {
	resources, err := document.ParseResources([]byte(`
cache_resources:
  - label: mem
    memory: &m {compaction_interval: 1s}
  - {label: other, memory: {<<: *m, x: "${Y}"}}
input_resources: []
output_resources:
processor_resources:
  - label: proc
    mapping: |
      root = 1
rate_limit_resources:
  - label: limit
    local: {count: 1}
tests: [{anything: goes}]
`))
	require.NoError(t, err)
	require.Len(t, resources, 4)
	for i, want := range []struct{ typ, id, value string }{
		{"cache", "mem", `{"label":"mem","memory":{"compaction_interval":"1s"}}`},
		{"cache", "other", `{"label":"other","memory":{"compaction_interval":"1s","x":"${Y}"}}`},
		{"processor", "proc", `{"label":"proc","mapping":"root = 1\n"}`},
		{"rate_limit", "limit", `{"label":"limit","local":{"count":1}}`},
	} {
		r := resources[i]
		assert.Equal(t, want.typ, r.Type)
		assert.Equal(t, want.id, r.ID)
		assert.Equal(t, want.value, asJSON(t, r.Doc))
	}
	line, _ := resources[2].Doc.Position(3, 1)
	assert.Equal(t, 11, line, "a line of the mapping")

	for _, text := range []string{"", "# none", "null"} {
		resources, err := document.ParseResources([]byte(text))
		require.NoError(t, err)
		assert.Empty(t, resources)
	}
}

func TestParseResourcesErrors(t *testing.T) {
	const keys = "use cache_resources, input_resources, output_resources, processor_resources or rate_limit_resources"
	for text, want := range map[string]string{
		"a: 1\n":                                 `line 1, column 1: unknown key "a": ` + keys,
		"tests: []\nresources: []":               `line 2, column 1: unknown key "resources": ` + keys,
		"buffer_resources: []":                   `line 1, column 1: unknown key "buffer_resources": ` + keys,
		"_resources: []":                         `line 1, column 1: unknown key "_resources": ` + keys,
		"[]":                                     "line 1, column 1: a resource file must be a mapping with " + keys[len("use "):],
		"cache_resources:\n  label: x":           "line 2, column 3: cache_resources must be a list of resources",
		"cache_resources:\n  - x":                "line 2, column 5: each cache resource must be a mapping with a label",
		"cache_resources:\n  - memory: {}":       "line 2, column 5: the cache resource has no label: add one",
		"cache_resources:\n  - label: 5":         "line 2, column 12: the label of the cache resource must be a string that is not empty",
		"cache_resources:\n  - label: ''":        "line 2, column 12: the label of the cache resource must be a string that is not empty",
		"cache_resources:\n  - label: [a]":       "line 2, column 12: the label of the cache resource must be a string that is not empty",
		"cache_resources:\n  - label:\n    m: 1": "line 2, column 11: the label of the cache resource must be a string that is not empty",
		"cache_resources: [{label: a}, {label: b}]\ninput_resources:\n - label: a": `line 3, column 11: label "a" already used at line 1: choose another`,
	} {
		_, err := document.ParseResources([]byte(text))
		var e *document.Error
		require.ErrorAs(t, err, &e, text)
		assert.Equal(t, want, err.Error())
	}
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ name, base, patch, want string }{
		{"mappings merge", "a: {b: 1, c: {d: 2}}\ne: 3", "a: {c: {f: 4}}\ng: 5", `{"a":{"b":1,"c":{"d":2,"f":4}},"e":3,"g":5}`},
		{"lists replace", "a: [1, 2]", "a: [3]", `{"a":[3]}`},
		{"a word replaces a mapping", "a: {b: 1}", "a: x", `{"a":"x"}`},
		{"a mapping replaces a word", "a: x", "a: {b: 1}", `{"a":{"b":1}}`},
		{"null replaces", "a: {b: 1}\nc: 2", "a: null", `{"a":null,"c":2}`},
		{"nothing", "a: 1", "", `{"a":1}`},
		{"null", "a: 1", "null", `{"a":1}`},
		{"onto nothing", "", "a: {b: 1}", `{"a":{"b":1}}`},
		{"json onto yaml", "a:\n  b: 1 # c\n", `{"a":{"c":[{"d":"\/"}]}}`, `{"a":{"b":1,"c":[{"d":"/"}]}}`},
		{"aliases of each", "a: &x {b: 1}\nc: *x\n", "c: &x {d: 2}\ne: {<<: *x}\n", `{"a":{"b":1},"c":{"b":1,"d":2},"e":{"d":2}}`},
		{"expressions", "a: ${A}\n${K}: {b: 1}\n", "c: [\"${C}\", \ue000]\n${K}: {d: \"${A}\"}\n", "{\"${K}\":{\"b\":1,\"d\":\"${A}\"},\"a\":\"${A}\",\"c\":[\"${C}\",\"\ue000\"]}"},
		{"keys by their text", "1: {a: b}", `{"1":{"c":"d"}}`, `{"1":{"a":"b","c":"d"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, patch := parse(t, c.base), parse(t, c.patch)
			merged, err := base.Merge(patch)
			require.NoError(t, err)
			assert.Equal(t, c.want, asJSON(t, merged))
			assert.True(t, parse(t, string(merged.Text())).Equal(merged))

			assert.True(t, base.Equal(parse(t, c.base)), "the base is as it was")
			assert.True(t, patch.Equal(parse(t, c.patch)), "the patch is as it was")
		})
	}
}

func TestMergeKeepsWhatItCan(t *testing.T) {
	base := parse(t, "# BENTHOS LINT DISABLE\na: ${A}\nb: |\n  x\n  ${B}\nc: '1'\n")
	merged, err := base.Merge(parse(t, "d: [${D}]\nc: \"${C}\""))
	require.NoError(t, err)
	assert.Equal(t, "# BENTHOS LINT DISABLE\na: ${A}\nb: |\n  x\n  ${B}\nc: \"${C}\"\nd: [${D}]\n", string(merged.Text()))
	assert.True(t, merged.LintDisabled())
	assert.Nil(t, merged.Source())
	line, column := merged.Position(4, 3)
	assert.Equal(t, []int{4, 3}, []int{line, column})
}

func TestMergeErrors(t *testing.T) {
	_, err := parse(t, "a: 1").Merge(parse(t, "\n- b"))
	assert.EqualError(t, err, "line 2, column 1: a patch must be a mapping of the fields to change")

	many := "x: [" + odd("a,")[:110_000] + "]\n"
	_, err = parse(t, many).Merge(parse(t, "y: ["+odd("b,")[:110_000]+"]"))
	assert.ErrorContains(t, err, "more than 100000 nodes")
}

func TestWith(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"memory: {}\n", "memory: {}\nlabel: foo\n"},
		{"label: bar # b\nmemory: ${M}\n", "label: foo\nmemory: ${M}\n"},
		{"label: foo\nmemory:   {a: 1} # as it is\n", "label: foo\nmemory:   {a: 1} # as it is\n"},
		{"{\"memory\": {\"a\": [1]}}", "\"memory\":\n  \"a\":\n    - 1\nlabel: foo\n"},
		{"", "label: foo\n"},
		{"label: null", "label: foo\n"},
		{"label: [x]", "label: foo\n"},
		{"# BENTHOS LINT DISABLE\na: 1\n", "# BENTHOS LINT DISABLE\na: 1\nlabel: foo\n"},
	} {
		d, err := parse(t, c.text).With("label", "foo")
		require.NoError(t, err)
		assert.Equal(t, c.want, string(d.Text()))
	}

	for _, value := range []string{"", "123", "null", "true", "a: b", "- x", "${V}", "x ${V:} y", "l1\nl2\n", " x ", "\x00\u2028é\ue000", "<<", "*x", "2001-01-01"} {
		d, err := parse(t, "a: ${A}").With("k", value)
		require.NoError(t, err, value)
		assert.Equal(t, map[string]any{"a": "${A}", "k": value}, d.Value())
	}

	_, err := parse(t, "[a]").With("label", "x")
	assert.EqualError(t, err, "line 1, column 1: the config must be a mapping: label cannot be set in it")
}

// What With made still leads to the posted text, through one alias expansion
// and through two calls.
func TestPositionAfterWith(t *testing.T) {
	d := parse(t, "x: &c {a: 1,\n  b: 2}\ny:\n\n  <<: *c\n")
	once, err := d.With("label", "foo")
	require.NoError(t, err)
	twice, err := once.With("type", "bar")
	require.NoError(t, err)
	require.Equal(t, "x:\n  a: 1\n  b: 2\ny:\n  a: 1\n  b: 2\nlabel: foo\ntype: bar\n", string(twice.Text()))
	for line, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 3, 5: 1, 6: 2, 7: 7} {
		posted, _ := twice.Position(line, 3)
		assert.Equal(t, want, posted, "line %d", line)
	}
}

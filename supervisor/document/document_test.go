package document_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/document"
)

func parse(t *testing.T, text string) *document.Document {
	t.Helper()
	d, err := document.Parse([]byte(text))
	require.NoError(t, err, text)
	return d
}

func asJSON(t *testing.T, d *document.Document) string {
	t.Helper()
	return encoded(t, d.Value())
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(value))
	return strings.TrimSuffix(out.String(), "\n")
}

func TestValue(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "null"},
		{"comment only", "# nothing\n", "null"},
		{"null document", "---\n", "null"},
		{"mapping", "a: 1\nb: [x, 2.5, true, null, ~]\n", `{"a":1,"b":["x",2.5,true,null,null]}`},
		{"json", "{\n\t\"a\":{\"b\":[1,-2,3e2]},\n\t\"c\":\"d\\n\\u00e9\"\n}", `{"a":{"b":[1,-2,300]},"c":"d\né"}`},
		{"json escapes", `{"url":"http:\/\/x\/","smile":"\ud83d\ude00","not":"\\\/\\ud83d\\ude00"}`,
			`{"not":"\\/\\ud83d\\ude00","smile":"😀","url":"http://x/"}`},
		{"bom", "\ufeffa: 1", `{"a":1}`},
		{"windows lines", "a:\r\n  - b\r\n", `{"a":["b"]}`},
		{"integers", "[0x1F, 0o17, 1_000, -5, 18446744073709551615, 9223372036854775807]",
			`[31,15,1000,-5,18446744073709551615,9223372036854775807]`},
		{"too big for an integer", "[18446744073709551616]", `[18446744073709552000]`},
		{"not for JSON", "[.nan, .inf, -.inf, 2001-02-03, !!binary aGk=, !mine x, !!int x, !!float 3]",
			`[".nan",".inf","-.inf","2001-02-03","aGk=","x","x",3]`},
		{"keys that are not strings", "1: a\ntrue: b\n~: c\n2.50: d\n", `{"1":"a","2.50":"d","true":"b","~":"c"}`},
		{"empty key", "{? : a}", `{"":"a"}`},
		{"strings", "a: 'it''s'\nb: \"x\\ty\"\nc: |\n  l1\n   l2\nd: >-\n  f1\n  f2\ne: plain text\n  goes on\n",
			`{"a":"it's","b":"x\ty","c":"l1\n l2\n","d":"f1 f2","e":"plain text goes on"}`},
		{"alias", "a: &x {b: [1]}\nc: *x\n", `{"a":{"b":[1]},"c":{"b":[1]}}`},
		{"alias as key", "a: &k name\n*k : v\n", `{"a":"name","name":"v"}`},
		{"merge key", "a: &x {p: 1, q: 2}\nb:\n  q: own\n  <<: *x\n", `{"a":{"p":1,"q":2},"b":{"p":1,"q":"own"}}`},
		{"merge list, the first wins", "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y], r: 3}\n",
			`{"a":{"p":1},"b":{"p":2,"q":2},"c":{"p":1,"q":2,"r":3}}`},
		{"merge of a merged", "a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc:\n  <<: *y\n  d:\n    <<: *x\n",
			`{"a":{"p":1},"b":{"p":1,"q":2},"c":{"d":{"p":1},"p":1,"q":2}}`},
		{"merge of a mapping in place", "a: {<<: {b: 1}, c: 2}", `{"a":{"b":1,"c":2}}`},
		{"quoted merge key is a key", "a: {\"<<\": {b: 1}}", `{"a":{"<<":{"b":1}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, c.text)
			assert.Equal(t, c.want, asJSON(t, d))
			again := parse(t, string(d.Text()))
			assert.True(t, again.Equal(d), "%s", d.Text())
			assert.Equal(t, d.Text(), again.Text(), "the engine's text has nothing left to expand")
		})
	}
}

func TestValueTypes(t *testing.T) {
	d := parse(t, "{i: 1, u: 18446744073709551615, f: 1.0, b: true, s: x, n: null, l: [], m: {}}")
	assert.Equal(t, map[string]any{
		"i": int64(1), "u": uint64(18446744073709551615), "f": 1.0, "b": true, "s": "x", "n": nil,
		"l": []any{}, "m": map[string]any{},
	}, d.Value())
}

func TestTextIsThePostedTextWithoutAliases(t *testing.T) {
	for _, text := range []string{
		"", "{}", "# c\na:   1 # d\n\n\n", "a: &unused x\n", "a: ${X}\nb: '*x'\nc: \"<<\"\n", "a: [${HOSTS}]", "{\"a\":\"http://x\"}",
	} {
		posted := []byte(text)
		d, err := document.Parse(posted)
		require.NoError(t, err)
		for i := range posted {
			posted[i] = '!' // the caller's buffer is the caller's
		}
		assert.Equal(t, text, string(d.Text()))
		assert.Equal(t, text, string(d.Source()))
		line, column := d.Position(3, 7)
		assert.Equal(t, []int{3, 7}, []int{line, column})
	}
}

func TestTextWithAliasesIsExpanded(t *testing.T) {
	text := "# BENTHOS LINT DISABLE\n" + `
common: &c
  codec: lines # goes
  header: 'it''s'
input:
  <<: *c
  mapping: |
    root = "${A}"
    # not a comment
  "quoted": "${PW}"
  port: ${PORT:80}
  hosts: [${HOSTS}, b]
  list: {"k": [1, 2]}
`
	d := parse(t, text)
	assert.Equal(t, `# BENTHOS LINT DISABLE
common:
  codec: lines
  header: 'it''s'
input:
  codec: lines
  header: 'it''s'
  mapping: |
    root = "${A}"
    # not a comment
  "quoted": "${PW}"
  port: ${PORT:80}
  hosts: [${HOSTS}, b]
  list:
    "k":
      - 1
      - 2
`, string(d.Text()))
	assert.Equal(t, text, string(d.Source()))
	assert.True(t, d.LintDisabled())
}

func TestLintDisabled(t *testing.T) {
	assert.True(t, parse(t, "# BENTHOS LINT DISABLE\na: 1").LintDisabled())
	assert.False(t, parse(t, "\n# BENTHOS LINT DISABLE\na: 1").LintDisabled())
	assert.False(t, parse(t, "a: &x 1\nb: *x").LintDisabled())
}

func TestExpressions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: ${X}", `{"a":"${X}"}`},
		{"a: ${X:8080}", `{"a":"${X:8080}"}`},
		{"a: ${X:a: b}", `{"a":"${X:a: b}"}`},
		{"a: ${X:\"q\"|base64decode}", `{"a":"${X:\"q\"|base64decode}"}`},
		{"a: ${X:${Y:}}", `{"a":"${X:${Y:}}"}`},
		{"a: [${X}, ${Y:1,2}, z${W}]", `{"a":["${X}","${Y:1,2}","z${W}"]}`},
		{"a: {b: ${X}}", `{"a":{"b":"${X}"}}`},
		{"a: \"${X:}\"", `{"a":"${X:}"}`},
		{"a: '${X} # ${Y}' # ${Z:", `{"a":"${X} # ${Y}"}`},
		{"a: [${{X}}, ${{Y:z}}]", `{"a":["${{X}}","${{Y:z}}"]}`},
		{"${K}: 1\np${K}s: 2", `{"${K}":1,"p${K}s":2}`},
		{"a: ${X:l1\nl2: {}\nb: ok", `{"a":"${X:l1\nl2: {}","b":"ok"}`},
		{"a: ${! json(\"x\") }", `{"a":"${! json(\"x\") }"}`},
		{"a: \"\\ue000 \ue001\" # ${X}", "{\"a\":\"\ue000 \ue001\"}"},
		{"a: \"$\\x7bX}\"", `{"a":"${X}"}`},
		{"a: ${X} ${X}\n", `{"a":"${X} ${X}"}`},
	} {
		t.Run(c.text, func(t *testing.T) {
			d := parse(t, c.text)
			assert.Equal(t, c.want, asJSON(t, d))
			assert.Equal(t, c.text, string(d.Text()))

			// The same, once it must be written out again.
			with, err := d.With("label", "foo")
			require.NoError(t, err)
			var value map[string]any
			require.NoError(t, json.Unmarshal([]byte(c.want), &value))
			value["label"] = "foo"
			assert.Equal(t, encoded(t, value), asJSON(t, with), "%s", with.Text())
		})
	}
}

// What is quoted stays quoted, and what is not does not become so: the engine
// replaces expressions textually.
func TestExpressionsKeepTheirQuoting(t *testing.T) {
	text := "a: ${A}\nb: \"${B}\"\nc: '${C:x}'\nd: |\n  ${D}\ne: [${E}]\nf:\n  - ${F}\n  - [[\"${G}\"], ${H|base64decode}]\ni: p${I}q r\n"
	d, err := parse(t, text).With("z", "1")
	require.NoError(t, err)
	assert.Equal(t, text+"z: \"1\"\n", string(d.Text()))

	d, err = parse(t, `{"a":"${A}","b":["${B}"],"c":{"d":"x"}}`).With("z", "y")
	require.NoError(t, err)
	assert.Equal(t, "\"a\": \"${A}\"\n\"b\":\n  - \"${B}\"\n\"c\":\n  \"d\": \"x\"\nz: y\n", string(d.Text()))
}

// What only looks like an expression after decoding must not become one.
func TestTextMakesNoExpressions(t *testing.T) {
	d := parse(t, "a: &x \"$\\x7bHOME}\"\nb: *x\nc: ${HOME}\n")
	assert.Equal(t, "\"a\": \"\\x24{HOME}\"\n\"b\": \"\\x24{HOME}\"\n\"c\": ${HOME}\n", string(d.Text()))
	assert.Equal(t, `{"a":"${HOME}","b":"${HOME}","c":"${HOME}"}`, asJSON(t, d))
}

// That needs the plain encoding, which must carry all that YAML has.
func TestPlainText(t *testing.T) {
	long := strings.Repeat("k", 1100)
	d := parse(t, "a: &x \"$\\x7bHOME}\"\nb: [*x, 1, 0x1F, .inf, true, null, 2001-02-03, '', {}, [], [[y], {z: !t w, v: !!int '5'}]]\n"+
		"c: !m {d: !s [e]}\nf: |\n  g\n   h\n1: \"\\0\\u2028\\\"\\\\\"\n? "+long+"\n: ${I}\nj: ${J}.x\nk: ${K} y\nl: !<tag:x,2000:y> m\n")
	text := string(d.Text())
	assert.Contains(t, text, "\"a\": \"\\x24{HOME}\"\n\"b\":\n - \"\\x24{HOME}\"\n - 1\n - 0x1F\n - .inf\n - true\n - null\n - 2001-02-03\n - \"\"\n - {}\n - []\n -\n  -\n   - \"y\"\n")
	assert.Contains(t, text, "\"v\": !!int \"5\"\n\"c\": !m\n \"d\": !s\n  - \"e\"\n")
	assert.Contains(t, text, "? \""+long+"\"\n: ${I}\n\"j\": ${J}.x\n\"k\": \"${K} y\"\n\"l\": !<tag:x,2000:y> \"m\"\n")
	again := parse(t, text)
	assert.True(t, again.Equal(d))
	value := d.Value().(map[string]any)
	assert.Equal(t, "g\n h\n", value["f"])
	assert.Equal(t, "\x00\u2028\"\\", value["1"])
	assert.Equal(t, "${I}", value[long])
}

func TestMentions(t *testing.T) {
	d := parse(t, "input:\n  resource: foo\nkeyed: {bar: 1}\nlist: [baz, 'q x', \"e\\x73c\", 7]\ntext: contains fizz here\nenv: ${V}\nd: &a deep\ne: [*a]\n")
	for name, want := range map[string]bool{
		"foo": true, "bar": false, "baz": true, "q x": true, "esc": true, "7": true, "fizz": false,
		"${V}": true, "deep": true, "fo": false, "": false, "absent": false,
	} {
		assert.Equal(t, want, d.Mentions(name), name)
	}
	assert.False(t, parse(t, "").Mentions("x"))
}

func TestEqual(t *testing.T) {
	d := parse(t, "a: 1\nb: [x, {c: 1.0}]\n")
	assert.True(t, d.Equal(parse(t, `{"b":["x",{"c":1}],"a":1}`)))
	assert.True(t, d.Equal(parse(t, "b: # c\n- 'x'\n- c: 0x1\na: 1")))
	for _, other := range []string{"", "a: 1", "a: '1'\nb: [x, {c: 1}]", "a: 1\nb: [{c: 1}, x]", "a: null\nb: [x, {c: 1}]"} {
		assert.False(t, d.Equal(parse(t, other)), other)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		line             int
	}{
		{"syntax", "a: 1\nb: 2\n  c: 3\n", "yaml: line 3: mapping values are not allowed in this context", 3},
		{"unclosed", "a: 1\nb: [1\nc: 2\n", "yaml: line 1: did not find expected ',' or ']'", 1},
		{"first line", "a: b: c", "yaml: mapping values are not allowed in this context", 0},
		{"line under a long expression", "a: ${X:\n\n\n}\nb: 2\n  c: 3\n", "yaml: line 6: mapping values are not allowed in this context", 6},
		{"tab", "a:\n\tb: 1\n", "yaml: line 2: found character that cannot start any token", 2},
		{"unknown anchor", "a: *x", "yaml: unknown anchor 'x' referenced", 0},
		{"two documents", "a: 1\n---\nb: 2\n", `line 2: the text holds more than one YAML document: send one, without a second "---"`, 2},
		{"broken second document", "a: 1\n---\nb: [\n", "yaml: line 3: did not find expected node content", 3},
		{"duplicate key", "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", `line 5, column 3: mapping key "c" already defined at line 3: remove one`, 5},
		{"duplicate quoted key", "{a: 1, \"a\": 2}", `line 1, column 8: mapping key "a" already defined at line 1: remove one`, 1},
		{"duplicate expression key", "${A}: 1\n${A}: 2", `line 2, column 1: mapping key "${A}" already defined at line 1: remove one`, 2},
		{"two merge keys", "a: &x {}\nb:\n  <<: *x\n  <<: *x\n",
			`line 4, column 3: mapping key "<<" already defined at line 3: merge several mappings with one list, <<: [*a, *b]`, 4},
		{"merge of a word", "a:\n  <<: b\n", "line 2, column 3: a merge key (<<) needs a mapping or a list of mappings", 2},
		{"merge of a word in a list", "a: &x {}\nb:\n  <<: [*x, y]\n", "line 3, column 3: a merge key (<<) needs a mapping or a list of mappings", 3},
		{"list as key", "a: 1\n[b]: 2\n", "line 2, column 1: a mapping's key is a list or a mapping itself: use a plain word", 2},
		{"alias to a list as key", "a: &x [1]\n*x : 2\n", "line 2, column 1: a mapping's key is a list or a mapping itself: use a plain word", 2},
		{"not UTF-8", "a: 1\nb: \xff", "line 2: the text is not UTF-8: convert it", 2},
		{"UTF-16", "\xff\xfea\x00:\x00", "line 1: the text is not UTF-8: convert it", 1},
		{"self alias", "a: 1\ntry: &p [*p]\n", "line 2, column 10: the alias *p contains itself: write out what it should hold", 2},
		{"self merge", "a: &p\n  b: 1\n  <<: *p\n", "line 3, column 7: the alias *p contains itself: write out what it should hold", 3},
		{"self merge list", "a: &p {<<: [*p]}", "line 1, column 13: the alias *p contains itself: write out what it should hold", 1},
		{"deep self alias", "a: &p\n - b:\n    - c: {d: *p}\n", "line 3, column 14: the alias *p contains itself: write out what it should hold", 3},
		{"control character", "a: \x01", "yaml: control characters are not allowed", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := document.Parse([]byte(c.text))
			var e *document.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.want, err.Error())
			assert.Equal(t, c.line, e.Line)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestPositionOfExpandedText(t *testing.T) {
	d := parse(t, `# BENTHOS LINT DISABLE
x: &c {codec: lines,
  extra: 1}

input:
  a: {b: 1,
      c: 2}


  <<: *c
  mapping: |
    root = 1
    bad
`)
	require.Equal(t, `# BENTHOS LINT DISABLE
x:
  codec: lines
  extra: 1
input:
  a:
    b: 1
    c: 2
  codec: lines
  extra: 1
  mapping: |
    root = 1
    bad
`, string(d.Text()))
	for _, c := range []struct{ line, column, wantLine, wantColumn int }{
		{2, 1, 2, 1},
		{3, 3, 2, 8}, {3, 10, 2, 15}, {3, 1, 2, 1}, {3, 2, 2, 2}, {3, 99, 2, 15}, {3, 5, 2, 8},
		{4, 1, 3, 1}, {4, 3, 3, 3},
		{5, 1, 5, 1},
		{8, 1, 7, 1}, {8, 8, 7, 10},
		{9, 1, 2, 1}, {10, 3, 3, 3},
		{11, 3, 11, 3}, {12, 5, 12, 5}, {13, 1, 13, 1},
		{1, 1, 1, 1},
	} {
		line, column := d.Position(c.line, c.column)
		assert.Equal(t, []int{c.wantLine, c.wantColumn}, []int{line, column}, "%d,%d", c.line, c.column)
	}
	line, column := parse(t, "a: &x 1\nb: *x\n").Position(9, 9)
	assert.Equal(t, []int{9, 9}, []int{line, column})
}

func TestPositionAfterAnExpressionOfManyLines(t *testing.T) {
	d := parse(t, "a: &x ${X:\n\n}\nb: [1,\n *x]\nc: 1\n")
	require.Equal(t, "a: ${X:\n\n}\nb: [1, ${X:\n\n}]\nc: 1\n", string(d.Text()))
	// The engine reports positions in the text it made of this one: there an
	// expression is on one line.
	for line, want := range map[int]int{1: 1, 2: 4, 3: 6} {
		posted, _ := d.Position(line, 1)
		assert.Equal(t, want, posted, "line %d", line)
	}
}

func TestDocumentsAreShared(t *testing.T) {
	d := parse(t, "a: &x {b: ${C}}\nd: {<<: *x, e: foo}\n")
	want := asJSON(t, d)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			value := d.Value().(map[string]any)
			value["a"].(map[string]any)["b"] = "mine"
			assert.True(t, d.Mentions("foo"))
			merged, err := d.Merge(d)
			assert.NoError(t, err)
			assert.True(t, merged.Equal(d))
			d.Position(2, 2)
		})
	}
	all.Wait()
	assert.Equal(t, want, asJSON(t, d))
}

package document_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"penstock/supervisor/document"
)

func split(t *testing.T, d *document.Document) (*document.Document, *yaml.Node) {
	t.Helper()
	before := string(d.Text())
	rest, block, err := d.Split("runtime")
	require.NoError(t, err, "%s", d.Text())
	assert.Equal(t, before, string(d.Text()), "a document is immutable")
	return rest, block
}

func TestSplit(t *testing.T) {
	for _, c := range []struct{ name, text, rest string }{
		{"last", "a: 1\nruntime:\n  b: 1\n  c: [\n   2]\n", "a: 1\n#\n\n\n\n"},
		{"first", "runtime: # why\n  b: 1 # so\n\n# of a\na: 1\n", "#\n # so\n\n# of a\na: 1\n"},
		{"in the middle", "a: 1\n\nruntime:\n  b: 1\nc: 2", "a: 1\n\n#\n\nc: 2"},
		{"only", "# c\nruntime:\n  b: 1\n", "# c\n{}\n\n"},
		{"only, no line break", "runtime: {}", "{}"},
		{"null", "runtime:\na: 1\n", "#\na: 1\n"},
		{"null and last", "a: 1\nruntime:\n", "a: 1\n#\n"},
		{"list at the key's own column", "a: 1\nruntime:\n- b\n-\nc: 1\n", "a: 1\n#\n\n\nc: 1\n"},
		{"indented", "  a: 1\n  runtime: {b: 1}\n  c: 1\n", "  a: 1\n  #\n  c: 1\n"},
		{"quoted", "'runtime': x\n\"a\": 1\n", "#\n\"a\": 1\n"},
		{"escaped", "\"\\x72untime\": x\na: 1\n", "#\na: 1\n"},
		{"explicit", "? a\n: 1\n? runtime\n: x\n? c\n: 2\n", "? a\n: 1\n#\n\n? c\n: 2\n"},
		{"a word with a question mark before", "a: ?x\nruntime: y\n", "a: ?x\n#\n"},
		{"deeper ones are others", "a:\n  runtime: 1\nb: runtime\n", ""},
		{"windows lines", "a: 1\r\nruntime:\r\n  b: 1\r\nc: 2\r\n", "a: 1\r\n#\r\n\r\nc: 2\r\n"},
		{"byte order mark", "\ufeffruntime: 1\na: 2\n", "\ufeff#\na: 2\n"},
		{"marks", "---\na: 1\nruntime: 1\n...\n", "---\na: 1\n#\n...\n"},
		{"text", "runtime: |\n  a: 1\n\n  # b\n# c\nd: >\n  runtime: 1\n", "#\n\n\n\n# c\nd: >\n  runtime: 1\n"},
		{"after a text that keeps its empty lines", "a: |+\n  b\n\nruntime:\n  c: 1\n", "a: |+\n  b\n\n#\n\n"},
		{"words over lines", "runtime: b\n  c\n\n  d\ne: 1\n", "#\n\n\n\ne: 1\n"},
		{"quotes over lines", "a: 1\nruntime: \"b\n# c\"\n", "a: 1\n#\n\n"},
		{"unused anchors", "a: &x 1\nruntime: &y {b: &z 1}\nc: 2\n", "a: &x 1\n#\nc: 2\n"},
		{"lint disabled", "# BENTHOS LINT DISABLE\nruntime: 1\na: 2\n", "# BENTHOS LINT DISABLE\n#\na: 2\n"},
		{"expressions", "a: ${A:b: c}\nruntime:\n  b: ${B}\n  ${C}: '${D}'\nc: [${E}, ${F:1,2}]\n",
			"a: ${A:b: c}\n#\n\n\nc: [${E}, ${F:1,2}]\n"},
		{"expressions of many lines", "a: ${A:\n1}\nruntime: ${B:\n\n2}\nc: 3\n", "a: ${A:\n1}\n#\n\n\nc: 3\n"},

		{"flow, first", `{runtime: {b: [1, 2]}, a: 1}`, `{                      a: 1}`},
		{"flow, last", `{a: 1, runtime: {b: [1, 2]}}`, `{a: 1                      }`},
		{"flow, in the middle", "{a: 1, runtime: 2, # c\n c: 3}", "{a: 1,             # c\n c: 3}"},
		{"flow, only", `{ runtime: 1 }`, `{            }`},
		{"flow, only and a comma", `{runtime: 1,}`, `{           }`},
		{"flow, without a value", `{a: 1, runtime}`, `{a: 1         }`},
		{"flow, explicit", `{a: 1, ? runtime : b, c: 1}`, `{a: 1,                c: 1}`},
		{"flow, expression", `{a: "${A}", runtime: "${BBBB}", c: ${C}}`, `{a: "${A}",                     c: ${C}}`},
		{"json", "{\n  \"a\": 1,\n  \"runtime\": {\n    \"b\": \"é\"\n  }\n}\n",
			"{\n  \"a\": 1 \n              \n            \n   \n}\n"},
		{"json escapes", `{"runtime":{"b":"\/"},"a":"\/\ud83d\ude00"}`, `{                    "a":"/\U0001F600"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, c.text)
			rest, block := split(t, d)
			if c.rest == "" {
				assert.Same(t, d, rest)
				assert.Nil(t, block)
				return
			}
			require.NotNil(t, block)
			assert.Equal(t, c.rest, string(rest.Text()))
			assert.Nil(t, rest.Source())
			checkSplit(t, d, "runtime")
		})
	}
}

func TestSplitOfOtherThanMappings(t *testing.T) {
	for _, text := range []string{"", "runtime", "[runtime: 1]", "- runtime: 1\n", "~", "a: 1\n"} {
		d := parse(t, text)
		rest, block := split(t, d)
		assert.Same(t, d, rest)
		assert.Nil(t, block)
	}
}

func TestSplitBlock(t *testing.T) {
	_, block := split(t, parse(t, "a: ${A:\n1}\nruntime:\n  b: ${B}\n  ${C}: ['${D}', \"é\"] # c\ne: 1\n"))
	require.Equal(t, yaml.MappingNode, block.Kind)
	var found []string
	var places [][2]int
	for _, n := range append(block.Content[:3:3], block.Content[3].Content...) {
		found, places = append(found, n.Value), append(places, [2]int{n.Line, n.Column})
	}
	assert.Equal(t, []string{"b", "${B}", "${C}", "${D}", "é"}, found)
	assert.Equal(t, [][2]int{{4, 3}, {4, 6}, {5, 3}, {5, 10}, {5, 18}}, places)

	_, block = split(t, parse(t, "a: 1\nruntime:\n"))
	assert.Equal(t, "!!null", block.ShortTag())
	assert.Equal(t, 2, block.Line)
}

func TestSplitOfAliases(t *testing.T) {
	d := parse(t, `x: &x {policy: never,
  max_attempts: 3}
runtime: &r
  restart:
    <<: *x
    max_attempts: 4
  more: &m
    - ${A}
a: *m
b: {<<: *r, more: 1}
text: &t |
  one
  two
again: *t
`)
	rest, block := split(t, d)
	assert.Equal(t, `{"a":["${A}"],"again":"one\ntwo\n","b":{"more":1,"restart":{"max_attempts":4,"policy":"never"}},`+
		`"text":"one\ntwo\n","x":{"max_attempts":3,"policy":"never"}}`, asJSON(t, rest))
	checkSplit(t, d, "runtime")

	var value map[string]any
	require.NoError(t, block.Decode(&value))
	assert.Equal(t, map[string]any{"restart": map[string]any{"policy": "never", "max_attempts": 4}, "more": []any{"${A}"}}, value)
	restart := block.Content[1]
	assert.Equal(t, []int{1, 8}, []int{restart.Content[0].Line, restart.Content[0].Column}, "the merged entry")
	assert.Equal(t, []int{6, 19}, []int{restart.Content[3].Line, restart.Content[3].Column})

	// An anchor that only the block has.
	d = parse(t, "runtime: &x {c: 1}\na: {<<: *x}\n")
	rest, _ = split(t, d)
	assert.Equal(t, "#\n\na:\n  c: 1\n", string(rest.Text()))
	line, column := rest.Position(4, 3)
	assert.Equal(t, []int{1, 14}, []int{line, column})
	line, _ = rest.Position(3, 1)
	assert.Equal(t, 2, line)
}

func TestSplitOfMembersOfASet(t *testing.T) {
	set, err := document.ParseSet([]byte("# BENTHOS LINT DISABLE\none:\n  runtime: &r {restart: {policy: never}}\n  a: 1\ntwo: {a: 1,\n  runtime: *r, b: 2}\n"))
	require.NoError(t, err)
	for id, want := range map[string]string{"one": "# BENTHOS LINT DISABLE\n#\n\n\na: 1\n", "two": "# BENTHOS LINT DISABLE\na: 1\n#\n\n\nb: 2\n"} {
		rest, block := split(t, set[id])
		assert.Equal(t, want, string(rest.Text()))
		assert.True(t, rest.LintDisabled())
		policy := block.Content[1].Content[1]
		assert.Equal(t, "never", policy.Value)
		assert.Equal(t, []int{3, 34}, []int{policy.Line, policy.Column})
		checkSplit(t, set[id], "runtime")
	}
	rest, _ := split(t, set["two"])
	line, column := rest.Position(6, 4)
	assert.Equal(t, []int{6, 19}, []int{line, column})
}

// Where the text does not show where the key's entry is, the rest is encoded
// again, and its positions lead back.
func TestSplitThatMustEncode(t *testing.T) {
	d := parse(t, "runtime: 1\n? \n: 2\nc: [3, \n 4]\n")
	rest, _ := split(t, d)
	require.Equal(t, "\"\": 2\nc:\n  - 3\n  - 4\n", string(rest.Text()))
	checkSplit(t, d, "runtime")
	for position, want := range map[[2]int][2]int{{1, 1}: {2, 1}, {2, 1}: {4, 1}, {3, 5}: {4, 5}, {4, 5}: {5, 2}} {
		line, column := rest.Position(position[0], position[1])
		assert.Equal(t, want, [2]int{line, column}, position)
	}
}

// The map of a document that was encoded again starts from the text in which
// each expression has one line, and so do all that are made of it.
func TestPositionsAfterAnExpressionOfManyLinesStayWhenRewritten(t *testing.T) {
	d := parse(t, "a: &x ${X:\n\n}\nruntime: {b: 1}\nb: [1,\n *x]\nc: 1\n")
	rest, block := split(t, d)
	with, err := d.With("z", "1")
	require.NoError(t, err)
	renamed, err := d.Rewrite(func(s string) bool { return s == "none" }, "some")
	require.NoError(t, err)
	for _, made := range []*document.Document{d, rest, with, renamed} {
		for line, want := range map[int]int{1: 1, 4: 5, 5: 7} {
			posted, _ := made.Position(line, 1)
			assert.Equal(t, want, posted, "line %d of %q", line, made.Text())
		}
	}
	assert.Equal(t, 4, block.Content[0].Line)
}

// checkSplit holds for every document.
func checkSplit(t *testing.T, d *document.Document, key string) {
	t.Helper()
	rest, block, err := d.Split(key)
	if err != nil {
		// A ${ that the block closed may now meet a } of what follows.
		checkError(t, err)
		if !strings.Contains(string(d.Text()), "${") {
			t.Fatalf("split of %q: %v", d.Text(), err)
		}
		return
	}
	value, _ := d.Value().(map[string]any)
	if _, present := value[key]; present != (block != nil) {
		t.Fatalf("the block of %q is %v", d.Text(), block)
	}
	if block == nil {
		if rest != d {
			t.Fatalf("the rest of %q is another: %q", d.Text(), rest.Text())
		}
		return
	}
	delete(value, key)
	if got := toJSON(t, rest.Value()); got != toJSON(t, value) {
		t.Fatalf("the rest of %q is %q, with the value %s, want %s", d.Text(), rest.Text(), got, toJSON(t, value))
	}
	checkAgain(t, rest)
	if rest.LintDisabled() != d.LintDisabled() {
		t.Fatalf("lint disabled of %q: %v", rest.Text(), rest.LintDisabled())
	}
	if twice, none, err := rest.Split(key); err != nil || none != nil || twice != rest {
		t.Fatalf("%q was split twice: %v, %v", d.Text(), none, err)
	}
	if strings.Contains(string(d.Text()), "${") {
		return // yaml.v3 alone does not read such texts
	}
	was, is := topLevel(t, d), topLevel(t, rest)
	delete(was, key)
	if len(was) != len(is) {
		t.Fatalf("keys of %q and of its rest %q differ", d.Text(), rest.Text())
	}
	for other, place := range was {
		if here := is[other]; here[0] != place[0] || here[1] != place[1] && here[1] != 1 {
			t.Fatalf("key %q of %q is at %v, after the split, %q, at %v", other, d.Text(), place, rest.Text(), here)
		}
	}
}

// topLevel returns where the document's keys were posted.
func topLevel(t *testing.T, d *document.Document) map[string][2]int {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(d.Text(), &root); err != nil {
		t.Fatalf("%q: %v", d.Text(), err)
	}
	places := map[string][2]int{}
	for i := 0; i < len(root.Content[0].Content); i += 2 {
		key := root.Content[0].Content[i]
		line, column := d.Position(key.Line, key.Column)
		places[key.Value] = [2]int{line, column}
	}
	return places
}

// checkAgain holds for every document: it can be kept as text.
func checkAgain(t *testing.T, d *document.Document) {
	t.Helper()
	text := d.Source()
	if text == nil {
		text = d.Text()
	}
	again, err := document.Parse(text)
	if err != nil {
		t.Fatalf("%q, kept as text: %v", text, err)
	}
	if !again.Equal(d) || again.LintDisabled() != d.LintDisabled() {
		t.Fatalf("%q, kept as text, has the value %s, want %s; lint disabled: %v, want %v",
			text, toJSON(t, again.Value()), toJSON(t, d.Value()), again.LintDisabled(), d.LintDisabled())
	}
}

package document_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"penstock/supervisor/document"
)

var seeds = []string{
	"", "{}", "a: 1", "# BENTHOS LINT DISABLE\na: &x [1, {b: c}]\nd: *x\n",
	"a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: [*x, *y], r: [*x]}\n",
	"a: |\n  x ${A}\n\nb: >-\n   y\n  z\nc: |2+\n    w\n\nd: &t |\n\t\n", "a: 'it''s'\nb: \"\\x24{A} \\u2028\\0\"\nc: p q\n r\n",
	"a: ${A:b: c}\nd: [${E}, ${F:1,2}]\n${G}: {h: '${I}'}", "a: ${A:\nb}\nc: ${{D}}\n", "a: \"$\\x7bA}\"\nb: &x ${A\nc: [*x]\n",
	"1: a\n~: b\n2.5: c\n? d\n: e\n? \n", "[.nan, .inf, 0x1F, 1_0, 2001-01-01, !!binary aGk=, !t x, !!int '5', !!str 5, !!null '']",
	"{\"a\":\"\\/\\ud83d\\ude00\",\"b\":[1e400,-0.0]}", "a: !!map {b: c}\nd: !x [e]\nf: &k !y {g: h}\ni: *k", "try: &p [*p]", "&a [*a]",
	"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "---\na: 1\n...\n", "%YAML 1.1\n---\na: b\n", "- - - a\n  - b\n-\n- {}\n- []\n- ''\n",
	"a: # c\n  # d\n  b: c # e\n# f\n", "\ufeffa: 1\r\nb: 2\r\n", "a: &x '\n\n b'\nc: {d: *x}\n", "input:\n  generate:\n    mapping: 'root = {\"a\": ${! count(\"x\") }}'\n",
	"cache_resources:\n- label: a\n  b: &m {c: d}\ninput_resources: [{label: e, <<: *m}]\ntests: []\n",
	"a: &x \"<<\"\n*x : {b: c}\n", "a: &x\n*x : b\n", "a: &x\nb: {c: *x}\nd: [*x]\n", "k: &x " + strings.Repeat("k", 1100) + "\n? *x\n: v\n",
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := document.Parse(text)
		if err != nil {
			checkError(t, err)
			return
		}
		check(t, d)
		if d.LintDisabled() != strings.HasPrefix(string(text), "# BENTHOS LINT DISABLE") {
			t.Fatalf("lint disabled: %v", d.LintDisabled())
		}
	})
}

func FuzzParseSet(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := document.ParseSet(text)
		if err != nil {
			checkError(t, err)
		}
		for _, d := range set {
			check(t, d)
		}
		resources, err := document.ParseResources(text)
		if err != nil {
			checkError(t, err)
		}
		for _, r := range resources {
			check(t, r.Doc)
			if !r.Doc.Mentions(r.ID) {
				t.Fatalf("%q does not mention its label %q", r.Doc.Text(), r.ID)
			}
		}
		// A set is a document too, and says the same.
		whole, err := document.Parse(text)
		if err != nil || set == nil {
			return
		}
		value, _ := whole.Value().(map[string]any)
		if len(value) != len(set) {
			t.Fatalf("%d members of %q, want %d", len(set), text, len(value))
		}
		for id, want := range value {
			if got := toJSON(t, set[id].Value()); got != toJSON(t, want) {
				t.Fatalf("member %q of %q is %s, want %s", id, text, got, toJSON(t, want))
			}
		}
	})
}

// check holds for every document.
func check(t *testing.T, d *document.Document) {
	t.Helper()
	value := toJSON(t, d.Value())

	again, err := document.Parse(d.Text())
	if err != nil {
		t.Fatalf("the engine's text %q: %v", d.Text(), err)
	}
	if !again.Equal(d) || toJSON(t, again.Value()) != value {
		t.Fatalf("the engine's text %q has the value %s, want %s", d.Text(), toJSON(t, again.Value()), value)
	}
	if string(again.Text()) != string(d.Text()) {
		t.Fatalf("the engine's text %q still has aliases", d.Text())
	}

	checkAgain(t, d)
	checkSplit(t, d, "runtime")
	if keys, isMapping := d.Value().(map[string]any); isMapping {
		// Whatever the fuzzer made is more varied than what it calls runtime.
		for _, key := range slices.Sorted(maps.Keys(keys))[:min(3, len(keys))] {
			checkSplit(t, d, key)
		}
	}

	merged, err := d.Merge(d)
	if err != nil {
		// An open ${ of one text may meet a } of another.
		checkError(t, err)
		if !strings.Contains(string(d.Text()), "${") {
			t.Fatalf("merge of %q with itself: %v", d.Text(), err)
		}
	} else if !merged.Equal(d) || toJSON(t, merged.Value()) != value {
		t.Fatalf("merge of %q with itself is %q", d.Text(), merged.Text())
	} else {
		checkAgain(t, merged)
	}

	with, err := d.With("label", "x")
	if err != nil {
		checkError(t, err)
	} else if !with.Mentions("x") {
		t.Fatalf("%q does not mention its label", with.Text())
	} else {
		checkAgain(t, with)
		checkSplit(t, with, "runtime")
	}
	with, err = d.With("runtime", "x")
	if err != nil {
		checkError(t, err)
	} else {
		checkSplit(t, with, "runtime")
	}
	for line := 1; line < 5; line++ {
		if l, c := d.Position(line, 3); l < 1 || c < 1 {
			t.Fatalf("position %d,3 of %q is %d,%d", line, d.Text(), l, c)
		}
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var e *document.Error
	if !errors.As(err, &e) || strings.ContainsAny(err.Error(), "\r\n") || err.Error() == "" {
		t.Fatalf("not one line of what is wrong: %#v", err)
	}
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("no JSON of %#v: %v", value, err)
	}
	return string(out)
}

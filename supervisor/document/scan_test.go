package document

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// texts cover what the scanner must tell apart: where scalars, comments, keys
// and collections start and end.
var texts = []string{
	"", "\n", "a", "# only a comment\n", "---\n", "---\na: 1\n...\n",
	"a: 1\nb: [1, 2, {c: d}]\n",
	"a:\n- 1\n- 2\nb:\n  - - - 3\n",
	"- a: 1\n  b: 2\n-\n-\n- - x\n  - y\n",
	"{a, b: , ? c, ? d : e, [f]: g, \"h\":1}",
	"[a: b, {}, [], [[]], , ]",
	"a: don't [count, this]\nb: http://x:80/[y]\n",
	"a: b\n  - c\n  [d, e]\nf: g\n",
	"a: |\n  [x, y\n   # no comment\n  - z\n\nb: >-2\n   c\n",
	"a: |+\n\n\n   text\n\nb: |1\n x\n",
	"- |\n - not\n  an entry\n- >\n\n  x\n",
	"a: 'it''s [x]'\nb: \"\\\"[\\\\\"\nc: \"x\n\n  y\"\n",
	"? a\n: b\n? - c\n: - d\n: e\n",
	"a: &x [1]\nb: *x\nc: !!str &y d\n*x : 1\n",
	"a: 1 # [comment\nb: 2 #{\nc: x#y\n# - z\n",
	"<<: [*a]\n",
	"{\n\t\"a\": [\n\t\t1,\n\t\t2\n\t]\n}",
	"a:\tb\nc: d\te\n",
	"a: b\r\nc:\r\n- d\r\n",
	"a: \u0085b\u2028c: d\n",
	"\ufeffa: 1\n", "%YAML 1.1\n---\na: 1\n", "%TAG ! tag:x,2000:\n---\n!a b\n",
	"a: b: c\n", "a: [\n", "a: \"\n", "'", "- -", "?", ":", "? ? a", "! x", "*a", "&a", "[?]", "{:}", "{a:b,c: d}",
	"a\nb\n c\n--- d\n...\ne: f\n",
	"a: x\n\tb\n", strings.Repeat("k", 1100) + ": v\n",
	"input:\n  generate:\n    mapping: 'root = {\"a\": [1, 2]}'\npipeline:\n  processors:\n    - mapping: |\n        root.x = this.y # [z]\n",
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 10_000 || !utf8.Valid(text) {
			return
		}
		real, ok := countNodes(text)
		if !ok {
			return
		}
		s := newScanner(text)
		for s.next() {
		}
		if s.nodes > real {
			t.Fatalf("scanned %d nodes, the parser made %d of %q", s.nodes, real, text)
		}
		if real > 3*s.nodes+3 {
			t.Fatalf("scanned only %d nodes, the parser made %d of %q", s.nodes, real, text)
		}
	})
}

// countNodes asks the YAML parser.
func countNodes(text []byte) (total int, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	for {
		var n yaml.Node
		switch err := decoder.Decode(&n); {
		case errors.Is(err, io.EOF):
			return total, true
		case err != nil:
			return 0, false
		}
		var count func(n *yaml.Node)
		count = func(n *yaml.Node) {
			total++
			for _, child := range n.Content {
				count(child)
			}
		}
		count(n.Content[0])
	}
}

func TestScanAllowsWhatIsAtTheLimit(t *testing.T) {
	for name, text := range map[string]string{
		"flow nesting":   strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"block nesting":  strings.Repeat("- ", 100) + "x",
		"many nodes":     "[" + strings.Repeat("a,", maxNodes-1) + "]",
		"many lines":     strings.Repeat("- a\n", maxNodes-1),
		"many in a text": "a: |\n" + strings.Repeat("  - [x, {y: z}]\n", maxNodes),
		"many in quotes": "a: \"" + strings.Repeat("- [x,\n", maxNodes) + "\"",
		"other breaks":   "a: |\u2028  [x\u2029\u0085  y\rb: \"\u2028\"\r\n",
		"many comments":  "a: 1\n" + strings.Repeat("# - [x]\n", maxNodes),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, scan([]byte(text)))
			_, err := Parse([]byte(text))
			require.NoError(t, err)
		})
	}
}

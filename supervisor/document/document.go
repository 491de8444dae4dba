package document

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"gopkg.in/yaml.v3"
)

// lintDisable at the very start of a text keeps the engine from linting it.
const lintDisable = "# BENTHOS LINT DISABLE"

// Document is one config, immutable and safe to share between goroutines.
type Document struct {
	text   []byte
	source []byte
	// origins leads from positions in text to the posted text, in order of
	// text's positions; empty means that they are the same.
	origins []origin
	// digest is of the value as JSON.
	digest [sha256.Size]byte
}

// Parse reads one config, YAML or JSON. An empty text is a document without a
// value. The error is an *Error.
func Parse(text []byte) (*Document, error) {
	source := bytes.Clone(text)
	text = yamlEscapes(source)
	t, err := read(text)
	if err != nil {
		return nil, err
	}
	if !t.rewritten {
		return newDocument(text, source, nil, t)
	}
	d, err := t.encode(t.root, disablesLint(text), here)
	if err != nil {
		return nil, err
	}
	d.source = source
	return d, nil
}

func newDocument(text, source []byte, origins []origin, t *tree) (*Document, error) {
	value, err := json.Marshal(t.mask.toValue(t.root))
	if err != nil {
		return nil, &Error{Msg: "the document has no JSON form: " + printable(err.Error())}
	}
	return &Document{text: text, source: source, origins: slices.Clone(origins), digest: sha256.Sum256(value)}, nil
}

// Text returns what the engine gets: the posted bytes, or an encoding of the
// same config when it had aliases or merge keys, or was made of other
// documents. Callers must not modify it.
func (d *Document) Text() []byte { return d.text }

// Source returns the bytes that were posted for this document alone, nil for a
// member of a set or a resource file and for what other methods made.
// Callers must not modify it.
func (d *Document) Source() []byte { return d.source }

// LintDisabled says that the posted text began with "# BENTHOS LINT DISABLE".
func (d *Document) LintDisabled() bool { return disablesLint(d.text) }

func disablesLint(text []byte) bool { return bytes.HasPrefix(text, []byte(lintDisable)) }

// Value returns the config as values that encoding/json accepts, nil for an
// empty one. Expressions such as ${VAR} are kept as they were written. Each
// call parses the text and returns values of the caller's own.
func (d *Document) Value() any {
	t := d.tree()
	return t.mask.toValue(t.root)
}

// Equal says whether both have the same value, as JSON knows it: comments,
// order of keys, quoting and 1 against 1.0 make no difference.
func (d *Document) Equal(other *Document) bool { return d.digest == other.digest }

// Mentions says whether some value in the document, not a key, is exactly name.
func (d *Document) Mentions(name string) bool {
	if !mayMention(d.text, name) {
		return false
	}
	t := d.tree()
	seen := map[*yaml.Node]bool{}
	var find func(*yaml.Node) bool
	find = func(n *yaml.Node) bool {
		if n == nil || seen[n] {
			return false
		}
		if n.Kind == yaml.ScalarNode {
			return t.mask.unmask(n.Value) == name
		}
		seen[n] = true
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				continue
			}
			if find(child) {
				return true
			}
		}
		return false
	}
	return find(t.root)
}

// mayMention spares the parsing of texts that cannot hold the name. A name
// without blanks and punctuation stands in the text as it is, unless escapes
// or a broken line hide it.
func mayMention(text []byte, name string) bool {
	if bytes.Contains(text, []byte(name)) {
		return true
	}
	for _, r := range name {
		if r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return true
		}
	}
	for _, hidden := range []string{`\x`, `\u`, `\U`, "\\\n", "\\\r"} {
		if bytes.Contains(text, []byte(hidden)) {
			return true
		}
	}
	return false
}

// tree parses the document's own text again. It cannot fail: the same text
// was parsed when the document was made.
func (d *Document) tree() *tree {
	t, err := read(d.text)
	if err != nil {
		return &tree{mask: &masker{}}
	}
	return t
}

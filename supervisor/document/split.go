package document

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// Split parts the document from one of its top-level keys. The rest is for
// readers that do not know the key; the block is the key's value, nil when the
// key is absent, in which case the rest is the document itself.
//
// Positions of the rest lead to where those of the document led: where the
// text allows it, it keeps every other byte in its place. A document of that
// key alone leaves an empty mapping. The block is the caller's own; its nodes
// hold no aliases and merge keys, expressions such as ${VAR} as they were
// written, and positions in the posted text. The error is an *Error.
func (d *Document) Split(key string) (rest *Document, block *yaml.Node, err error) {
	if !mayMention(d.text, key) {
		return d, nil, nil
	}
	// The masker must know the key, or it could hold its words.
	m, err := newMasker(d.text, []byte(key))
	if err != nil {
		return nil, nil, err
	}
	t, shifts, err := readWith(m, d.text)
	if err != nil {
		return nil, nil, err
	}
	if !isMapping(t.root) {
		return d, nil, nil
	}
	at := t.find(t.root, key)
	if at < 0 {
		return d, nil, nil
	}
	text, isCut, err := d.cut(t.root, at-1, key)
	if err != nil {
		return nil, nil, err
	}
	locate := d.locator(t, shifts)

	block = t.root.Content[at]
	others := *t.root
	others.Content = append(append([]*yaml.Node(nil), t.root.Content[:at-1]...), t.root.Content[at+1:]...)
	if isCut {
		rest = d.provedCut(t.mask, &others, text)
	}
	if rest == nil {
		if rest, err = t.encode(&others, d.LintDisabled(), locate); err != nil {
			return nil, nil, err
		}
	}
	t.mask.release(block, locate)
	return rest, block, nil
}

// release turns a node of the document's text into one that stands for itself.
func (m *masker) release(n *yaml.Node, locate locator) {
	n.Value = m.unmask(n.Value)
	n.Line, n.Column = locate(n.Line, n.Column)
	for _, child := range n.Content {
		m.release(child, locate)
	}
}

// provedCut makes the document of a text from which a key was cut, nil when
// the text does not say what the node says, each part in its old place.
func (d *Document) provedCut(was *masker, others *yaml.Node, text []byte) *Document {
	m, err := newMasker(text)
	if err != nil {
		return nil
	}
	back, shifts, err := readWith(m, text)
	if err != nil {
		return nil
	}
	d.locator(back, shifts)
	c := comparison{was: was, is: m}
	if back.rewritten || disablesLint(text) != d.LintDisabled() || !c.same(others, back.root) ||
		!samePlaces(others.Content, back.root.Content) {
		return nil
	}
	rest, err := newDocument(text, nil, d.origins, back)
	if err != nil {
		return nil
	}
	return rest
}

// samePlaces compares the positions of nodes that are the same otherwise.
func samePlaces(was, is []*yaml.Node) bool {
	for i, n := range was {
		if n.Line != is[i].Line || n.Column != is[i].Column || !samePlaces(n.Content, is[i].Content) {
			return false
		}
	}
	return true
}

// cut returns the document's text without one entry of its mapping, whose key
// is root.Content[at]. Line breaks stay. It reports false when it cannot tell
// where the entry is; whether the text says the right thing must be proved.
// Positions must still be those of the masked text.
func (d *Document) cut(root *yaml.Node, at int, key string) ([]byte, bool, error) {
	// A second masker of the same texts makes the same words.
	m, err := newMasker(d.text, []byte(key))
	if err != nil {
		return nil, false, err
	}
	masked, _, err := m.mask(d.text)
	if err != nil {
		return nil, false, err
	}
	tokens := tokensOf(masked)
	first := indexOfKey(tokens, root.Content[at])
	if first < 0 {
		return nil, false, nil
	}
	isFlow := root.Style&yaml.FlowStyle != 0
	var end int // the index of the token after the entry
	switch {
	case isFlow:
		end = endOfFlowEntry(tokens, first)
	case at+2 < len(root.Content):
		end = indexOfKey(tokens, root.Content[at+2])
	default:
		end = endOfDocument(tokens, first)
	}
	if end <= first || isFlow && end == len(tokens) {
		return nil, false, nil
	}

	from, to := tokens[first].start, tokens[end-1].end
	to = from + len(strings.TrimRight(string(masked[from:to]), " \t"+lineBreaks))
	var blank func(string) string
	switch {
	case isFlow:
		blank = blankInPlace
		if tokens[end].kind == ',' {
			to = tokens[end].end
		} else if before := tokens[first-1]; before.kind == ',' {
			masked = bytes.Clone(masked) // it may be the document's own text
			masked[before.start] = ' '
		}
	case len(root.Content) == 2:
		blank = func(s string) string { return "{}" + blankLines(s) }
	default:
		// Less indented than what came before, the comment also ends a block
		// scalar that would take empty lines for its own.
		blank = func(s string) string { return "#" + blankLines(s) }
	}
	removed := string(masked[from:to])
	if len(d.origins) == 0 {
		// Positions are those of the text itself, with all the lines that its
		// expressions have.
		removed = m.unmask(removed)
	}
	return []byte(m.unmask(string(masked[:from])) + blank(removed) + m.unmask(string(masked[to:]))), true, nil
}

// lineBreaks are all that YAML counts as such.
const lineBreaks = "\r\n\u0085\u2028\u2029"

// blankLines leaves only the line breaks.
func blankLines(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(lineBreaks, r) {
			return r
		}
		return -1
	}, s)
}

// blankInPlace leaves line breaks, and blanks in place of all else.
func blankInPlace(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(lineBreaks, r) {
			return r
		}
		return ' '
	}, s)
}

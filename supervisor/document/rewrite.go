package document

import "gopkg.in/yaml.v3"

// Rewrite returns the document with the given string in place of every scalar
// for which old is true. Keys stay what they are. Positions of all else lead
// to where they led before.
func (d *Document) Rewrite(old func(scalar string) bool, replacement string) (*Document, error) {
	// The masker must know the string, or it could hold its words.
	m, err := newMasker(d.text, []byte(replacement))
	if err != nil {
		return nil, err
	}
	t, shifts, err := readWith(m, d.text)
	if err != nil {
		return nil, err
	}
	locate := d.locator(t, shifts)
	return t.encode(t.rewrite(t.root, old, replacement), d.LintDisabled(), locate)
}

// rewrite never changes its argument: a node may hang in several places.
func (t *tree) rewrite(n *yaml.Node, old func(string) bool, replacement string) *yaml.Node {
	if n == nil {
		return nil
	}
	out := *n
	switch n.Kind {
	case yaml.ScalarNode:
		if old(t.mask.unmask(n.Value)) {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: replacement, Line: n.Line, Column: n.Column}
		}
	case yaml.MappingNode, yaml.SequenceNode:
		out.Content = append([]*yaml.Node(nil), n.Content...)
		for i, child := range n.Content {
			if n.Kind == yaml.SequenceNode || i%2 == 1 {
				out.Content[i] = t.rewrite(child, old, replacement)
			}
		}
	}
	return &out
}

package document

import "gopkg.in/yaml.v3"

// Merge returns the document with the patch laid over it: mappings merge key
// by key, anything else in the patch replaces what was there, null too. An
// empty patch changes nothing. Positions of the result are its own.
func (d *Document) Merge(patch *Document) (*Document, error) {
	m, err := newMasker(d.text, patch.text)
	if err != nil {
		return nil, err
	}
	base, _, err := readWith(m, d.text)
	if err != nil {
		return nil, err
	}
	over, _, err := readWith(m, patch.text)
	if err != nil {
		return nil, err
	}
	switch {
	case isNull(over.root):
		return d, nil
	case isMapping(base.root) && !isMapping(over.root):
		return nil, errorAt(over.root.Line, over.root.Column, "a patch must be a mapping of the fields to change")
	}
	merged := over.root
	if isMapping(base.root) {
		merged = base.mergeNodes(base.root, over.root)
	}
	return base.encode(merged, d.LintDisabled() || patch.LintDisabled(), nil)
}

// mergeNodes never changes its arguments: a node may hang in several places.
func (t *tree) mergeNodes(base, over *yaml.Node) *yaml.Node {
	if !isMapping(base) || !isMapping(over) {
		return over
	}
	merged := *base
	merged.Content = append([]*yaml.Node(nil), base.Content...)
	at := make(map[string]int, len(base.Content)/2)
	for i := 0; i < len(base.Content); i += 2 {
		at[t.mask.unmask(base.Content[i].Value)] = i + 1
	}
	for i := 0; i < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		if j, present := at[t.mask.unmask(key.Value)]; present {
			merged.Content[j] = t.mergeNodes(base.Content[j], value)
		} else {
			merged.Content = append(merged.Content, key, value)
		}
	}
	return &merged
}

// With returns the document with a string set at a top-level key. The document
// must be a mapping or empty. Positions of all else lead to where they led
// before.
func (d *Document) With(key, value string) (*Document, error) {
	// The masker must know both strings, or they could hold its words.
	m, err := newMasker(d.text, []byte(key), []byte(value))
	if err != nil {
		return nil, err
	}
	t, shifts, err := readWith(m, d.text)
	if err != nil {
		return nil, err
	}
	if isNull(t.root) {
		t.root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	if !isMapping(t.root) {
		return nil, errorAt(t.root.Line, t.root.Column, "the config must be a mapping: %s cannot be set in it", printable(key))
	}
	locate := d.locator(t, shifts)
	set := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	root := *t.root
	root.Content = append([]*yaml.Node(nil), t.root.Content...)
	if i := t.find(&root, key); i >= 0 {
		if old := root.Content[i]; old.ShortTag() == "!!str" && m.unmask(old.Value) == value {
			return d, nil
		}
		root.Content[i] = set
	} else {
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, set)
	}
	return t.encode(&root, d.LintDisabled(), locate)
}

// find returns the index of a key's value in the mapping's content, -1 for
// none.
func (t *tree) find(mapping *yaml.Node, key string) int {
	for i := 0; i < len(mapping.Content); i += 2 {
		if t.mask.unmask(mapping.Content[i].Value) == key {
			return i + 1
		}
	}
	return -1
}

func isMapping(n *yaml.Node) bool { return n != nil && n.Kind == yaml.MappingNode }

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && isNullText(n.Value)
}

package document

import "gopkg.in/yaml.v3"

// expander resolves aliases and merge keys in place. It visits each node once,
// in the order of the text, so what an alias names is already expanded when
// the alias is met, and an alias bomb costs no more than its text.
type expander struct {
	mask *masker
	// open holds the anchored nodes around the current one: an alias to one
	// of them contains itself.
	open map[*yaml.Node]bool
	// sizes holds what each collection measures when written out.
	sizes map[*yaml.Node]size
	// maxBytes bounds the scalars' text after expansion.
	maxBytes int
	// merged counts the entries that merge keys had to look at.
	merged    int
	rewritten bool
}

// size measures a node with everything in it.
type size struct{ nodes, depth, bytes int }

func newExpander(m *masker, textLength int) *expander {
	return &expander{
		mask:     m,
		open:     map[*yaml.Node]bool{},
		sizes:    map[*yaml.Node]size{},
		maxBytes: textLength + maxGrowth,
	}
}

func (e *expander) measure(n *yaml.Node) size {
	if n.Kind == yaml.ScalarNode {
		return size{nodes: 1, bytes: len(n.Value)}
	}
	return e.sizes[n]
}

// expand returns the node without aliases and merge keys.
func (e *expander) expand(n *yaml.Node) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		if e.open[n.Alias] {
			return nil, errorAt(n.Line, n.Column,
				"the alias *%s contains itself: write out what it should hold", printable(n.Value))
		}
		e.rewritten = true
		return n.Alias, nil
	}
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	anchored := n.Anchor != ""
	n.Anchor = ""
	if n.Kind == yaml.ScalarNode {
		return n, nil
	}
	if anchored {
		e.open[n] = true
		defer delete(e.open, n)
	}
	for i, child := range n.Content {
		expanded, err := e.expand(child)
		if err != nil {
			return nil, err
		}
		if n.Kind == yaml.MappingNode && i%2 == 0 && expanded.Kind != yaml.ScalarNode {
			return nil, errorAt(child.Line, child.Column, "a mapping's key is a list or a mapping itself: use a plain word")
		}
		n.Content[i] = expanded
	}
	if n.Kind == yaml.MappingNode {
		if err := e.merge(n); err != nil {
			return nil, err
		}
	}
	return n, e.limit(n)
}

// limit measures a collection and refuses what is too large or too deep.
func (e *expander) limit(n *yaml.Node) error {
	total := size{nodes: 1}
	for _, child := range n.Content {
		part := e.measure(child)
		total.nodes += part.nodes
		total.bytes += part.bytes
		total.depth = max(total.depth, part.depth)
		switch {
		case total.nodes > maxNodes:
			return errorAt(n.Line, n.Column, "the document expands to more than %d nodes: use fewer aliases or split it", maxNodes)
		case total.bytes > e.maxBytes:
			return errorAt(n.Line, n.Column, "the document's aliases add more than %d MiB: use fewer aliases or split it", maxGrowth>>20)
		}
	}
	total.depth++
	if total.depth > maxDepth {
		return errorAt(n.Line, n.Column, "the document nests more than %d deep: flatten it", maxDepth)
	}
	e.sizes[n] = total
	return nil
}

// merge refuses duplicate keys and replaces a merge key ("<<") by the entries
// it stands for. A key of the mapping itself wins over a merged one, and an
// earlier mapping of a merged list over a later one.
func (e *expander) merge(n *yaml.Node) error {
	lines := make(map[string]int, len(n.Content)/2)
	mergeAt := -1
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		name := e.mask.unmask(key.Value)
		if line, twice := lines[name]; twice {
			hint := "remove one"
			if isMerge(key) {
				hint = "merge several mappings with one list, <<: [*a, *b]"
			}
			return errorAt(key.Line, key.Column, "mapping key %q already defined at line %d: %s",
				printable(name), line, hint)
		}
		lines[name] = key.Line
		if isMerge(key) {
			mergeAt = i
		}
	}
	if mergeAt < 0 {
		return nil
	}
	e.rewritten = true

	sources := []*yaml.Node{n.Content[mergeAt+1]}
	if sources[0].Kind == yaml.SequenceNode {
		sources = sources[0].Content
	}
	content := append([]*yaml.Node(nil), n.Content[:mergeAt]...)
	for _, source := range sources {
		if source.Kind != yaml.MappingNode {
			return errorAt(n.Content[mergeAt].Line, n.Content[mergeAt].Column,
				"a merge key (<<) needs a mapping or a list of mappings")
		}
		// Looking at entries is work even when none is taken.
		if e.merged += len(source.Content); e.merged > maxNodes {
			return errorAt(n.Line, n.Column, "the document expands to more than %d nodes: use fewer merge keys", maxNodes)
		}
		for i := 0; i < len(source.Content); i += 2 {
			key := source.Content[i]
			name := e.mask.unmask(key.Value)
			if _, present := lines[name]; !present {
				lines[name] = key.Line
				content = append(content, key, source.Content[i+1])
			}
		}
	}
	n.Content = append(content, n.Content[mergeAt+2:]...)
	return nil
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.ShortTag() == "!!merge"
}

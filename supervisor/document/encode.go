package document

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// encode makes a document of one of the tree's nodes. It reads the result
// back and compares: the YAML emitter has bugs, so when it got something
// wrong, a plainer encoding takes its place. A nil locator stands for a
// document whose positions are its own.
func (t *tree) encode(n *yaml.Node, noLint bool, locate locator) (*Document, error) {
	if n == nil {
		n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	normalize(n, t.mask)

	masked, err := emit(n)
	// An expression that is there before the real ones are back was never one:
	// "$\x7bA}" must not become ${A}.
	if err == nil && !hasExpression(masked) {
		if d, err := t.prove(n, masked, noLint, locate); err == nil {
			return d, nil
		}
	}
	return t.prove(n, emitPlainly(n, t.mask), noLint, locate)
}

// emit encodes with the YAML library.
func emit(n *yaml.Node) (text []byte, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = &Error{Msg: "yaml: " + printable(fmt.Sprint(fault))}
		}
	}()
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(n); err != nil {
		return nil, yamlError(err)
	}
	if err := encoder.Close(); err != nil {
		return nil, yamlError(err)
	}
	return out.Bytes(), nil
}

// prove makes the document of an encoded text if it says what the node says.
func (t *tree) prove(n *yaml.Node, masked []byte, noLint bool, locate locator) (*Document, error) {
	text := []byte(t.mask.unmask(string(masked)))
	if noLint {
		text = append([]byte(lintDisable+"\n"), text...)
	}
	m, err := newMasker(text)
	if err != nil {
		return nil, err
	}
	// The engine sees every expression replaced by one line: the positions it
	// reports are those of the masked text.
	back, _, err := readWith(m, text)
	if err != nil {
		return nil, err
	}
	c := comparison{was: t.mask, is: m, locate: locate}
	if back.rewritten || !c.same(n, back.root) {
		return nil, &Error{Line: n.Line, Column: n.Column,
			Msg: "the document cannot be written out again: look for a ${ without its }"}
	}
	return newDocument(text, nil, c.origins, back)
}

// comparison walks two trees in step and notes where their nodes are.
type comparison struct {
	was, is *masker
	locate  locator
	origins []origin
}

func (c *comparison) same(was, is *yaml.Node) bool {
	if is == nil || was.Kind != is.Kind || len(was.Content) != len(is.Content) || was.ShortTag() != is.ShortTag() {
		return false
	}
	if was.Kind == yaml.ScalarNode && c.was.unmask(was.Value) != c.is.unmask(is.Value) {
		return false
	}
	if c.locate != nil {
		c.note(originOf(was, is, c.locate))
	}
	for i, child := range was.Content {
		if !c.same(child, is.Content[i]) {
			return false
		}
	}
	return true
}

// note keeps the innermost of the nodes that start at one place: a mapping
// starts where its first key does, though not in the posted text.
func (c *comparison) note(o origin) {
	if last := len(c.origins) - 1; last >= 0 && c.origins[last].line == o.line && c.origins[last].column == o.column {
		c.origins[last] = o
		return
	}
	c.origins = append(c.origins, o)
}

// normalize gives a node the style it is written out in. Scalars keep theirs.
// Collections become blocks, so that each key has a line for lints to name,
// except one that holds an unquoted expression: [${HOSTS}] may turn into
// several items, and only between brackets.
func normalize(n *yaml.Node, m *masker) {
	seen := map[*yaml.Node]bool{}
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			if n.ShortTag() == "!!null" && n.Value == "" && n.Style == 0 {
				n.Value = "null"
			}
			return
		}
		if seen[n] {
			return
		}
		seen[n] = true
		flow := false
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 && child.Value == "" {
				child = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle,
					Line: child.Line, Column: child.Column}
				n.Content[i] = child
			}
			flow = flow || isPlain(child) && m.masked(child.Value)
			walk(child)
		}
		if !flow {
			n.Style &^= yaml.FlowStyle
		}
	}
	walk(n)
}

func isPlain(n *yaml.Node) bool {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	return n.Kind == yaml.ScalarNode && n.Style&quoted == 0
}

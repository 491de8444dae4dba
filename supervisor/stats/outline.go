package stats

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// name is what the config says of a component.
type name struct{ label, path string }

// outline gives the components that count nothing by themselves, such as
// brokers and references to resources, their places and names in the tree. It
// knows no component: one is what stands at the top of a config, in a list, or
// under the key of an input or output.
func (n *node) outline(config any) {
	root, _ := config.(map[string]any)
	for _, key := range []string{"input", "buffer", "output"} {
		if c, ok := root[key].(map[string]any); ok {
			n.outlineComponent(c, []string{key})
		}
	}
	pipeline, _ := root["pipeline"].(map[string]any)
	processors, _ := pipeline["processors"].([]any)
	for i, p := range processors {
		if c, ok := p.(map[string]any); ok {
			n.outlineComponent(c, []string{"pipeline", "processors", strconv.Itoa(i)})
		}
	}
}

func (n *node) outlineComponent(config map[string]any, path []string) {
	label, _ := config[labelLabel].(string)
	n.reach(path).name = &name{label, joined(path)}
	n.outlineBelow(config, path)
}

func (n *node) outlineBelow(config any, path []string) {
	visit := func(segment string, child any, place bool) {
		below := append(slices.Clone(path), segment)
		c, ok := child.(map[string]any)
		if _, labelled := c[labelLabel].(string); ok && place && (labelled || n.find(below) != nil) {
			n.outlineComponent(c, below)
			return
		}
		n.outlineBelow(child, below)
	}
	switch c := config.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(c)) {
			visit(key, c[key], key == "input" || key == "output")
		}
	case []any:
		for i, child := range c {
			visit(strconv.Itoa(i), child, true)
		}
	}
}

// find is the node at a path, or nil.
func (n *node) find(path []string) *node {
	for _, segment := range path {
		if n = n.children[segment]; n == nil {
			return nil
		}
	}
	return n
}

// reach is the node at a path, made where there is none.
func (n *node) reach(path []string) *node {
	for i, segment := range path {
		n = n.child(segment)
		n.object = n.object || i == 0
	}
	return n
}

// joined is a path as the engine writes it in labels.
func joined(path []string) string {
	escape := strings.NewReplacer("~", "~0", ".", "~1")
	parts := []string{"root"}
	for _, segment := range path {
		parts = append(parts, escape.Replace(segment))
	}
	return strings.Join(parts, ".")
}

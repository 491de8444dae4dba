package document

import (
	"math"

	"gopkg.in/yaml.v3"
)

// toValue returns the node as plain Go values that encoding/json accepts:
// map[string]any, []any, string, bool, int64, uint64, float64 and nil.
// What JSON has no form for (dates, binary, tags, infinities) stays the text
// that was written.
func (m *masker) toValue(n *yaml.Node) any {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		value := make(map[string]any, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			value[m.unmask(n.Content[i].Value)] = m.toValue(n.Content[i+1])
		}
		return value
	case yaml.SequenceNode:
		value := make([]any, len(n.Content))
		for i, child := range n.Content {
			value[i] = m.toValue(child)
		}
		return value
	default:
		return m.toScalar(n)
	}
}

func (m *masker) toScalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		if isNullText(n.Value) {
			return nil
		}
	case "!!bool", "!!int", "!!float":
		var value any
		if n.Decode(&value) != nil {
			break
		}
		switch v := value.(type) {
		case bool, uint64, int64:
			return v
		case int:
			return int64(v)
		case float64:
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v
			}
		}
	}
	return m.unmask(n.Value)
}

func isNullText(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

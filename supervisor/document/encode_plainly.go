package document

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// emitPlainly encodes with as little of YAML as there is: blocks, one entry a
// line, and strings in double quotes.
func emitPlainly(n *yaml.Node, m *masker) []byte {
	w := plainWriter{mask: m}
	w.node(n, "")
	return bytes.TrimLeft(w.out.Bytes(), " \n")
}

type plainWriter struct {
	mask *masker
	out  bytes.Buffer
}

// node writes a value that follows a "-" or a ":".
func (w *plainWriter) node(n *yaml.Node, indent string) {
	if n.Kind == yaml.ScalarNode {
		w.out.WriteString(" " + w.scalar(n) + "\n")
		return
	}
	w.out.WriteString(tagPrefix(n))
	switch {
	case len(n.Content) == 0 && n.Kind == yaml.MappingNode:
		w.out.WriteString(" {}\n")
		return
	case len(n.Content) == 0:
		w.out.WriteString(" []\n")
		return
	}
	w.out.WriteString("\n")
	if n.Kind == yaml.SequenceNode {
		for _, child := range n.Content {
			w.out.WriteString(indent + "-")
			w.node(child, indent+" ")
		}
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := w.scalar(n.Content[i])
		if len(key) < maxSimpleKey/2 {
			w.out.WriteString(indent + key + ":")
		} else {
			w.out.WriteString(indent + "? " + key + "\n" + indent + ":")
		}
		w.node(n.Content[i+1], indent+" ")
	}
}

func tagPrefix(n *yaml.Node) string {
	switch tag := n.ShortTag(); {
	case n.Style&yaml.TaggedStyle == 0:
		return ""
	case strings.HasPrefix(tag, "!"):
		return " " + tag
	default:
		return " !<" + tag + ">"
	}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./]+$`)

func (w *plainWriter) scalar(n *yaml.Node) string {
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		return strings.TrimPrefix(tagPrefix(n), " ") + " " + w.quote(n.Value)
	case n.ShortTag() != "!!str":
		return n.Value
	case isPlain(n) && w.mask.masked(n.Value) && plainWord.MatchString(w.withoutWords(n.Value)):
		return n.Value
	default:
		return w.quote(n.Value)
	}
}

// withoutWords replaces the runes of mask words by a letter.
func (w *plainWriter) withoutWords(s string) string {
	return strings.Map(func(r rune) rune {
		if w.mask.isMark(r) || r >= firstDigit && r < firstDigit+digitBase {
			return 'x'
		}
		return r
	}, s)
}

// quote writes a double-quoted scalar. It escapes a "$" before "{", which the
// engine would take for an expression although it was none.
func (w *plainWriter) quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case r == '"' || r == '\\':
			out.WriteRune('\\')
			out.WriteRune(r)
		case r == '$' && i+1 < len(runes) && runes[i+1] == '{':
			out.WriteString(`\x24`)
		case r == ' ' || unicode.IsPrint(r) || w.mask.isMark(r):
			out.WriteRune(r)
		default:
			fmt.Fprintf(&out, `\U%08X`, r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

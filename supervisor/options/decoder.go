package options

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/agnivade/levenshtein"
	"gopkg.in/yaml.v3"
)

// decoder reads nodes and gathers their faults. What it cannot read is the
// zero value.
type decoder struct {
	lints []Lint
}

// field is a key of an object and what reads its value.
type field struct {
	name string
	read func(value *yaml.Node)
}

func (d *decoder) lint(at *yaml.Node, format string, args ...any) {
	d.lints = append(d.lints, Lint{Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)})
}

// object reads a mapping of fields, each of them at most once. A null is empty.
func (d *decoder) object(n *yaml.Node, name string, fields []field) {
	d.entries(n, name, func(key, value *yaml.Node) {
		at := slices.IndexFunc(fields, func(f field) bool { return key.Kind == yaml.ScalarNode && f.name == key.Value })
		switch {
		case at >= 0:
			fields[at].read(value)
		case hasVariable(key):
			d.variable(key, "a field of "+name)
		default:
			d.unknown(key, name, fields)
		}
	})
}

// entries reads a mapping, each key of it at most once. A null is empty.
func (d *decoder) entries(n *yaml.Node, name string, read func(key, value *yaml.Node)) {
	switch {
	case isNull(n):
		return
	case hasVariable(n):
		d.variable(n, "field "+name)
		return
	case n.Kind != yaml.MappingNode:
		d.wrongType(n, name, "object")
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if line, twice := lines[key.Value]; twice {
			d.lint(key, "field %s already defined at line %d: remove one", printable(key.Value), line)
			continue
		}
		lines[key.Value] = key.Line
		read(key, value)
	}
}

// unknown names the field that may have been meant, or all there are.
func (d *decoder) unknown(key *yaml.Node, name string, fields []field) {
	const mostSlips = 2
	// The spellings of other programs, such as maxAttempts and max-attempts,
	// are nearer than they look.
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	var names []string
	best, slips := "", mostSlips+1
	for _, f := range fields {
		names = append(names, f.name)
		if len(key.Value) > len(f.name)+2*mostSlips {
			continue
		}
		if n := levenshtein.ComputeDistance(plain(key.Value), plain(f.name)); n < slips {
			best, slips = f.name, n
		}
	}
	if best != "" {
		d.lint(key, "field %s not recognised, did you mean %s?", printable(key.Value), best)
		return
	}
	d.lint(key, "field %s not recognised, %s takes %s", printable(key.Value), name, list(names, "and"))
}

// choice reads one of the given words.
func (d *decoder) choice(n *yaml.Node, name string, words []string) string {
	if !d.scalar(n, name, "string", "!!str") {
		return ""
	}
	if !slices.Contains(words, n.Value) {
		d.lint(n, "field %s: value %s is not a valid option for this field, expected %s", name, printable(n.Value), list(words, "or"))
		return ""
	}
	return n.Value
}

// integer reads a whole number from least to most.
func (d *decoder) integer(n *yaml.Node, name string, least, most int) int {
	if !d.scalar(n, name, "integer", "!!int") {
		return 0
	}
	var value int
	if n.Decode(&value) != nil || value < least || value > most {
		d.lint(n, "field %s: expected an integer from %d to %d, got %s", name, least, most, printable(n.Value))
		return 0
	}
	return value
}

// duration reads a length of time, written with its unit, from least to most.
func (d *decoder) duration(n *yaml.Node, name string, least, most time.Duration) time.Duration {
	if tag := n.ShortTag(); n.Kind == yaml.ScalarNode && (tag == "!!int" || tag == "!!float") {
		d.lint(n, "field %s: the duration %s has no unit, write for example 100ms or 1m30s", name, printable(n.Value))
		return 0
	}
	if !d.scalar(n, name, "string", "!!str") {
		return 0
	}
	value, err := time.ParseDuration(n.Value)
	switch {
	case err != nil:
		d.lint(n, "field %s: %s is not a duration, write for example 100ms or 1m30s", name, printable(n.Value))
		return 0
	case value < least || value > most:
		d.lint(n, "field %s: expected a duration from %s to %s, got %s", name, text(least), text(most), printable(n.Value))
		return 0
	}
	return value
}

// scalar says whether the node is one of the wanted tag. If not, it says why.
func (d *decoder) scalar(n *yaml.Node, name, want, tag string) bool {
	switch {
	case hasVariable(n):
		d.variable(n, "field "+name)
	case n.Kind != yaml.ScalarNode || n.ShortTag() != tag:
		d.wrongType(n, name, want)
	default:
		return true
	}
	return false
}

func (d *decoder) wrongType(n *yaml.Node, name, want string) {
	d.lint(n, "field %s: expected %s, got %s", name, want, typeOf(n))
}

func (d *decoder) variable(n *yaml.Node, where string) {
	d.lint(n, "%s: %s is not replaced here, since the supervisor reads this block and it takes no variables: write the value itself",
		where, printable(n.Value))
}

func hasVariable(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "${")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// typeOf names a node's type as JSON does.
func typeOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "object"
	case yaml.SequenceNode:
		return "array"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "null"
		case "!!bool":
			return "boolean"
		case "!!int", "!!float":
			return "number " + printable(n.Value)
		case "!!str":
			return "string " + printable(n.Value)
		}
	}
	return "a value tagged " + printable(n.ShortTag())
}

// text writes a duration without its empty parts: 24h instead of 24h0m0s.
func text(d time.Duration) string {
	s := d.String()
	if before, found := strings.CutSuffix(s, "m0s"); found {
		s = before + "m"
	}
	if before, found := strings.CutSuffix(s, "h0m"); found {
		s = before + "h"
	}
	return s
}

func list(words []string, conjunction string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

// printable keeps a message on one line of sensible length.
func printable(s string) string {
	const longest = 80
	if s == "" {
		return `""`
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return s
}

package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// tree is a parsed text. Its nodes are free of aliases and merge keys, though
// one node may hang in several places; scalars still hold mask words.
type tree struct {
	root *yaml.Node // nil for an empty text
	mask *masker
	// rewritten says that aliases or merge keys were expanded, so the text
	// is not what the tree says.
	rewritten bool
}

// read parses one text with a masker of its own.
func read(text []byte) (*tree, error) {
	m, err := newMasker(text)
	if err != nil {
		return nil, err
	}
	t, shifts, err := readWith(m, text)
	if err != nil {
		return nil, err
	}
	place(t.root, shifts)
	return t, nil
}

// readWith parses a text. Nodes carry the positions they have in the masked
// text; shifts lead from there to the text itself.
func readWith(m *masker, text []byte) (*tree, []lineShift, error) {
	if err := checkUTF8(text); err != nil {
		return nil, nil, err
	}
	masked, shifts, err := m.mask(text)
	if err != nil {
		return nil, nil, err
	}
	root, err := parse(masked)
	t := &tree{root: root, mask: m}
	if err == nil && root != nil {
		e := newExpander(m, len(text))
		t.root, err = e.expand(root)
		t.rewritten = e.rewritten
	}
	if err != nil {
		return nil, nil, placeError(err, shifts)
	}
	return t, shifts, nil
}

func checkUTF8(text []byte) error {
	if utf8.Valid(text) {
		return nil
	}
	line := 1
	for i := 0; i < len(text); {
		r, width := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && width == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		i += width
	}
	return errorAt(line, 0, "the text is not UTF-8: convert it")
}

// parse guards the text, then parses it into nodes. An empty text has none.
func parse(text []byte) (root *yaml.Node, err error) {
	if err := scan(text); err != nil {
		return nil, err
	}
	defer func() {
		// The parser panics on a few malformed texts.
		if fault := recover(); fault != nil {
			root, err = nil, &Error{Msg: "yaml: " + printable(fmt.Sprint(fault))}
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, yamlError(err)
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
		return first.Content[0], nil
	case err != nil:
		return nil, yamlError(err)
	}
	return nil, errorAt(second.Line, 0, "the text holds more than one YAML document: send one, without a second \"---\"")
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func yamlError(err error) *Error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{Msg: "yaml: " + printable(message)}
	if found := yamlLine.FindStringSubmatch(e.Msg); found != nil {
		e.Line, _ = strconv.Atoi(found[1])
	}
	return e
}

// placeError moves the error's line from the masked text to the posted one.
func placeError(err error, shifts []lineShift) error {
	var e *Error
	if !errors.As(err, &e) || len(shifts) == 0 || e.Line == 0 {
		return err
	}
	moved := *e
	moved.Line = postedLine(shifts, e.Line)
	if prefix := yamlLine.FindString(e.Msg); prefix != "" {
		moved.Msg = fmt.Sprintf("yaml: line %d: %s", moved.Line, e.Msg[len(prefix):])
	}
	return &moved
}

// place moves the nodes' lines from the masked text to the posted one.
func place(root *yaml.Node, shifts []lineShift) {
	if root == nil || len(shifts) == 0 {
		return
	}
	moved := map[*yaml.Node]bool{}
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		if moved[n] {
			return
		}
		moved[n] = true
		n.Line = postedLine(shifts, n.Line)
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(root)
}

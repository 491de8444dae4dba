package document

import "bytes"

// Limits of a document, after aliases and merge keys are expanded.
const (
	// maxNodes counts mappings, sequences, keys and values.
	maxNodes = 100_000
	// maxDepth counts mappings and sequences around a value.
	maxDepth = 100
	// maxGrowth is how many bytes the aliases of a document may add to it.
	maxGrowth = 16 << 20
	// maxDirectives counts lines such as %TAG, which the parser compares with
	// each other.
	maxDirectives = 16
	// maxSimpleKey is the longest key, in characters, that YAML accepts
	// without a leading "? ".
	maxSimpleKey = 1024
)

// scan refuses a text that nests too deep or holds too many nodes, in one pass
// that allocates next to nothing. The YAML parser has no such limits: it turns
// 4 MiB of "[a,a,a" into a gigabyte of nodes before anybody can count them.
//
// The scanner follows the parser's own rules for tokens, and it errs on the
// lenient side: it counts no node that the parser would not make, and leaves
// every syntax error to the parser.
func scan(text []byte) error {
	s := newScanner(text)
	for s.next() {
		if s.nodes > maxNodes {
			return errorAt(s.line+1, s.column+1, "the document has more than %d nodes: split it", maxNodes)
		}
		if s.flow+len(s.indents) > maxDepth {
			return errorAt(s.line+1, s.column+1, "the document nests more than %d deep: flatten it", maxDepth)
		}
		if s.directives > maxDirectives {
			return errorAt(s.line+1, s.column+1, "the document has more than %d directives (lines that start with %%): remove them", maxDirectives)
		}
	}
	return nil
}

// simpleKey is a place where a key without "? " may have started.
type simpleKey struct {
	possible            bool
	line, column, index int
}

type scanner struct {
	text []byte
	pos  int // bytes
	// line and column are 0-based; column and index count characters.
	line, column, index int

	flow    int   // open [ and {
	indent  int   // column of the innermost block collection, -1 outside
	indents []int // the outer ones' indents
	keys    []simpleKey
	// keyAllowed says that a key may start at the next token.
	keyAllowed bool

	nodes int
	// pending says that the last token announced a node ("- ", "? ", ": ")
	// which has not come yet; when none comes, it is an empty node.
	pending    bool
	directives int
}

func newScanner(text []byte) *scanner {
	// A byte order mark at the very start is no character of the text.
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	return &scanner{text: text, indent: -1, keyAllowed: true, keys: make([]simpleKey, 1, 16)}
}

// next consumes one token. It returns false at the end of the text and at
// anything the parser will refuse.
func (s *scanner) next() bool {
	s.skipSpace()
	s.unroll(s.column)
	if s.end(0) {
		return false
	}
	if s.column == 0 && (s.at(0) == '%' || s.documentMark()) {
		return s.documentToken()
	}
	switch c := s.at(0); {
	case c == '[' || c == '{':
		s.saveKey()
		s.keys = append(s.keys, simpleKey{})
		s.flow++
		s.keyAllowed = true
		s.node()
		s.advance()
	case c == ']' || c == '}':
		s.dropKey()
		if s.flow > 0 {
			s.flow--
			s.keys = s.keys[:len(s.keys)-1]
		}
		s.keyAllowed = false
		s.settle()
		s.advance()
	case c == ',':
		s.dropKey()
		s.keyAllowed = true
		s.settle()
		s.advance()
	case c == '-' && s.blankOrEnd(1):
		return s.entry()
	case c == '?' && (s.flow > 0 || s.blankOrEnd(1)):
		return s.key()
	case c == ':' && (s.flow > 0 || s.blankOrEnd(1)):
		return s.value()
	case c == '*' || c == '&':
		s.saveKey()
		s.keyAllowed = false
		if c == '*' {
			s.node()
		}
		s.advance()
		for s.word() {
			s.advance()
		}
	case c == '!':
		s.saveKey()
		s.keyAllowed = false
		for !s.blankOrEnd(0) {
			s.advance()
		}
	case (c == '|' || c == '>') && s.flow == 0:
		s.dropKey()
		s.keyAllowed = true
		s.node()
		return s.blockScalar()
	case c == '\'' || c == '"':
		s.saveKey()
		s.keyAllowed = false
		s.node()
		return s.quoted(c)
	case s.plainStart(c):
		s.saveKey()
		s.keyAllowed = false
		s.node()
		return s.plain()
	default:
		return false
	}
	return true
}

// documentToken consumes "---", "..." or a directive line.
func (s *scanner) documentToken() bool {
	s.unroll(-1)
	s.dropKey()
	s.keyAllowed = false
	s.pending = false
	if s.at(0) == '%' {
		s.directives++
		s.skipLine()
		return true
	}
	for range 3 {
		s.advance()
	}
	return true
}

// entry consumes the "-" of a block sequence.
func (s *scanner) entry() bool {
	if s.flow == 0 {
		if !s.keyAllowed {
			return false
		}
		s.roll(s.column)
	}
	s.dropKey()
	s.keyAllowed = true
	s.announce()
	s.advance()
	return true
}

// key consumes the "?" of an explicit key.
func (s *scanner) key() bool {
	if s.flow == 0 {
		if !s.keyAllowed {
			return false
		}
		s.roll(s.column)
	}
	s.dropKey()
	s.keyAllowed = s.flow == 0
	s.announce()
	s.advance()
	return true
}

// value consumes the ":" between a key and its value. Only here does the
// scanner learn that what came before was a key, and so opened a mapping.
func (s *scanner) value() bool {
	key := &s.keys[len(s.keys)-1]
	if key.possible && key.line == s.line && key.index+maxSimpleKey >= s.index {
		s.roll(key.column)
		key.possible = false
		s.keyAllowed = false
	} else {
		if s.flow == 0 {
			if !s.keyAllowed {
				return false
			}
			s.roll(s.column)
		}
		s.keyAllowed = s.flow == 0
	}
	s.announce()
	s.advance()
	return true
}

// roll opens a block collection when the column is right of the current one.
func (s *scanner) roll(column int) {
	if s.flow > 0 || s.indent >= column {
		return
	}
	s.indents = append(s.indents, s.indent)
	s.indent = column
	s.node()
}

// unroll closes the block collections that are right of the column.
func (s *scanner) unroll(column int) {
	if s.flow > 0 {
		return
	}
	for s.indent > column {
		s.indent = s.indents[len(s.indents)-1]
		s.indents = s.indents[:len(s.indents)-1]
	}
}

func (s *scanner) saveKey() {
	if s.keyAllowed {
		s.keys[len(s.keys)-1] = simpleKey{possible: true, line: s.line, column: s.column, index: s.index}
	}
}

func (s *scanner) dropKey() { s.keys[len(s.keys)-1].possible = false }

// node counts a node that is certainly there.
func (s *scanner) node() {
	s.nodes++
	s.pending = false
}

// settle counts the node that was announced and did not come: an empty one.
func (s *scanner) settle() {
	if s.pending {
		s.node()
	}
}

func (s *scanner) announce() {
	s.settle()
	s.pending = true
}

package document

import "gopkg.in/yaml.v3"

// token is one of a text's tokens, as far as it takes to cut the text.
type token struct {
	start, end int // bytes; the end may include blanks and line breaks
	// line and column are 1-based, as a node's.
	line, column int
	kind         byte // the first one of the token
	flow         int  // open [ and { before the token
	mark         bool // "---" or "..."
}

// tokensOf returns the tokens of a text that the parser has accepted.
func tokensOf(text []byte) []token {
	s := newScanner(text)
	skipped := len(text) - len(s.text)
	var tokens []token
	for {
		s.skipSpace()
		if s.end(0) {
			return tokens
		}
		t := token{
			start: skipped + s.pos, line: s.line + 1, column: s.column + 1,
			kind: s.at(0), flow: s.flow, mark: s.column == 0 && s.documentMark(),
		}
		more := s.next()
		t.end = skipped + s.pos
		tokens = append(tokens, t)
		if !more {
			return tokens
		}
	}
}

// indexOfKey returns the index of the token that an entry starts with, -1 when
// there is none at the key's place.
func indexOfKey(tokens []token, key *yaml.Node) int {
	for i, t := range tokens {
		if t.line != key.Line || t.column != key.Column {
			continue
		}
		if i > 0 && tokens[i-1].isExplicitKey() {
			return i - 1
		}
		return i
	}
	return -1
}

// isExplicitKey says whether the token is the "?" before a key, and not a word
// that starts with one.
func (t token) isExplicitKey() bool { return t.kind == '?' && t.end-t.start == 1 }

// endOfFlowEntry returns the index of the "," or "}" after an entry of the
// outermost mapping.
func endOfFlowEntry(tokens []token, from int) int {
	for i := from; i < len(tokens); i++ {
		if t := tokens[i]; t.flow == 1 && (t.kind == ',' || t.kind == '}') {
			return i
		}
	}
	return len(tokens)
}

// endOfDocument returns the index of the "..." after the document, or the
// number of tokens.
func endOfDocument(tokens []token, from int) int {
	for i := from; i < len(tokens); i++ {
		if tokens[i].mark {
			return i
		}
	}
	return len(tokens)
}

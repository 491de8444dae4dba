package document

import "bytes"

// An expression is what the engine replaces textually before it parses a
// config: ${NAME}, ${NAME:default} or ${NAME:default|function}, where a default
// may hold further ${...}, and ${{...}}, the escaped form of the same. It may
// go on over lines.

var (
	opening        = []byte("${")
	escapedOpening = []byte("${{")
)

// expressions finds the expressions of a text from left to right, in time
// linear in its length.
type expressions struct {
	text []byte
	// brace is the first "}" at or after searched, the text's length for none.
	brace, searched int
}

func newExpressions(text []byte) *expressions { return &expressions{text: text, brace: -1} }

// hasExpression says whether the engine would replace something in the text.
func hasExpression(text []byte) bool {
	_, _, found := newExpressions(text).next(0)
	return found
}

// next returns where the first expression at or after from starts and ends.
func (e *expressions) next(from int) (start, end int, found bool) {
	for {
		i := bytes.Index(e.text[from:], opening)
		if i < 0 {
			return 0, 0, false
		}
		start = from + i
		if end := e.match(start); end > 0 {
			return start, end, true
		}
		from = start + len(opening)
	}
}

// match returns the end of the expression that starts at a "${", 0 for none.
func (e *expressions) match(start int) int {
	if bytes.HasPrefix(e.text[start:], escapedOpening) {
		return e.matchEscaped(start + len(escapedOpening))
	}
	at := e.skip(start+len(opening), isName)
	if at == start+len(opening) || at == len(e.text) {
		return 0
	}
	switch e.text[at] {
	case '}':
		return at + 1
	case '|':
		end := e.skip(at+1, isAlphanumeric)
		if end > at+1 && end < len(e.text) && e.text[end] == '}' {
			return end + 1
		}
		return 0
	case ':':
		return e.matchDefault(at + 1)
	}
	return 0
}

// matchDefault returns the end of an expression whose default starts at the
// given place: after the first "}" that closes no ${...} within, or after the
// last "}" of all when each closes one.
func (e *expressions) matchDefault(at int) int {
	last := 0
	for {
		brace, inner := e.step(at)
		switch {
		case brace < 0:
			return last
		case !inner:
			return brace + 1
		}
		last, at = brace+1, brace+1
	}
}

// matchEscaped returns the end of an escaped expression whose name starts at
// the given place. It gives up on a default that is long or holds many ${...}:
// failing late, again and again, would take quadratic time.
func (e *expressions) matchEscaped(nameAt int) int {
	const mostInner, longest = 8, 4096
	at := e.skip(nameAt, isName)
	if at == nameAt || at == len(e.text) {
		return 0
	}
	if e.text[at] == '}' {
		if e.doubled(at) {
			return at + 2
		}
		return 0
	}
	if e.text[at] != ':' {
		return 0
	}
	last := 0
	for range mostInner {
		if brace := e.closing(at); brace < 0 || brace-nameAt > longest {
			return last
		}
		brace, inner := e.step(at)
		if e.doubled(brace) {
			last = brace + 2
		}
		if !inner {
			return last
		}
		at = brace + 1
	}
	return last
}

// step returns the next "}", -1 for none, and whether it closes a ${...} that
// is not empty.
func (e *expressions) step(at int) (brace int, inner bool) {
	brace = e.closing(at)
	if brace < 0 {
		return -1, false
	}
	open := bytes.Index(e.text[at:brace], opening)
	return brace, open >= 0 && at+open+len(opening) < brace
}

// closing returns the first "}" at or after the place, -1 for none. It
// remembers the answer, which holds for all places up to it.
func (e *expressions) closing(at int) int {
	if known := e.searched <= at && at <= e.brace; !known {
		e.searched, e.brace = at, len(e.text)
		if i := bytes.IndexByte(e.text[at:], '}'); i >= 0 {
			e.brace = at + i
		}
	}
	if e.brace == len(e.text) {
		return -1
	}
	return e.brace
}

// doubled says whether the "}" at the place is followed by another.
func (e *expressions) doubled(at int) bool { return at+1 < len(e.text) && e.text[at+1] == '}' }

func (e *expressions) skip(at int, is func(byte) bool) int {
	for at < len(e.text) && is(e.text[at]) {
		at++
	}
	return at
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func isName(c byte) bool { return isAlphanumeric(c) || c == '_' || c == '.' }

package document

import "unicode/utf8"

// This file holds the scanner's walk over characters, lines and scalars.

// at returns the byte n bytes ahead, 0 past the end.
func (s *scanner) at(n int) byte {
	if s.pos+n >= len(s.text) {
		return 0
	}
	return s.text[s.pos+n]
}

func (s *scanner) end(n int) bool { return s.at(n) == 0 }

func (s *scanner) blank(n int) bool { return s.at(n) == ' ' || s.at(n) == '\t' }

// lineBreak returns the length in bytes of the line break n bytes ahead, 0 for
// none. YAML counts NEL, LS and PS as line breaks too.
func (s *scanner) lineBreak(n int) int {
	switch s.at(n) {
	case '\n':
		return 1
	case '\r':
		if s.at(n+1) == '\n' {
			return 2
		}
		return 1
	case 0xC2:
		if s.at(n+1) == 0x85 {
			return 2
		}
	case 0xE2:
		if s.at(n+1) == 0x80 && (s.at(n+2) == 0xA8 || s.at(n+2) == 0xA9) {
			return 3
		}
	}
	return 0
}

func (s *scanner) blankOrEnd(n int) bool {
	return s.end(n) || s.blank(n) || s.lineBreak(n) > 0
}

// word says whether the next character may be part of an anchor's name.
func (s *scanner) word() bool {
	c := s.at(0)
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-'
}

// advance consumes one character that is not a line break.
func (s *scanner) advance() {
	width := 1
	if c := s.text[s.pos]; c >= utf8.RuneSelf {
		_, width = utf8.DecodeRune(s.text[s.pos:])
	}
	s.pos += width
	s.column++
	s.index++
}

// breakLine consumes a line break of the given length.
func (s *scanner) breakLine(length int) {
	s.pos += length
	s.line++
	s.column = 0
	s.index++
}

// skipLine consumes the rest of the line, but not its break.
func (s *scanner) skipLine() {
	for !s.end(0) && s.lineBreak(0) == 0 {
		s.advance()
	}
}

// skipSpace consumes blanks, comments and line breaks up to the next token.
func (s *scanner) skipSpace() {
	for {
		if s.column == 0 && s.at(0) == 0xEF && s.at(1) == 0xBB && s.at(2) == 0xBF {
			s.advance()
		}
		for s.at(0) == ' ' || s.at(0) == '\t' && (s.flow > 0 || !s.keyAllowed) {
			s.advance()
		}
		if s.at(0) == '#' {
			s.skipLine()
		}
		length := s.lineBreak(0)
		if length == 0 {
			return
		}
		s.breakLine(length)
		if s.flow == 0 {
			s.keyAllowed = true
		}
	}
}

// documentMark says whether "---" or "..." is at this place.
func (s *scanner) documentMark() bool {
	c := s.at(0)
	return (c == '-' || c == '.') && s.at(1) == c && s.at(2) == c && s.blankOrEnd(3)
}

// plainStart says whether the character may start an unquoted scalar.
func (s *scanner) plainStart(c byte) bool {
	switch c {
	case '-':
		return !s.blank(1)
	case '?', ':':
		return s.flow == 0 && !s.blankOrEnd(1)
	case ' ', '\t', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`':
		return false
	}
	return true
}

// plain consumes an unquoted scalar, which may go on over lines that are
// indented further than the collection around it.
func (s *scanner) plain() bool {
	newLine := false
	for {
		if s.column == 0 && s.documentMark() || s.at(0) == '#' {
			break
		}
		for !s.blankOrEnd(0) {
			c := s.at(0)
			if c == ':' && s.blankOrEnd(1) {
				break
			}
			if s.flow > 0 && (c == ',' || c == '?' || c == '[' || c == ']' || c == '{' || c == '}') {
				break
			}
			newLine = false
			s.advance()
		}
		if s.end(0) || !s.blankOrEnd(0) {
			break
		}
		for s.blankOrEnd(0) && !s.end(0) {
			if length := s.lineBreak(0); length > 0 {
				newLine = true
				s.breakLine(length)
				continue
			}
			if newLine && s.column <= s.indent && s.at(0) == '\t' {
				return false
			}
			s.advance()
		}
		if s.flow == 0 && s.column <= s.indent {
			break
		}
	}
	if newLine {
		s.keyAllowed = true
	}
	return true
}

// quoted consumes a single-quoted or double-quoted scalar.
func (s *scanner) quoted(quote byte) bool {
	s.advance()
	for {
		if s.end(0) || s.column == 0 && s.documentMark() {
			return false
		}
		c := s.at(0)
		switch length := s.lineBreak(0); {
		case length > 0:
			s.breakLine(length)
		case c == '\'' && quote == c && s.at(1) == c:
			s.advance()
			s.advance()
		case c == '\\' && quote == '"':
			s.advance()
			if s.end(0) {
				return false
			}
			if s.lineBreak(0) == 0 {
				s.advance()
			}
		case c == quote:
			s.advance()
			return true
		default:
			s.advance()
		}
	}
}

// blockScalar consumes a literal ("|") or folded (">") scalar.
func (s *scanner) blockScalar() bool {
	s.advance()
	indent := 0
	for c := s.at(0); c == '+' || c == '-' || c >= '1' && c <= '9'; c = s.at(0) {
		if c >= '1' && c <= '9' {
			indent = int(c-'0') + max(s.indent, 0)
		}
		s.advance()
	}
	for s.blank(0) {
		s.advance()
	}
	if s.at(0) == '#' {
		s.skipLine()
	}
	length := s.lineBreak(0)
	if length == 0 {
		return s.end(0)
	}
	s.breakLine(length)

	if !s.blockIndent(&indent) {
		return false
	}
	for s.column == indent && !s.end(0) {
		s.skipLine()
		if length := s.lineBreak(0); length > 0 {
			s.breakLine(length)
		}
		if !s.blockIndent(&indent) {
			return false
		}
	}
	return true
}

// blockIndent consumes empty lines and the indentation of the next line of a
// block scalar; an indent of 0 is set to what the first line shows.
func (s *scanner) blockIndent(indent *int) bool {
	widest := 0
	for {
		for (*indent == 0 || s.column < *indent) && s.at(0) == ' ' {
			s.advance()
		}
		widest = max(widest, s.column)
		if (*indent == 0 || s.column < *indent) && s.at(0) == '\t' {
			return false
		}
		length := s.lineBreak(0)
		if length == 0 {
			break
		}
		s.breakLine(length)
	}
	if *indent == 0 {
		*indent = max(widest, s.indent+1, 1)
	}
	return true
}

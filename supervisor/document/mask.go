package document

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A mask word stands for one expression: the mark, two digits that number the
// expression, filler up to the expression's own length so that columns stay,
// and the mark again.
const (
	firstMark, lastMark = '\uE000', '\uEFFF' // private use, and printable to the YAML emitter
	firstDigit          = '\u4E00'
	digitBase           = 1024
	filler              = '_'
	// maxExpressions is far below what two digits can number.
	maxExpressions = 100_000
)

// masker swaps expressions for plain words before a text is parsed, and puts
// them back afterwards. One masker serves all texts whose nodes are mixed.
type masker struct {
	mark        rune // 0 when no text has an expression
	expressions []string
}

// newMasker returns a masker whose words cannot occur in the given texts.
func newMasker(texts ...[]byte) (*masker, error) {
	m := &masker{}
	if !anyContains(texts, "${") {
		return m, nil
	}
	var taken [lastMark + 1 - firstMark]bool
	for _, text := range texts {
		takeMarks(text, &taken)
	}
	for i, used := range taken {
		if !used {
			m.mark = firstMark + rune(i)
			return m, nil
		}
	}
	return nil, &Error{Msg: "the document uses every private-use character from U+E000 to U+EFFF: remove some"}
}

func anyContains(texts [][]byte, part string) bool {
	for _, text := range texts {
		if bytes.Contains(text, []byte(part)) {
			return true
		}
	}
	return false
}

// takeMarks notes every mark in the text, written as itself or as an escape
// such as \uE000.
func takeMarks(text []byte, taken *[lastMark + 1 - firstMark]bool) {
	for i, c := range text {
		switch {
		case c == 0xEE:
			if r, _ := utf8.DecodeRune(text[i:]); r >= firstMark && r <= lastMark {
				taken[r-firstMark] = true
			}
		case (c == 'e' || c == 'E') && i+4 <= len(text):
			if r, err := strconv.ParseUint(string(text[i:i+4]), 16, 32); err == nil {
				taken[rune(r)-firstMark] = true
			}
		}
	}
}

// lineShift says that lines after this one were further down in the posted
// text: the expression replaced on it held line breaks.
type lineShift struct{ after, lines int }

// mask returns the text with its expressions replaced.
func (m *masker) mask(text []byte) ([]byte, []lineShift, error) {
	if m.mark == 0 {
		return text, nil, nil
	}
	var shifts []lineShift
	out := make([]byte, 0, len(text)+len(text)/4)
	found := newExpressions(text)
	line, rest := 1, 0
	for {
		start, end, more := found.next(rest)
		if !more {
			break
		}
		line += bytes.Count(text[rest:start], []byte("\n"))
		if len(m.expressions) == maxExpressions {
			return nil, nil, errorAt(line, 0, "the document has more than %d ${...} expressions: split it", maxExpressions)
		}
		out = append(out, text[rest:start]...)
		whole := text[start:end]
		out = m.appendWord(out, whole)
		if breaks := bytes.Count(whole, []byte("\n")); breaks > 0 {
			shifts = append(shifts, lineShift{after: line, lines: breaks})
		}
		rest = end
	}
	return append(out, text[rest:]...), shifts, nil
}

func (m *masker) appendWord(out, whole []byte) []byte {
	n := rune(len(m.expressions))
	m.expressions = append(m.expressions, string(whole))
	out = utf8.AppendRune(out, m.mark)
	out = utf8.AppendRune(out, firstDigit+n/digitBase)
	out = utf8.AppendRune(out, firstDigit+n%digitBase)
	for i := utf8.RuneCount(whole); i > 4; i-- {
		out = append(out, filler)
	}
	return utf8.AppendRune(out, m.mark)
}

func (m *masker) isMark(r rune) bool { return m.mark != 0 && r == m.mark }

// masked says whether the string holds a mask word.
func (m *masker) masked(s string) bool {
	return m.mark != 0 && strings.ContainsRune(s, m.mark)
}

// unmask puts the expressions back.
func (m *masker) unmask(s string) string {
	if !m.masked(s) {
		return s
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, string(m.mark))
		out.WriteString(before)
		if !found {
			return out.String()
		}
		word, after, _ := strings.Cut(rest, string(m.mark))
		digits := []rune(strings.TrimRight(word, string(filler)))
		if len(digits) == 2 {
			n := int(digits[0]-firstDigit)*digitBase + int(digits[1]-firstDigit)
			if n >= 0 && n < len(m.expressions) {
				out.WriteString(m.expressions[n])
			}
		}
		s = after
	}
}

// postedLine maps a line of a masked text to one of the text before masking.
func postedLine(shifts []lineShift, line int) int {
	posted := line
	for _, s := range shifts {
		if s.after >= line {
			break
		}
		posted += s.lines
	}
	return posted
}

// printable replaces what would break a one-line message.
func printable(s string) string {
	const longest = 120
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return s
}

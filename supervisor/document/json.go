package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
)

// yamlEscapes rewrites the two escapes that JSON has and the YAML parser
// refuses: an escaped slash, and a character written as a surrogate pair.
// Encoders in other languages emit both. Any other text is returned as it is.
func yamlEscapes(text []byte) []byte {
	suspect := bytes.Contains(text, []byte(`\/`)) || bytes.Contains(text, []byte(`\ud`)) || bytes.Contains(text, []byte(`\uD`))
	if !suspect || !json.Valid(text) {
		return text
	}
	// Valid JSON has backslashes in strings only, and none stands alone.
	out := make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(out, text...)
		}
		out = append(out, text[:i]...)
		text = text[i:]
		pair := surrogatePair(text)
		switch {
		case pair > 0:
			out = fmt.Appendf(out, `\U%08X`, pair)
			text = text[12:]
		case text[1] == '/':
			out = append(out, '/')
			text = text[2:]
		default:
			out = append(out, text[:2]...)
			text = text[2:]
		}
	}
}

// surrogatePair returns the character that \uD83D\uDE00 and its like stand for
// at the start of the text, 0 when there is none.
func surrogatePair(text []byte) rune {
	high, low := unicodeEscape(text), rune(0)
	if utf16.IsSurrogate(high) {
		low = unicodeEscape(text[6:])
	}
	const replacement = '\uFFFD'
	if r := utf16.DecodeRune(high, low); r != replacement {
		return r
	}
	return 0
}

// unicodeEscape returns what a \u escape at the start of the text stands for,
// 0 when there is none.
func unicodeEscape(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	r, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(r)
}

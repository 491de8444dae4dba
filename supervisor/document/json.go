package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf16"
)

var (
	jsonOnlyEscape = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?s:.))`)
	surrogates     = []byte(`\ud`)
	slash          = []byte(`\/`)
)

// yamlEscapes rewrites the two escapes that JSON has and the YAML parser
// refuses: an escaped slash, and a character written as a surrogate pair.
// Encoders in other languages emit both. Any other text is returned as it is.
func yamlEscapes(text []byte) []byte {
	suspect := bytes.Contains(text, slash) || bytes.Contains(bytes.ToLower(text), surrogates)
	if !suspect || !json.Valid(text) {
		return text
	}
	return jsonOnlyEscape.ReplaceAllFunc(text, func(escape []byte) []byte {
		switch {
		case bytes.Equal(escape, slash):
			return []byte("/")
		case len(escape) > 2:
			high, _ := strconv.ParseUint(string(escape[2:6]), 16, 32)
			low, _ := strconv.ParseUint(string(escape[8:12]), 16, 32)
			return fmt.Appendf(nil, `\U%08X`, utf16.DecodeRune(rune(high), rune(low)))
		default:
			return escape
		}
	})
}

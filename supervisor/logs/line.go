package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxLine is how many bytes of a line are kept. The rest is left out, and the
// line ends with a mark that says how much that was.
const MaxLine = 1 << 20

// sourceReader is the source of lines that the reader itself adds.
const sourceReader Source = "penstock"

// Line is one line of a log.
type Line struct {
	source Source
	// text has no newline; it is the line's own.
	text []byte
	// cut is how many bytes of the line were left out at its end.
	cut int64
}

// JSON gives the line as one JSON object without a newline. A line of the
// structured log is given as the runner wrote it (time, level, msg and
// attributes). Any other has no time and no level of its own:
//
//	{"source":"output","msg":"the line"}
//
// The same, with "source":"log", is made of a line of the structured log that
// is not a JSON object, since a crash has torn it or it was cut. A line that
// tells of missing lines has "source":"penstock". The caller must not change
// the bytes.
func (l Line) JSON() []byte {
	if l.isObject() {
		if !utf8.Valid(l.text) {
			return bytes.ToValidUTF8(l.text, []byte("\uFFFD"))
		}
		return l.text
	}
	return encode(struct {
		Source Source `json:"source"`
		Msg    string `json:"msg"`
	}{l.source, l.message()})
}

// Text gives the line for a human reader, without a newline: time, level,
// message, and the attributes as key=value in the order they were written. A
// line without them is given as it is. Control characters are escaped, so that
// no line can become two or reprogram a terminal.
func (l Line) Text() string {
	if l.isObject() {
		if text, ok := recordText(l.text); ok {
			return text
		}
	}
	return printable(l.message())
}

// isObject says whether the line is one JSON object of the structured log.
func (l Line) isObject() bool {
	return l.source != SourceOutput && l.cut == 0 && bytes.HasPrefix(l.text, []byte("{")) && json.Valid(l.text)
}

// message is the text with the mark of a cut.
func (l Line) message() string {
	text := string(bytes.TrimSuffix(l.text, []byte("\r")))
	if l.cut > 0 {
		text += fmt.Sprintf("… (%d bytes cut)", l.cut)
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// level is the line's severity; false when it has none. What a crash has left
// of a record has none: another record may follow it on the same line.
func (l Line) level() (slog.Level, bool) {
	if l.source == SourceOutput || !bytes.HasPrefix(l.text, []byte("{")) || l.cut == 0 && !json.Valid(l.text) {
		return 0, false
	}
	// The order in which slog writes; anything else takes longer.
	if rest, ok := bytes.CutPrefix(l.text, []byte(`{"time":"`)); ok {
		_, rest, _ = bytes.Cut(rest, []byte(`"`))
		if rest, ok = bytes.CutPrefix(rest, []byte(`,"level":"`)); ok {
			name, _, _ := bytes.Cut(rest, []byte(`"`))
			return parseLevel(string(name))
		}
	}
	return firstLevel(l.text)
}

// firstLevel finds the level in a JSON object whose end may be cut off.
func firstLevel(text []byte) (slog.Level, bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return 0, false
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return 0, false
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			return 0, false
		}
		if key == slog.LevelKey {
			name, ok := value.(string)
			if !ok {
				return 0, false
			}
			return parseLevel(name)
		}
	}
	return 0, false
}

func parseLevel(name string) (slog.Level, bool) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return 0, false
	}
	return level, true
}

// newNotice makes a line of the reader's own. It has no level that a filter
// knows, so that it is always given.
func newNotice(message string) Line {
	return Line{source: sourceReader, text: encode(struct {
		Time   time.Time `json:"time"`
		Source Source    `json:"source"`
		Msg    string    `json:"msg"`
	}{time.Now().UTC(), sourceReader, message})}
}

// encode is json.Marshal without the escapes meant for HTML.
func encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	// Structs of strings and a time of this century always encode.
	_ = enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// recordText writes a JSON object as one line for a human reader.
func recordText(object []byte) (string, bool) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return "", false
	}
	var at, level, message string
	var rest strings.Builder
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return "", false
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return "", false
		}
		switch key, _ := token.(string); key {
		case slog.TimeKey:
			at = printable(plain(value))
		case slog.LevelKey:
			level = printable(plain(value))
		case slog.MessageKey:
			message = printable(plain(value))
		default:
			rest.WriteString(" " + printable(key) + "=" + attribute(value))
		}
	}
	var line strings.Builder
	if at != "" {
		line.WriteString(at + " ")
	}
	if level != "" {
		fmt.Fprintf(&line, "%-5s ", level)
	}
	line.WriteString(message + rest.String())
	return line.String(), true
}

// plain is a JSON string's text, and any other value's JSON.
func plain(value json.RawMessage) string {
	var text string
	if isString(value) && json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

func isString(value json.RawMessage) bool { return bytes.HasPrefix(value, []byte(`"`)) }

// attribute is an attribute's value, in quotes where the end of a string could
// not be seen otherwise.
func attribute(value json.RawMessage) string {
	text := plain(value)
	isOdd := func(r rune) bool { return r == ' ' || r == '=' || r == '"' || !unicode.IsPrint(r) }
	if isString(value) && (text == "" || strings.ContainsFunc(text, isOdd)) {
		return strconv.Quote(text)
	}
	return printable(text)
}

// printable escapes what could move a terminal's cursor or break the line.
// Tabs stay.
func printable(text string) string {
	isOdd := func(r rune) bool { return r != '\t' && !unicode.IsGraphic(r) }
	if !strings.ContainsFunc(text, isOdd) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if !isOdd(r) {
			out.WriteRune(r)
			continue
		}
		escaped := strconv.QuoteRune(r)
		out.WriteString(escaped[1 : len(escaped)-1])
	}
	return out.String()
}

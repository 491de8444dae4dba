package document

import (
	"fmt"
	"strings"
)

// Error says what is wrong with a text, where, and what to do about it.
// It is always the client's to mend.
type Error struct {
	// Line and Column are 1-based positions in the posted text; 0 is unknown.
	Line, Column int
	// Msg is one line. Where the YAML parser found the fault it is that
	// parser's own text, which already names the line.
	Msg string
}

// Error returns one line that names the position when it is known.
func (e *Error) Error() string {
	switch {
	case e.Line == 0 || strings.HasPrefix(e.Msg, "yaml: "):
		return e.Msg
	case e.Column == 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
	default:
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
	}
}

func errorAt(line, column int, format string, args ...any) *Error {
	return &Error{Line: line, Column: column, Msg: fmt.Sprintf(format, args...)}
}

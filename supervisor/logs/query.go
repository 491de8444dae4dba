package logs

import (
	"fmt"
	"log/slog"
	"strings"
)

// Source says which of a stream's logs is meant.
type Source string

const (
	// SourceLog is the stream's structured log.
	SourceLog Source = "log"
	// SourceOutput is what the stream's components print, and a panic's text.
	SourceOutput Source = "output"
)

// Query says which lines are wanted.
type Query struct {
	// Tail is how many of the last lines to begin with; -1 means all that are
	// kept. Lines that Level leaves out do not count.
	Tail int
	// Follow waits for further lines at the end.
	Follow bool
	// Level is the least severe one wanted: debug, info, warn or error; empty
	// for all. A line that has no level, such as one that a crash has torn, is
	// always given.
	Level string
	// Source is SourceLog when empty.
	Source Source
}

// levels are the values of Query.Level.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// Validate says what is wrong with a query, and which values are right.
func (q Query) Validate() error {
	if q.Tail < -1 {
		return fmt.Errorf("tail is %d: give a number of lines, or -1 for all", q.Tail)
	}
	switch q.Source {
	case "", SourceLog, SourceOutput:
	default:
		return fmt.Errorf("source %q is not known: give %q or %q", q.Source, SourceLog, SourceOutput)
	}
	if q.Level == "" {
		return nil
	}
	if _, ok := levels[strings.ToLower(q.Level)]; !ok {
		return fmt.Errorf("level %q is not known: give debug, info, warn or error", q.Level)
	}
	if q.Source == SourceOutput {
		return fmt.Errorf("level is %q, but lines of the source %q have none: leave level out", q.Level, q.Source)
	}
	return nil
}

// wanted returns what decides whether a line is given; nil when all are.
func (q Query) wanted() func(Line) bool {
	least, ok := levels[strings.ToLower(q.Level)]
	if !ok {
		return nil
	}
	return func(l Line) bool {
		level, ok := l.level()
		return !ok || level >= least
	}
}

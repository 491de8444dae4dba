package runner

import (
	"log/slog"
	"strings"
	"sync/atomic"

	"penstock/rpc"
)

// maxError bounds the message of an error that is kept, in bytes.
const maxError = 1 << 10

// pathKey is the attribute by which the engine says which component it is that
// logs.
const pathKey = "path"

// lastError keeps the last error of a log: a component that fails again and
// again says so nowhere else.
type lastError struct {
	line atomic.Pointer[rpc.LoggedError]
}

// note keeps a line, of a logger with those attributes.
func (l *lastError) note(r slog.Record, attrs []slog.Attr) {
	message := r.Message
	if len(message) > maxError {
		message = strings.ToValidUTF8(message[:maxError], "")
	}
	kept := &rpc.LoggedError{At: r.Time, Message: strings.TrimSpace(message)}
	for _, a := range attrs {
		if a.Key == pathKey {
			kept.Path = a.Value.String()
		}
	}
	l.line.Store(kept)
}

// load is the last error, nil when there was none.
func (l *lastError) load() *rpc.LoggedError { return l.line.Load() }

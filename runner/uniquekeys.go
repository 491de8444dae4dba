package runner

import (
	"context"
	"log/slog"
	"slices"
)

// ownKeys are what the runner says in each line. A component's attribute of
// such a name gets componentPrefix before it: who reads the log is to tell by
// them when, how severe and of which stream a line is.
var ownKeys = []string{slog.TimeKey, slog.LevelKey, slog.MessageKey, streamKey}

const (
	streamKey = "stream"
	// componentPrefix is the one that the metrics have for the same reason.
	componentPrefix = "exported_"
)

// uniqueKeys is a handler that writes each key once: of equal ones the last
// counts. The handlers of slog write them all, and the engine gives every
// component a path in addition to that of the component around it.
type uniqueKeys struct {
	// base has none of the attributes, inner all of them.
	base, inner slog.Handler
	attrs       []slog.Attr
	// nested says that the keys are those of a group.
	nested bool
	// last is where the last error is noted.
	last *lastError
}

// newUniqueKeys writes to a handler that names the stream.
func newUniqueKeys(h slog.Handler, streamID string, last *lastError) *uniqueKeys {
	h = h.WithAttrs([]slog.Attr{slog.String(streamKey, streamID)})
	return &uniqueKeys{base: h, inner: h, last: last}
}

// Enabled implements slog.Handler.
func (u *uniqueKeys) Enabled(ctx context.Context, level slog.Level) bool {
	return u.inner.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (u *uniqueKeys) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		u.last.note(r, u.attrs)
	}
	if r.NumAttrs() == 0 {
		return u.inner.Handle(ctx, r)
	}
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	return u.with(attrs).inner.Handle(ctx, slog.NewRecord(r.Time, r.Level, r.Message, r.PC))
}

// WithAttrs implements slog.Handler.
func (u *uniqueKeys) WithAttrs(attrs []slog.Attr) slog.Handler { return u.with(attrs) }

func (u *uniqueKeys) with(attrs []slog.Attr) *uniqueKeys {
	all := slices.Clone(u.attrs)
	repeated := false
	for _, a := range flat(attrs) {
		if !u.nested && slices.Contains(ownKeys, a.Key) {
			a.Key = componentPrefix + a.Key
		}
		if i := slices.IndexFunc(all, func(b slog.Attr) bool { return a.Key == b.Key }); i >= 0 {
			all[i], repeated = a, true
			continue
		}
		all = append(all, a)
	}
	made := *u
	made.attrs = all
	if repeated {
		made.inner = u.base.WithAttrs(all)
	} else {
		// What the inner handler has encoded already is not encoded again.
		made.inner = u.inner.WithAttrs(all[len(u.attrs):])
	}
	return &made
}

// WithGroup implements slog.Handler.
func (u *uniqueKeys) WithGroup(name string) slog.Handler {
	if name == "" {
		return u
	}
	h := u.inner.WithGroup(name)
	return &uniqueKeys{base: h, inner: h, nested: true, last: u.last}
}

// flat puts the attributes of groups without a name in the groups' place, where
// they are written.
func flat(attrs []slog.Attr) []slog.Attr {
	nameless := func(a slog.Attr) bool { return a.Key == "" && a.Value.Kind() == slog.KindGroup }
	if !slices.ContainsFunc(attrs, nameless) {
		return attrs
	}
	var out []slog.Attr
	for _, a := range attrs {
		if nameless(a) {
			out = append(out, flat(a.Value.Group())...)
		} else {
			out = append(out, a)
		}
	}
	return out
}

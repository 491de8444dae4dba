package supervisor

import (
	"context"
	"errors"
)

// socketTakenError is the refusal of a config whose own listener is another
// stream's. It wraps ErrInvalid.
type socketTakenError struct {
	InvalidError
	// address is the one of both.
	address string
}

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *socketTakenError) Unwrap() error { return ErrInvalid }

// vacated are the addresses of own listeners that a set takes from the streams
// which have them, before those of its members are put into force that wait for
// an address. A stream that waits for one itself vacates nothing in time.
func (s *Supervisor) vacated(members []*member, absent []*stream) map[string]bool {
	holder := map[string]string{}
	for _, st := range s.existing() {
		holder[st.seen.Load().listens()] = st.id
	}
	out := map[string]bool{}
	for _, st := range absent {
		out[st.seen.Load().listens()] = true
	}
	for _, m := range members {
		if m.stream == nil {
			continue
		}
		next := m.spec.options.HTTP.Listen
		other, taken := holder[next]
		if next != "" && taken && other != m.id {
			continue
		}
		if now := m.stream.seen.Load().listens(); now != next {
			out[now] = true
		}
	}
	return out
}

// tryWithoutSocket finds out whether a config would build, were its own listener
// not another stream's for the time being.
func (s *Supervisor) tryWithoutSocket(ctx context.Context, m *member, resources resourceList) error {
	sp := m.spec
	sp.options.HTTP.Listen = ""
	inst, err := s.prepare(ctx, m.id, sp, resources, m.logLevel())
	if err == nil {
		inst.discard()
	}
	return err
}

// waitsForSocket says that a member could not be prepared since its own listener
// is one that the set takes from another.
func waitsForSocket(err error, vacated map[string]bool) bool {
	var taken *socketTakenError
	return errors.As(err, &taken) && vacated[taken.address]
}

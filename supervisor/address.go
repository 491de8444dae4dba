package supervisor

import (
	"context"
	"errors"
	"net"

	"penstock/supervisor/document"
)

// errAddressInUse marks the refusal of a config whose address may be free
// once the stream that holds it has stopped.
var errAddressInUse = errors.New("address in use")

// addressInUseError is an InvalidError that also wraps errAddressInUse.
type addressInUseError struct {
	InvalidError
	// address is the one that is in use, as host:port.
	address string
}

func (e *addressInUseError) Unwrap() []error { return []error{ErrInvalid, errAddressInUse} }

// tryElsewhere finds out whether all else of a config would build, were its
// address free: the engine names an address in use before what comes after it.
// A config that names its address by a variable cannot be tried and passes.
func (s *Supervisor) tryElsewhere(ctx context.Context, id string, sp spec, busy *addressInUseError) error {
	doc, err := elsewhere(sp.engine, busy.address)
	if err != nil {
		return &InvalidError{err.Error()}
	}
	sp.engine = doc
	inst, err := s.prepare(ctx, id, sp, s.resources.all(), defaultLogLevel)
	switch {
	case err == nil:
		inst.discard()
	case !errors.Is(err, errAddressInUse):
		return err
	}
	return nil
}

// elsewhere is the config with every address of that port replaced by one that
// is free.
func elsewhere(doc *document.Document, address string) (*document.Document, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return doc.Rewrite(func(scalar string) bool {
		_, p, err := net.SplitHostPort(scalar)
		return err == nil && p == port
	}, "127.0.0.1:0")
}

// heldByStream reports whether a stream's runner holds the address.
func (s *Supervisor) heldByStream(ctx context.Context, address string) bool {
	if s.sockets.holds(address) {
		// That is the supervisor's own, and stays.
		return false
	}
	for _, st := range s.everyone() {
		if v := st.seen.Load(); v.active() && v.current.proc.Listens(ctx, address) {
			return true
		}
	}
	return false
}

package supervisor

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// unreserve gives an id back that was reserved for a stream which is not made.
func (s *Supervisor) unreserve(st *stream) {
	done := make(chan struct{})
	st.tell(func() {
		defer close(done)
		defer close(st.born)
		st.state = StateStopped
		s.forget(st, true)
	})
	select {
	case <-done:
	case <-st.gone:
	}
}

// reserve takes an id for a new stream. While another request is creating it,
// that one's result is awaited.
func (s *Supervisor) reserve(ctx context.Context, id string) (*stream, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return s.reserveAnew(ctx, id)
}

// reserveAnew is reserve for an id that may be the resource host's.
func (s *Supervisor) reserveAnew(ctx context.Context, id string) (*stream, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		other, taken := s.streams[id]
		if !taken {
			st := s.newStream(id, nil)
			s.streams[id] = st
			s.mu.Unlock()
			return st, nil
		}
		s.mu.Unlock()
		if other.seen.Load() != nil {
			return nil, ErrExists
		}
		select {
		case <-other.born:
		case <-other.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// forget gives an id free. With purge it removes the files of its stream.
func (s *Supervisor) forget(st *stream, purge bool) {
	// Removing comes first: the id's next stream makes the folder anew.
	if purge {
		s.dropFiles(st.id)
	}
	if st.of != nil {
		st.of.replicas.remove(st)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.id] == st {
		delete(s.streams, st.id)
		s.confiner.forget(st.id)
		s.sockets.retain(st.id, "")
		if purge && st.of == nil {
			s.calls.Gone(st.id)
		}
	}
}

// find returns a stream that exists; one that is being created does not yet.
func (s *Supervisor) find(id string) (*stream, error) {
	s.mu.RLock()
	st, ok := s.streams[id]
	closed := s.closed
	s.mu.RUnlock()
	switch {
	case ok && st.of == nil && !st.isHost() && st.seen.Load() != nil:
		return st, nil
	case closed:
		// It may be one that has been stopped already.
		return nil, ErrClosed
	}
	return nil, fmt.Errorf("stream %q: %w", id, ErrNotFound)
}

// owns says that st is the stream of its id still, and not an earlier one. The
// store holds no other's as long as it is.
func (s *Supervisor) owns(st *stream) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.streams[st.id] == st
}

// all returns all streams and replicas, those that are being created too.
func (s *Supervisor) all() []*stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.streams))
}

package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// A stream that is to have several runners has the first itself. Each of the
// others is a replica: a stream with an actor, a folder, a user and a cgroup of
// its own, whose id is the stream's and a number. Nobody can ask for that id,
// which no stream may have.

// replicaMark is before the number in the id of a replica.
const replicaMark = "@"

// replicaID is the id of a stream's replica; the stream itself is number 1.
func replicaID(id string, number int) string { return id + replicaMark + strconv.Itoa(number) }

// publicID is the id of the stream that a replica is of; any other's is its own.
func publicID(id string) string {
	if at := strings.Index(id, replicaMark); at > 0 {
		return id[:at]
	}
	return id
}

// replicaNumber is that of a replica, 1 for a stream itself.
func replicaNumber(id string) int {
	_, text, found := strings.Cut(id, replicaMark)
	if number, err := strconv.Atoi(text); found && err == nil {
		return number
	}
	return 1
}

// logFields name a stream, or a replica of one, in the supervisor's log.
func logFields(id string) []zap.Field {
	fields := []zap.Field{zap.String("stream", publicID(id))}
	if number := replicaNumber(id); number > 1 {
		fields = append(fields, zap.Int("replica", number))
	}
	return fields
}

// shownNumber is the number of one of several; 0 where a stream has no others.
func (s *stream) shownNumber() int {
	if s.of == nil && !s.several() {
		return 0
	}
	return replicaNumber(s.id)
}

// several says that the stream has replicas, or is to have some.
func (s *stream) several() bool {
	if len(s.replicas.all()) > 0 {
		return true
	}
	v := s.seen.Load()
	return v != nil && v.spec.options.Replicas.Several()
}

// ofReplica is what the replicas of a stream run. How many there are, and
// whether there are any, is for the stream itself.
func (sp spec) ofReplica() spec {
	sp.options.Replicas, sp.options.IdleTimeout = options.Replicas{}, 0
	return sp
}

// reserveReplica takes the id of a replica of st. Where one of that id is
// leaving, its end is awaited.
func (s *Supervisor) reserveReplica(ctx context.Context, st *stream, number int) (*stream, error) {
	id := replicaID(st.id, number)
	for {
		s.mu.Lock()
		if s.closed || st.life.Err() != nil {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		other, taken := s.streams[id]
		if !taken {
			replica := s.newStream(id, st)
			s.streams[id] = replica
			s.mu.Unlock()
			st.replicas.add(replica)
			return replica, nil
		}
		s.mu.Unlock()
		select {
		case <-other.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// family are streams with their replicas, also those that are being made.
func (s *Supervisor) family(streams ...*stream) []*stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := slices.Clone(streams)
	for _, st := range s.streams {
		if st.of != nil && slices.Contains(streams, st.of) {
			out = append(out, st)
		}
	}
	return out
}

// deleteFamily takes a stream and its replicas out of the store. None is put
// there afterwards: a replica is kept only as long as its stream is.
func (s *Supervisor) deleteFamily(tx *store.Tx, st *stream) error {
	for _, member := range s.family(st) {
		if err := tx.DeleteStream(member.id); err != nil {
			return err
		}
	}
	return nil
}

// everyone are all streams that exist and their replicas, by id, and the resource
// host.
func (s *Supervisor) everyone() []*stream { return s.sorted(func(*stream) bool { return true }) }

// existing are all streams that exist, by id, without their replicas and without
// the resource host.
func (s *Supervisor) existing() []*stream {
	return s.sorted(func(st *stream) bool { return st.of == nil && !st.isHost() })
}

func (s *Supervisor) sorted(wanted func(*stream) bool) []*stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		if st.seen.Load() != nil && wanted(st) {
			out = append(out, st)
		}
	}
	slices.SortFunc(out, func(a, b *stream) int {
		if c := strings.Compare(publicID(a.id), publicID(b.id)); c != 0 {
			return c
		}
		return replicaNumber(a.id) - replicaNumber(b.id)
	})
	return out
}

// dropOrphans takes replicas out of what the store held whose stream it has not,
// and out of the store.
func (s *Supervisor) dropOrphans(stored store.State) error {
	var orphans []string
	for id := range stored.Streams {
		if _, found := stored.Streams[publicID(id)]; !found {
			orphans = append(orphans, id)
		}
	}
	if len(orphans) == 0 {
		return nil
	}
	for _, id := range orphans {
		delete(stored.Streams, id)
	}
	return s.store.Update(func(tx *store.Tx) error {
		for _, id := range orphans {
			if err := tx.DeleteStream(id); err != nil {
				return fmt.Errorf("replica %q: %w", id, err)
			}
		}
		return nil
	})
}

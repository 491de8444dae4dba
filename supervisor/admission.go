package supervisor

import (
	"fmt"
	"sync"

	"github.com/dustin/go-humanize"

	"penstock/supervisor/options"
)

// ledger keeps count of the memory that streams may take together. Only those
// with a memory limit count.
type ledger struct {
	// budget is how much there is, in bytes; 0 when nobody knows.
	budget int64
	// share is the budget in percent of what the host has, which is total.
	share int
	total int64

	mu   sync.Mutex
	byID map[string]int64
	sum  int64
}

func newLedger(total uint64, share int) *ledger {
	return &ledger{
		budget: int64(total) / 100 * int64(share), share: share, total: int64(total), byID: map[string]int64{},
	}
}

// admit makes room for streams that are to have these limits, for all of them
// or for none. A stream that has more than is asked for keeps that until it is
// settled: its old runner may still live. What those have that are leaving is
// free already. The error wraps ErrNoRoom.
//
// What is further is only made sure of: replicas, who are admitted one by one.
func (l *ledger) admit(wanted, further map[string]options.Bytes, leaving ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var more, asked int64
	for _, part := range []map[string]options.Bytes{wanted, further} {
		for id, limit := range part {
			asked += int64(limit)
			more += max(int64(limit)-l.byID[id], 0)
		}
	}
	taken := l.sum
	for _, id := range leaving {
		taken -= l.byID[id]
	}
	if l.budget > 0 && more > 0 && taken+more > l.budget {
		return fmt.Errorf("%w: a memory limit of %s does not fit: streams may have %s together (%d%% of this host's %s, limits.host_memory_share), and %s of that are taken: lower runtime.limits.memory, or stop other streams",
			ErrNoRoom, size(asked), size(l.budget), l.share, size(l.total), size(taken-l.of(wanted)-l.of(further)))
	}
	for id, limit := range wanted {
		if int64(limit) > l.byID[id] {
			l.set(id, int64(limit))
		}
	}
	return nil
}

// of is what these streams have already.
func (l *ledger) of(ids map[string]options.Bytes) int64 {
	var sum int64
	for id := range ids {
		sum += l.byID[id]
	}
	return sum
}

// settle takes down what a stream has from now on, whatever there is.
func (l *ledger) settle(id string, limit options.Bytes) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(id, int64(limit))
}

// figures are how much there is for streams, of how much, and how much of it was
// promised to those with limits; in bytes.
func (l *ledger) figures() (budget, total, promised int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget, l.total, l.sum
}

// over says by how much more than the budget was given away.
func (l *ledger) over() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.budget == 0 {
		return 0
	}
	return max(l.sum-l.budget, 0)
}

func (l *ledger) set(id string, limit int64) {
	l.sum += limit - l.byID[id]
	l.byID[id] = limit
	if limit == 0 {
		delete(l.byID, id)
	}
}

func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

// admit refuses a spec whose limits nothing enforces here, or that does not fit
// on the host, and makes room for it otherwise. What it takes in the end is to
// be settled.
func (c *confiner) admit(id string, sp spec) error {
	limits := c.of(sp.options.Limits)
	if err := c.check(limits); err != nil {
		return err
	}
	further := map[string]options.Bytes{}
	c.countReplicas(further, id, sp)
	return c.rooms.admit(map[string]options.Bytes{id: limits.Memory}, further)
}

// countReplicas adds what the replicas take that the stream is to have at least.
func (c *confiner) countReplicas(further map[string]options.Bytes, id string, sp spec) {
	for number := 2; number <= sp.options.Replicas.Min; number++ {
		further[replicaID(id, number)] = c.of(sp.options.Limits).Memory
	}
}

// admit is for a spec that the stream is to have next. One that is paused
// takes no room.
func (s *stream) admit(sp spec) error {
	if s.paused {
		return s.sup.confiner.check(s.sup.confiner.of(sp.options.Limits))
	}
	return s.sup.confiner.admit(s.id, sp)
}

// settle takes down what the stream takes of the host as it is now.
func (s *stream) settle() {
	s.sup.confiner.settle(s.id, &s.view)
	s.settleSocket()
}

func (c *confiner) settle(id string, v *view) {
	var memory options.Bytes
	if !v.paused && v.state != StateStopped {
		memory = c.of(v.spec.options.Limits).Memory
	}
	c.rooms.settle(id, memory)
}

// admitAll is admit for a set of streams, of which the absent ones make way.
func (s *Supervisor) admitAll(members []*member, absent []*stream) error {
	c := s.confiner
	wanted, further := map[string]options.Bytes{}, map[string]options.Bytes{}
	failures := map[string]error{}
	for _, m := range members {
		limits := c.of(m.spec.options.Limits)
		if err := c.check(limits); err != nil {
			failures[m.id] = err
		}
		if m.stream == nil || !m.stream.seen.Load().paused {
			wanted[m.id] = limits.Memory
			c.countReplicas(further, m.id, m.spec)
		}
	}
	if len(failures) > 0 {
		return &SetError{Failures: failures}
	}
	leaving := make([]string, 0, len(absent))
	for _, st := range s.family(absent...) {
		leaving = append(leaving, st.id)
	}
	for _, m := range members {
		if m.stream == nil {
			continue
		}
		for _, replica := range m.stream.replicas.all() {
			if replicaNumber(replica.id) > m.spec.options.Replicas.Max {
				leaving = append(leaving, replica.id)
			}
		}
	}
	return c.rooms.admit(wanted, further, leaving...)
}

// settleAll takes down what the streams of a set take that was not put into
// force.
func (s *Supervisor) settleAll(members []*member) {
	for _, m := range members {
		// What is not made takes nothing any more: its id was given back.
		if m.stream != nil {
			s.settleMember(m)
		}
	}
}

// settleMember counts a stream for what it has, whatever a set wanted for it.
// One that has been deleted meanwhile has nothing, not even what was made anew
// for it.
func (s *Supervisor) settleMember(m *member) {
	if s.owns(m.stream) {
		s.confiner.settle(m.id, m.stream.seen.Load())
		s.sockets.retain(m.id, m.stream.seen.Load().listens())
		return
	}
	s.dropStrayFiles(m.id)
}

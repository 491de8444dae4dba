package supervisor

import (
	"slices"
	"time"

	"penstock/supervisor/options"
)

const (
	// recently is for how long a demand is remembered.
	recently = 5 * time.Minute
	// atOnce is how close together demands are that one pool has to meet: it is
	// filled again soon after.
	atOnce = time.Second
	// remembered bounds the memory: so many in so little time ask for any size.
	remembered = 4 * maxWarmSize
	// warmBytes is what one runner is taken for until the first was measured.
	warmBytes = 48 << 20
	// warmShare is the part of all streams' memory that is the pool's, unless it
	// has a bound of its own: one of so many.
	warmShare = 16
)

// wantedWarm is how many runners are to be ready: as many as were asked for at
// once of late, at least one and at most limit.
func wantedWarm(arrivals []time.Time, now time.Time, limit int) int {
	most, first := 1, 0
	for i, at := range arrivals {
		if now.Sub(at) > recently {
			first = i + 1
			continue
		}
		for at.Sub(arrivals[first]) > atOnce {
			first++
		}
		most = max(most, i-first+1)
	}
	return min(most, limit)
}

// arrived adds a demand, and forgets what counts no more.
func arrived(arrivals []time.Time, now time.Time) []time.Time {
	arrivals = append(arrivals, now)
	old := max(0, len(arrivals)-remembered)
	for now.Sub(arrivals[old]) > recently {
		old++
	}
	return slices.Delete(arrivals, 0, old)
}

// warmMemory is the memory that a pool is bounded by, in bytes.
type warmMemory struct {
	// each is what one runner takes, and have is how many there are.
	each int64
	have int
	// bound is the pool's own; 0 is a part of what all streams may have.
	bound options.Bytes
	// budget is what all streams may have of total, 0 when nobody knows, and
	// promised is what those with limits were promised of it.
	budget, total, promised int64
	// available is what the host has left now.
	available int64
}

// room is how many runners there is memory for, those that there are included.
func (m warmMemory) room() int {
	bound := int64(m.bound)
	if bound == 0 {
		bound = m.budget / warmShare
	}
	// What streams may not have, a pool may not have either.
	reserved := m.total - m.budget
	room := (m.available-reserved)/m.each + int64(m.have)
	if m.budget > 0 {
		room = min(room, (m.budget-m.promised)/m.each)
	}
	if bound > 0 {
		room = min(room, bound/m.each)
	}
	return int(max(room, 0))
}

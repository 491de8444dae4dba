package supervisor

import "fmt"

// numbered says of which replica an error is.
func numbered(number int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("replica %d: %w", number, err)
}

// choose finds a runner of the stream that takes a call, as v shows it: of
// several the one that has the fewest. entered says that its traffic is to be
// left. It is nil where none does now.
func (s *stream) choose(v *view, method string) (inst *instance, entered bool) {
	// What only reads may still collect from a runner that makes way, but keeps
	// none from being given back.
	reading := Reads(method) && v.spec.options.IdleTimeout == 0
	free := s.runners(v)
	for len(free) > 0 {
		at := s.leastBusy(free)
		inst := free[at]
		if reading {
			return inst, false
		}
		if inst.traffic.enter() {
			return inst, true
		}
		free = append(free[:at], free[at+1:]...)
	}
	return nil, false
}

// runners are those of the stream and of its replicas that can be called.
func (s *stream) runners(v *view) []*instance {
	var out []*instance
	if v.serves() {
		out = append(make([]*instance, 0, 1), v.current)
	}
	if v.paused || v.state == StateIdle {
		// The replicas are leaving.
		return out
	}
	for _, replica := range s.replicas.all() {
		if rv := replica.seen.Load(); rv != nil && rv.serves() {
			out = append(out, rv.current)
		}
	}
	return out
}

// leastBusy is the place of the one with the fewest calls. Those that have
// equally many take turns.
func (s *stream) leastBusy(among []*instance) int {
	if len(among) == 1 {
		return 0
	}
	first := int(s.replicas.turn.Add(1))
	best := first % len(among)
	for i := range among {
		at := (first + i) % len(among)
		if among[at].load.Load() < among[best].load.Load() {
			best = at
		}
	}
	return best
}

// active says that the stream can be called, by v or by a replica.
func (s *stream) active(v *view) bool {
	return v.active() || len(s.runners(v)) > 0
}

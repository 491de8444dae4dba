package supervisor

import (
	"fmt"
	"slices"
)

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
	if len(s.replicas.all()) == 0 {
		switch {
		case !v.serves():
			return nil, false
		case reading:
		case !v.current.traffic.enter():
			return nil, false
		}
		v.current.load.Add(1)
		return v.current, !reading
	}
	// The next call sees what this one has taken.
	s.replicas.mu.Lock()
	defer s.replicas.mu.Unlock()
	free := slices.DeleteFunc(s.runners(v), func(i *instance) bool { return i.leaving })
	if reading && slices.ContainsFunc(free, func(i *instance) bool { return i.traffic.open() }) {
		free = slices.DeleteFunc(free, func(i *instance) bool { return !i.traffic.open() })
	}
	for len(free) > 0 {
		at := s.leastBusy(free)
		inst := free[at]
		if reading || inst.traffic.enter() {
			inst.load.Add(1)
			return inst, !reading
		}
		free = slices.Delete(free, at, at+1)
	}
	return nil, false
}

// takeIn has a replica get calls again that was to get no more.
func (r *replicas) takeIn(replica *stream) {
	r.mu.Lock()
	v := replica.seen.Load()
	changed := v.current != nil && v.current.leaving
	if changed {
		v.current.leaving = false
	}
	r.mu.Unlock()
	if changed {
		r.tell()
	}
}

// settleSocket closes the sockets that the stream has no use for as it is now:
// one of its replicas may have made another.
func (r *replicas) settleSocket() {
	if v := r.of.seen.Load(); v != nil {
		r.of.sup.sockets.retain(r.of.id, v.listens())
	}
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
	s.replicas.turn++
	first := s.replicas.turn
	best := first % len(among)
	for i := range among {
		at := (first + i) % len(among)
		if among[at].load.Load() < among[best].load.Load() {
			best = at
		}
	}
	return best
}

// paths are those at which the stream can be reached, by v or by a replica.
func (s *stream) paths(v *view) []string {
	if paths := v.paths(); len(paths) > 0 {
		return paths
	}
	for _, replica := range s.replicas.all() {
		if rv := replica.seen.Load(); rv != nil && rv.serves() && !v.paused {
			return rv.current.endpoints
		}
	}
	return nil
}

// comesBack says that the stream, or a replica, has no runner now and may have
// one soon.
func (s *stream) comesBack(v *view) bool {
	if v.comesBack() {
		return true
	}
	return !v.paused && slices.ContainsFunc(s.replicas.all(), func(replica *stream) bool {
		rv := replica.seen.Load()
		return rv != nil && (rv.switching || rv.comesBack())
	})
}

// active says that the stream can be called, by v or by a replica.
func (s *stream) active(v *view) bool {
	return v.active() || len(s.runners(v)) > 0
}

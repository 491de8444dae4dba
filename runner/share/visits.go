package share

// visits are the connections of one runner: one that has asked something, and one
// that has not yet. A runner uses one, and may be given another that it does not
// take; more are what a runner has that is up to no good.
type visits struct{ speaks, silent *peer }

// arrive takes note of a connection of a runner by its name; one without a name
// is not counted. Of those that have asked nothing the last stays.
func (s *Pipes) arrive(p *peer) {
	if p.name == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.visits[p.name]
	if v == nil {
		v = &visits{}
		s.visits[p.name] = v
	}
	if v.silent != nil {
		v.silent.close()
	}
	v.silent = p
}

// speak takes note that something was asked on a connection, which takes the
// place of an older one.
func (s *Pipes) speak(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.visits[p.name]
	if v == nil || v.silent != p {
		return
	}
	if v.speaks != nil {
		v.speaks.close()
	}
	v.speaks, v.silent = p, nil
}

// forget takes note of a connection's end. The caller holds the lock.
func (s *Pipes) forget(p *peer) {
	v := s.visits[p.name]
	if v == nil {
		return
	}
	if v.silent == p {
		v.silent = nil
	}
	if v.speaks == p {
		v.speaks = nil
	}
	if *v == (visits{}) {
		delete(s.visits, p.name)
	}
}

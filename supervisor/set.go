package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"penstock/supervisor/document"
	"penstock/supervisor/store"
)

// member is one stream's part of a change of many.
type member struct {
	id string
	// stream is nil for one that is to be created, and then spec is what for.
	stream *stream
	spec   spec
	// revision is what the stream's was when the change was prepared.
	revision uint64
	// unreverted is the store's, where that is another one by a fault.
	unreverted uint64
	// kept is the revision that the store has of the change.
	kept uint64
	// reserved holds the id of one that is to be created.
	reserved *stream
	// inst is the prepared runner; nil when an address it needs is in use
	// until others have stopped.
	inst *instance
	// sameForEngine says that the stream's own runner will do.
	sameForEngine bool
	err           error
}

// ReplaceAll makes the streams exactly those of set: absent ones are removed,
// changed ones updated, new ones created, and unchanged ones are left alone.
// All new configs are built before anything is touched. The error is a
// *LintError, whose lints name their streams, or a *SetError.
func (s *Supervisor) ReplaceAll(ctx context.Context, set map[string]*document.Document, ch Change) (err error) {
	defer func() { err = s.whyCut(err) }()
	invalid := map[string]error{}
	for id := range set {
		if err := checkID(id); err != nil {
			invalid[id] = err
		}
	}
	if len(invalid) > 0 {
		return &SetError{Failures: invalid}
	}
	ctx, end, err := s.beginBulk(ctx)
	if err != nil {
		return err
	}
	defer end()
	specs := make(map[string]spec, len(set))
	if err := s.readSet(set, specs, ch); err != nil {
		return err
	}

	var members []*member
	var absent []*stream
	known := map[string]bool{}
	for _, st := range s.existing() {
		known[st.id] = true
		sp, wanted := specs[st.id]
		if !wanted {
			absent = append(absent, st)
			continue
		}
		v := st.seen.Load()
		if !v.spec.equal(sp) {
			members = append(members, &member{
				id: st.id, stream: st, spec: sp, revision: v.revision, unreverted: v.unreverted,
				sameForEngine: v.current != nil && v.spec.sameForEngine(sp) && v.current.suits(ctx, sp.options) == nil,
			})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(set)) {
		if !known[id] {
			members = append(members, &member{id: id, spec: specs[id]})
		}
	}

	if err := s.reserveAll(ctx, members); err != nil {
		return err
	}
	if err := s.admitAll(members, absent); err != nil {
		s.discardAll(members)
		return err
	}
	if err := s.prepareAll(ctx, members, s.vacated(members, absent), s.resources.all()); err != nil {
		return err
	}
	if err := s.keepSet(members, absent); err != nil {
		s.discardAll(members)
		return err
	}
	// What the store has is put into force whatever becomes of the request.
	ctx = s.root
	failures := s.removeAll(ctx, absent, s.stopTimeout(ch))
	maps.Copy(failures, s.applyAll(ctx, members, s.applyMember, s.stopTimeout(ch)))
	if len(failures) > 0 {
		return &SetError{Failures: failures}
	}
	for _, m := range members {
		st := m.stream
		if st == nil {
			st = m.reserved
		}
		if err := st.replicas.settled(ctx); err != nil {
			return err
		}
	}
	return nil
}

// readSet takes the configs of a set apart; what is wrong with the
// supervisor's part of any is a *LintError that names its stream.
func (s *Supervisor) readSet(set map[string]*document.Document, specs map[string]spec, ch Change) error {
	lints := &LintError{}
	for _, id := range slices.Sorted(maps.Keys(set)) {
		sp, err := newSpec(set[id], ch.Chilled, ch.AllowTests, s.confiner.allowed)
		var lint *LintError
		switch {
		case errors.As(err, &lint):
			lints.Lints = append(lints.Lints, namedLints(id, lint)...)
		case err != nil:
			return &SetError{Failures: map[string]error{id: err}}
		}
		specs[id] = sp
	}
	if len(lints.Lints) > 0 {
		return lints
	}
	return nil
}

func namedLints(id string, lint *LintError) []string {
	named := make([]string, len(lint.Lints))
	for i, l := range lint.Lints {
		named[i] = fmt.Sprintf("stream '%s': %s", id, l)
	}
	return named
}

// keepSet has the store take a whole set at once. A member that somebody else
// has changed meanwhile is left out, with ErrConflict.
func (s *Supervisor) keepSet(members []*member, absent []*stream) error {
	now := time.Now()
	return s.store.Update(func(tx *store.Tx) error {
		for _, st := range absent {
			if !s.owns(st) {
				continue
			}
			if err := s.deleteFamily(tx, st); err != nil {
				return err
			}
		}
		for _, m := range members {
			rec, found, err := tx.Stream(m.id)
			if err != nil {
				return err
			}
			m.err = nil
			if found && m.stream == nil && s.strays.has(m.id) {
				if err := tx.DeleteStream(m.id); err != nil {
					return err
				}
				found = false
			}
			if found != (m.stream != nil) || found && (rec.Revision != m.stored() || !s.owns(m.stream)) {
				m.err = ErrConflict
				continue
			}
			if !found {
				rec = store.Stream{ID: m.id, LogLevel: defaultLogLevel}
			}
			rec.Definition, rec.Revision = m.spec.definition(), rec.Revision+1
			rec.Origin, rec.ChangedAt, rec.Outcome = store.OriginAPI, now, nil
			rec.UID = s.confiner.user(m.id)
			m.kept = rec.Revision
			if err := tx.PutStream(rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepareAll prepares every member. On an error no runner of them is left.
// vacated are own listeners that others of them make way for.
func (s *Supervisor) prepareAll(ctx context.Context, members []*member, vacated map[string]bool, resources resourceList) error {
	s.each(members, func(m *member) {
		if m.sameForEngine {
			return
		}
		m.inst, m.err = s.prepare(ctx, m.id, m.spec, resources, m.logLevel())
		if waitsForSocket(m.err, vacated) {
			m.err = s.tryWithoutSocket(ctx, m, resources)
			return
		}
		var busy *addressInUseError
		if errors.As(m.err, &busy) && s.heldByStream(ctx, busy.address) {
			// It may be free once those that are replaced have stopped.
			m.err = s.tryElsewhere(ctx, m.id, m.spec, busy)
		}
	})
	lints := &LintError{}
	failures := map[string]error{}
	for _, m := range members {
		var lint *LintError
		switch {
		case errors.As(m.err, &lint):
			lints.Lints = append(lints.Lints, namedLints(m.id, lint)...)
		case m.err != nil:
			failures[m.id] = m.err
		}
	}
	if len(lints.Lints) == 0 && len(failures) == 0 {
		return nil
	}
	s.discardAll(members)
	if len(lints.Lints) > 0 {
		// One answer names them all.
		for _, id := range slices.Sorted(maps.Keys(failures)) {
			lints.Lints = append(lints.Lints, fmt.Sprintf("stream '%s': %s", id, failures[id]))
		}
		return lints
	}
	return &SetError{Failures: failures}
}

// discardAll ends the prepared runners of a change that is not made.
func (s *Supervisor) discardAll(members []*member) {
	defer s.settleAll(members)
	s.each(members, func(m *member) {
		if m.inst != nil {
			m.inst.discard()
		}
		if m.reserved != nil {
			s.unreserve(m.reserved)
		}
	})
}

// reserveAll takes the ids of the members that are to be created, so that no
// other request makes them meanwhile. On an error none is taken.
func (s *Supervisor) reserveAll(ctx context.Context, members []*member) error {
	for _, m := range members {
		if m.stream != nil {
			continue
		}
		st, err := s.reserve(ctx, m.id)
		if err != nil {
			s.discardAll(members)
			if errors.Is(err, ErrExists) {
				// Somebody has made it since the set was looked through.
				err = ErrConflict
			}
			return &SetError{Failures: map[string]error{m.id: err}}
		}
		m.reserved = st
	}
	return nil
}

// stored is the revision that the store has of the member's stream.
func (m *member) stored() uint64 {
	if m.unreverted != 0 {
		return m.unreverted
	}
	return m.revision
}

// logLevel is that of the stream, if there is one.
func (m *member) logLevel() string {
	if m.stream == nil {
		return defaultLogLevel
	}
	return m.stream.seen.Load().logLevel
}

// removeAll ends streams that the store has no more, with their replicas, all at once, so that each
// gets the whole timeout. The failures are by the streams' ids.
func (s *Supervisor) removeAll(ctx context.Context, streams []*stream, timeout time.Duration) map[string]error {
	for _, st := range streams {
		// From now on it gets no new ones.
		st.endLife()
	}
	failures := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, st := range s.family(streams...) {
		wg.Go(func() {
			if err := st.end(ctx, timeout, true); err != nil {
				mu.Lock()
				failures[publicID(st.id)] = fmt.Errorf("removing it: %w", err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failures
}

// applyAll puts every member into force: those with a prepared runner first,
// then those that waited for an address.
func (s *Supervisor) applyAll(ctx context.Context, members []*member, apply func(context.Context, *member, time.Duration) error, timeout time.Duration) map[string]error {
	waiting := slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return m.inst != nil })
	ready := slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return m.inst == nil })
	for _, part := range [][]*member{ready, waiting} {
		// All at once, so that each stop gets the whole timeout.
		var wg sync.WaitGroup
		for _, m := range part {
			wg.Go(func() {
				m.err = apply(ctx, m, timeout)
				if m.err == nil && m.stream != nil && len(waiting) > 0 {
					// Its replicas may have to make way for one of those.
					_ = m.stream.replicas.settled(ctx)
				}
			})
		}
		wg.Wait()
	}
	failures := map[string]error{}
	for _, m := range members {
		if m.err != nil {
			failures[m.id] = m.err
		}
	}
	return failures
}

// applyMember puts a member into force that the store has.
func (s *Supervisor) applyMember(ctx context.Context, m *member, timeout time.Duration) error {
	if m.err != nil {
		if m.inst != nil {
			m.inst.discard()
		}
		if m.reserved != nil {
			s.unreserve(m.reserved)
		} else {
			s.settleMember(m)
		}
		return m.err
	}
	if m.stream == nil {
		return s.createIn(ctx, m.reserved, m.spec, store.OriginAPI, m.inst, true)
	}
	return m.hand(ctx, func(ctx context.Context) error { return m.stream.applyKept(ctx, m, timeout) })
}

// hand gives a member's runner to its stream's actor. A stream that has been
// deleted meanwhile is no failure: that came after this change, so to speak.
func (m *member) hand(ctx context.Context, op func(context.Context) error) error {
	wait, err := m.stream.submit(ctx, op)
	switch {
	case err == nil:
		err = wait(ctx)
	case m.inst != nil:
		// Nobody has taken the runner over.
		m.inst.discard()
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// each runs do for every member, so many at once as are configured.
func (s *Supervisor) each(members []*member, do func(*member)) {
	var group errgroup.Group
	group.SetLimit(s.cfg.Concurrency)
	for _, m := range members {
		group.Go(func() error {
			do(m)
			return nil
		})
	}
	_ = group.Wait()
}

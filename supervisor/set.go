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
)

// member is one stream's part of a change of many.
type member struct {
	id string
	// stream is nil for one that is to be created, and then spec is what for.
	stream *stream
	spec   spec
	// revision is what the stream's was when the change was prepared.
	revision uint64
	// inst is the prepared runner; nil when an address it needs is in use
	// until others have stopped.
	inst *instance
	err  error
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

	var members []*member
	var absent []*stream
	known := map[string]bool{}
	for _, st := range s.existing() {
		known[st.id] = true
		doc, wanted := set[st.id]
		if !wanted {
			absent = append(absent, st)
			continue
		}
		v := st.seen.Load()
		sp := spec{doc: doc, chilled: ch.Chilled, allowTests: ch.AllowTests}
		if !v.spec.equal(sp) {
			members = append(members, &member{id: st.id, stream: st, spec: sp, revision: v.revision})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(set)) {
		if !known[id] {
			members = append(members, &member{id: id, spec: spec{doc: set[id], chilled: ch.Chilled, allowTests: ch.AllowTests}})
		}
	}

	if err := s.prepareAll(ctx, members, s.resources.all()); err != nil {
		return err
	}
	failures := s.removeAll(ctx, absent, s.stopTimeout(ch))
	maps.Copy(failures, s.applyAll(ctx, members, s.stopTimeout(ch)))
	if len(failures) > 0 {
		return &SetError{Failures: failures}
	}
	return nil
}

// prepareAll prepares every member. On an error no runner of them is left.
func (s *Supervisor) prepareAll(ctx context.Context, members []*member, resources resourceList) error {
	s.each(members, func(m *member) {
		m.inst, m.err = s.prepare(ctx, m.id, m.spec, resources)
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
			for _, l := range lint.Lints {
				lints.Lints = append(lints.Lints, fmt.Sprintf("stream '%s': %s", m.id, l))
			}
		case m.err != nil:
			failures[m.id] = m.err
		}
	}
	if len(lints.Lints) == 0 && len(failures) == 0 {
		return nil
	}
	s.each(members, func(m *member) {
		if m.inst != nil {
			m.inst.discard()
		}
		if m.stream == nil {
			s.dropStrayFiles(m.id)
		}
	})
	if len(lints.Lints) > 0 {
		// One answer names them all.
		for _, id := range slices.Sorted(maps.Keys(failures)) {
			lints.Lints = append(lints.Lints, fmt.Sprintf("stream '%s': %s", id, failures[id]))
		}
		return lints
	}
	return &SetError{Failures: failures}
}

// removeAll deletes streams, all at once, so that each gets the whole timeout.
func (s *Supervisor) removeAll(ctx context.Context, streams []*stream, timeout time.Duration) map[string]error {
	failures := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, st := range streams {
		wg.Go(func() {
			if err := st.delete(ctx, timeout); err != nil {
				mu.Lock()
				failures[st.id] = fmt.Errorf("removing it: %w", err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failures
}

// applyAll puts every member into force: those with a prepared runner first,
// then those that waited for an address.
func (s *Supervisor) applyAll(ctx context.Context, members []*member, timeout time.Duration) map[string]error {
	waiting := slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return m.inst != nil })
	ready := slices.DeleteFunc(slices.Clone(members), func(m *member) bool { return m.inst == nil })
	for _, part := range [][]*member{ready, waiting} {
		// All at once, so that each stop gets the whole timeout.
		var wg sync.WaitGroup
		for _, m := range part {
			wg.Go(func() { m.err = s.apply(ctx, m, timeout) })
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

func (s *Supervisor) apply(ctx context.Context, m *member, timeout time.Duration) error {
	if m.stream == nil {
		return s.createFrom(ctx, m.id, m.spec, m.inst)
	}
	wait, err := m.stream.submit(ctx, func(ctx context.Context) error {
		if m.stream.revision != m.revision {
			if m.inst != nil {
				m.inst.discard()
			}
			return ErrConflict
		}
		if m.inst == nil {
			return m.stream.update(ctx, func(spec) (spec, error) { return m.spec, nil }, timeout)
		}
		return m.stream.replace(ctx, m.inst, timeout)
	})
	switch {
	case err == nil:
		err = wait(ctx)
	case m.inst != nil:
		// Nobody has taken the runner over.
		m.inst.discard()
	}
	if errors.Is(err, ErrNotFound) {
		// It was deleted by somebody else, after this change so to speak.
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

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/rpc"
	"penstock/supervisor/document"
	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// resourceTypes are the types of component a resource can be.
var resourceTypes = []string{"cache", "input", "output", "processor", "rate_limit"}

// ErrResourceType is an InvalidError, in upstream's words, for a type that no
// resource can have.
var ErrResourceType error = &InvalidError{
	"Var `type` must be set to one of `cache`, `input`, `output`, `processor` or `rate_limit`"}

// Resource is a component that streams use by its id.
type Resource struct {
	Type string
	ID   string
	// Document is the config as it was posted.
	Document *document.Document
	// Shared says that all streams use one instance, which lives in the resource
	// host; else each has an instance of its own.
	Shared bool
	// Origin is "api" or "file": who defined it last.
	Origin string
	// Streams are the ids of the streams that use it, sorted.
	Streams []string
}

func newResource(typ, id string, doc *document.Document) (storedResource, error) {
	labelled, err := doc.With("label", id)
	if err != nil {
		return storedResource{}, &InvalidError{err.Error()}
	}
	outline, err := outlineOf(doc, id)
	if err != nil {
		return storedResource{}, err
	}
	return storedResource{typ: typ, doc: doc, labelled: labelled, outline: outline, components: &componentsOf{}}, nil
}

// toRPC lists resources for a stream in order; the one with the id check is to be
// checked. Of those that are shared the stream is told no more than it needs.
func toRPC(byID map[string]storedResource, check string) []rpc.Resource {
	out := make([]rpc.Resource, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		res := byID[id]
		r := rpc.Resource{Type: res.typ, ID: id, Config: res.labelled.Text()}
		switch {
		case id == check:
			r.Check, r.Posted = true, res.doc.Text()
		case sharedType(res.typ):
			r.Shared, r.Config = true, res.outline
		}
		out = append(out, r)
	}
	return out
}

// mentioned returns the ids of the resources that doc refers to, directly or
// through another resource. A reference is a scalar equal to the id: the
// supervisor knows no component, so that it cannot tell a reference from a
// text that happens to be the same, and counts both.
func mentioned(doc *document.Document, byID map[string]storedResource) map[string]bool {
	found := map[string]bool{}
	var visit func(d *document.Document)
	visit = func(d *document.Document) {
		for id, res := range byID {
			if !found[id] && d.Mentions(id) {
				found[id] = true
				visit(res.doc)
			}
		}
	}
	visit(doc)
	return found
}

// mentioned returns the ids of the resources that the stream uses, or will
// once a change that is being prepared is in force.
func (s *stream) mentioned(byID map[string]storedResource) map[string]bool {
	found := map[string]bool{}
	if v := s.seen.Load(); v != nil {
		maps.Copy(found, mentioned(v.spec.engine, byID))
	}
	if sp := s.coming.Load(); sp != nil {
		maps.Copy(found, mentioned(sp.engine, byID))
	}
	return found
}

// PutResource creates or replaces a resource. One that is shared is exchanged in
// the resource host, and streams go on. Of any other the streams that use it are
// built with the new one before anything changes, and then restarted with it.
func (s *Supervisor) PutResource(ctx context.Context, typ, id string, doc *document.Document, ch Change) (err error) {
	defer func() { err = s.whyCut(err) }()
	if err := checkResource(typ, id); err != nil {
		return err
	}
	if doc.Value() == nil {
		// In upstream's words; with a label it would no longer be empty.
		return &InvalidError{"(0,1) invalid type !!null, expected object"}
	}
	res, err := newResource(typ, id, doc)
	if err != nil {
		return err
	}
	ctx, end, err := s.beginBulk(ctx)
	if err != nil {
		return err
	}
	defer end()

	candidate := s.resources.snapshot()
	if old, ok := candidate[id]; ok && old.typ != typ {
		return &InvalidError{fmt.Sprintf("the label %q belongs to a %s resource already: labels are unique over all types", id, old.typ)}
	}
	candidate[id] = res
	if err := s.checkResource(ctx, id, candidate, ch.Chilled); err != nil {
		return err
	}

	if sharedType(typ) {
		return s.putShared(ctx, id, candidate, ch)
	}
	members := s.usersOf(id, candidate)
	if err := s.prepareAll(ctx, members, nil, s.resources.next(candidate)); err != nil {
		return err
	}
	generation, err := s.keepResource(id, res, ch.origin)
	if err != nil {
		s.discardAll(members)
		return err
	}
	// What the store has is put into force whatever becomes of the request.
	ctx = s.root
	failures := s.applyAll(ctx, members, s.renewMember, s.stopTimeout(ch))
	// A stream that was changed meanwhile gets the resource all the same.
	maps.DeleteFunc(failures, func(_ string, err error) bool { return errors.Is(err, ErrConflict) })
	maps.Copy(failures, s.catchUp(ctx, id, generation, s.stopTimeout(ch)))
	if len(failures) > 0 {
		return &SetError{Failures: failures}
	}
	return nil
}

// keepResource has the store take a resource, and then puts it into force.
func (s *Supervisor) keepResource(id string, res storedResource, origin store.Origin) (uint64, error) {
	_, generation := s.resources.present()
	generation++
	text := store.Resource{Type: res.typ, ID: id, Config: textOf(res.doc), Origin: orAPI(origin), Generation: generation}
	if err := s.store.Update(func(tx *store.Tx) error { return tx.PutResource(text) }); err != nil {
		return 0, err
	}
	res.origin, res.generation = text.Origin, generation
	s.resources.put(id, res)
	return generation, nil
}

// renewMember gives a stream the runner that was prepared with a new resource.
func (s *Supervisor) renewMember(ctx context.Context, m *member, timeout time.Duration) error {
	return m.hand(ctx, func(ctx context.Context) error {
		st := m.stream
		switch {
		case st.revision != m.revision || st.paused || st.state == StateFinished:
			if m.inst != nil {
				m.inst.discard()
			}
			return ErrConflict
		case m.inst == nil:
			return st.renew(ctx, timeout)
		}
		return st.replace(ctx, m.inst, nil, timeout)
	})
}

// catchUp restarts the streams that use the resource and were being created
// or changed while it was replaced: they have been built with the old one.
func (s *Supervisor) catchUp(ctx context.Context, id string, generation uint64, timeout time.Duration) map[string]error {
	failures := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	byID := s.resources.snapshot()
	for _, st := range s.all() {
		if !st.mentioned(byID)[id] {
			continue
		}
		wg.Go(func() {
			err := st.do(ctx, func(ctx context.Context) error {
				if st.current == nil || st.current.generation >= generation || !mentioned(st.spec.engine, byID)[id] {
					return nil
				}
				return st.renew(ctx, timeout)
			})
			if err != nil && !errors.Is(err, ErrNotFound) {
				mu.Lock()
				failures[publicID(st.id)] = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failures
}

// checkResource has a throwaway runner lint and build the resource with id. The
// caller has the turn of bulk changes: such runners share a user.
func (s *Supervisor) checkResource(ctx context.Context, id string, candidate map[string]storedResource, chilled bool) error {
	defaults, _ := options.Parse(nil, options.Allowed{})
	chosen, err := s.chooseFor(ctx, id, candidate)
	if err != nil {
		return err
	}
	if sharedType(candidate[id].typ) {
		defaults = s.hostOptions(defaults)
	}
	req := s.prepareRequest("", toRPC(chosen.resources, id), defaults)
	if sharedType(candidate[id].typ) {
		req.Environment[folderVariable] = s.dataDir(hostID)
	}
	req.ResourcesOnly = true
	req.Chilled = chilled
	// There is no stream whose folder could hold the logs.
	req.LogDir = ""
	runner, _, err := s.startPrepared(ctx, chosen.runner, "", req, defaults, s.confiner.of(options.Limits{}))
	if err != nil {
		return explain(err, nil, func(id string) *document.Document { return candidate[id].doc })
	}
	runner.followed.unwatch()
	runner.proc.Kill()
	return nil
}

// usersOf lists the streams that run with the resource id.
func (s *Supervisor) usersOf(id string, byID map[string]storedResource) []*member {
	var members []*member
	for _, st := range s.existing() {
		v := st.seen.Load()
		if v.state != StateFinished && !v.paused && mentioned(v.spec.engine, byID)[id] {
			members = append(members, &member{id: st.id, stream: st, spec: v.spec, revision: v.revision})
		}
	}
	return members
}

func checkResource(typ, id string) error {
	if !slices.Contains(resourceTypes, typ) {
		return ErrResourceType
	}
	if !validID.MatchString(id) {
		return &InvalidError{fmt.Sprintf("resource id %q is not valid: %s", id, idRule)}
	}
	return nil
}

// Resources lists all resources by type and id.
func (s *Supervisor) Resources() []Resource {
	byID := s.resources.snapshot()
	users := s.users(byID)
	out := make([]Resource, 0, len(byID))
	for id, res := range byID {
		out = append(out, Resource{Type: res.typ, ID: id, Document: res.doc, Shared: sharedType(res.typ), Origin: string(res.origin), Streams: users[id]})
	}
	slices.SortFunc(out, func(a, b Resource) int {
		return strings.Compare(a.Type+"/"+a.ID, b.Type+"/"+b.ID)
	})
	return out
}

// GetResource returns one resource, or ErrNotFound.
func (s *Supervisor) GetResource(typ, id string) (Resource, error) {
	if err := checkResource(typ, id); err != nil {
		return Resource{}, err
	}
	byID := s.resources.snapshot()
	res, ok := byID[id]
	if !ok || res.typ != typ {
		return Resource{}, fmt.Errorf("%s resource %q: %w", typ, id, ErrNotFound)
	}
	return Resource{Type: typ, ID: id, Document: res.doc, Shared: sharedType(res.typ), Origin: string(res.origin), Streams: s.users(byID)[id]}, nil
}

// DeleteResource removes a resource that nothing uses; else the error is an
// *InUseError.
func (s *Supervisor) DeleteResource(ctx context.Context, typ, id string) (err error) {
	_, end, err := s.beginBulk(ctx)
	if err != nil {
		return err
	}
	defer end()
	res, err := s.GetResource(typ, id)
	if err != nil {
		return err
	}
	byID, generation := s.resources.present()
	if err := s.inUse(id, byID); err != nil {
		return err
	}
	// A stream that is being created from now on cannot have it, and one that
	// has it already is seen.
	s.resources.remove(id, generation)
	defer func() {
		if err != nil {
			s.resources.putBack(id, byID[id], generation)
		}
	}()
	if err := s.inUse(id, byID); err != nil {
		return err
	}
	err = s.store.Update(func(tx *store.Tx) error { return tx.DeleteResource(res.ID, generation+1) })
	if err == nil {
		s.resources.begin(generation + 1)
		if sharedType(typ) {
			s.reshare(s.root)
			select {
			case s.hostNudge <- struct{}{}:
			default:
			}
		}
	}
	return err
}

// inUse is an *InUseError when a stream or a resource of byID uses the one
// with id.
func (s *Supervisor) inUse(id string, byID map[string]storedResource) error {
	inUse := &InUseError{Streams: s.users(byID)[id]}
	for other, stored := range byID {
		if other != id && stored.doc.Mentions(id) {
			inUse.Resources = append(inUse.Resources, stored.typ+"/"+other)
		}
	}
	slices.Sort(inUse.Resources)
	if len(inUse.Streams) > 0 || len(inUse.Resources) > 0 {
		return inUse
	}
	return nil
}

// users are the ids of the streams that use each resource, sorted; a stream
// that is being created or changed counts with what it will be.
func (s *Supervisor) users(byID map[string]storedResource) map[string][]string {
	users := make(map[string][]string, len(byID))
	for id := range byID {
		users[id] = []string{}
	}
	for _, st := range s.all() {
		for id := range st.mentioned(byID) {
			users[id] = append(users[id], publicID(st.id))
		}
	}
	for id, of := range users {
		slices.Sort(of)
		users[id] = slices.Compact(of)
	}
	return users
}

package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/document"
)

// outlineOf is a resource's config without anything below the names that it
// begins with: enough to tell whether a stream may use such a component, and
// nothing that is none of the stream's business.
func outlineOf(doc *document.Document, id string) ([]byte, error) {
	outline := map[string]any{}
	if fields, ok := doc.Value().(map[string]any); ok {
		for name, value := range fields {
			outline[name] = nil
			if name == "type" {
				outline[name] = value
			}
		}
	}
	outline["label"] = id
	return json.Marshal(outline)
}

// sharedOut lists the resources for the resource host, in order.
func sharedOut(byID map[string]storedResource) []rpc.Resource {
	var out []rpc.Resource
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		if res := byID[id]; sharedType(res.typ) {
			out = append(out, rpc.Resource{Type: res.typ, ID: id, Config: res.labelled.Text(), Generation: res.generation})
		}
	}
	return out
}

// putShared exchanges a resource in the host, which builds it before it takes the
// old one's place, and only then keeps it. The caller has the turn of bulk changes.
func (s *Supervisor) putShared(ctx context.Context, id string, candidate map[string]storedResource, ch Change) error {
	s.sharing.Lock()
	defer s.sharing.Unlock()
	before, generation := s.resources.present()
	res := candidate[id]
	res.generation = generation + 1
	candidate[id] = res
	renew, err := s.outgrows(ctx, candidate)
	if err != nil {
		return err
	}
	if renew != nil {
		if _, err := s.keepResource(id, res, ch.origin); err != nil {
			return err
		}
		return renew.do(s.root, func(ctx context.Context) error { return renew.renew(ctx, s.stopTimeout(ch)) })
	}
	refusals, err := s.share(ctx, candidate)
	for _, r := range refusals {
		if r.ID == id {
			err = &InvalidError{r.Message}
		}
	}
	if err == nil {
		_, err = s.keepResource(id, res, ch.origin)
	}
	if err == nil {
		return nil
	}
	// Whatever the host has taken of it.
	if _, undone := s.share(s.root, before); undone != nil {
		s.log.Error("the resource host may have a resource that is not in force", zap.String("resource", id), zap.Error(undone))
	}
	return err
}

// share has the host have these resources. The caller holds sharing. Without a
// host that runs there is nothing to do: the next is told of what is in force.
func (s *Supervisor) share(ctx context.Context, byID map[string]storedResource) ([]rpc.Refusal, error) {
	inst := s.hosts()
	if inst == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Prepare)
	defer cancel()
	refusals, err := inst.proc.Share(ctx, sharedOut(byID))
	if err != nil && (!inst.alive() || diedSoon(inst.proc, err)) {
		return nil, nil
	}
	return refusals, err
}

// outgrows is the host when its runner does not have what the resources name, and
// it has to be started anew as another; else nil. The error, which wraps
// ErrInvalid, is that no runner has it.
func (s *Supervisor) outgrows(ctx context.Context, byID map[string]storedResource) (*stream, error) {
	if _, err := s.chooseForHost(ctx, "", byID); err != nil {
		return nil, err
	}
	s.mu.RLock()
	st := s.streams[hostID]
	s.mu.RUnlock()
	inst := s.hosts()
	if st == nil || inst == nil {
		return nil, nil
	}
	if _, err := s.chooseForHost(ctx, inst.runner, byID); err != nil {
		return st, nil
	}
	return nil, nil
}

// reshare has the host have what is in force, which may have changed since it
// was prepared.
func (s *Supervisor) reshare(ctx context.Context) {
	s.sharing.Lock()
	defer s.sharing.Unlock()
	refusals, err := s.share(ctx, s.resources.snapshot())
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.Error("the resource host has not taken the resources that are in force: it has older ones until it is started again", zap.Error(err))
	}
	for _, r := range refusals {
		s.log.Error("the resource host cannot build a resource: streams that use it wait", zap.String("resource", r.ID), zap.String("reason", r.Message))
	}
}

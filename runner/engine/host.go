package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"penstock/rpc"
	"penstock/rpc/sharepb"
	"penstock/runner/share"
)

// rebuild is the pause before what could not be built is tried again.
const rebuild = 2 * time.Second

// host has the resources that all streams use, each in a set of its own: one can
// be exchanged and the others are not touched. It implements share.Backend, and
// operator for its own resources that use each other.
type host struct {
	env    *service.Environment
	req    rpc.PrepareRequest
	logger *slog.Logger
	pipes  *share.Pipes

	// sharing is held while resources are exchanged.
	sharing sync.Mutex
	// stopped ends what waits.
	stopped context.Context
	stop    context.CancelFunc

	mu   sync.RWMutex
	byID map[string]*hosted
	// faults are why resources cannot be built, of which wanted has the configs.
	faults map[string]error
	wanted []rpc.Resource
	// news is closed when a resource was built.
	news chan struct{}
}

// hosted is one resource.
type hosted struct {
	res       rpc.Resource
	resources *service.Resources
	// among are the labels of all resources that there were when it was built.
	among map[string]bool
	close func(context.Context) error
	// using is held for reading by those who use it.
	using sync.RWMutex
}

func newHost(env *service.Environment, req rpc.PrepareRequest, logger *slog.Logger) *host {
	h := &host{
		env: env, req: req, logger: logger, pipes: share.NewPipes(),
		byID: map[string]*hosted{}, faults: map[string]error{}, news: make(chan struct{}),
	}
	h.stopped, h.stop = context.WithCancel(context.Background())
	return h
}

// serve answers a stream until its connection ends.
func (h *host) serve(conn net.Conn) { share.Serve(conn, h, h.pipes) }

// share makes list the resources that there are. What cannot be built is refused
// and tried again, unless the host has an older one.
func (h *host) share(list []rpc.Resource) []rpc.Refusal {
	h.sharing.Lock()
	defer h.sharing.Unlock()
	h.mu.Lock()
	h.wanted = list
	clear(h.faults)
	h.mu.Unlock()
	return h.build(list)
}

// build builds what the host has not. The caller holds sharing.
func (h *host) build(list []rpc.Resource) []rpc.Refusal {
	var refusals []rpc.Refusal
	for _, res := range list {
		h.mu.RLock()
		old := h.byID[res.ID]
		h.mu.RUnlock()
		if old != nil && old.serves(res, list) {
			continue
		}
		made, err := h.make(res, list)
		if err != nil {
			h.logger.Error("The resource cannot be built", "resource", res.ID, "error", err)
			refusals = append(refusals, rpc.Refusal{ID: res.ID, Message: err.Error()})
		}
		h.put(res.ID, made, err)
	}
	h.mu.RLock()
	var gone []string
	for id := range h.byID {
		if !slices.ContainsFunc(list, func(res rpc.Resource) bool { return res.ID == id }) {
			gone = append(gone, id)
		}
	}
	h.mu.RUnlock()
	for _, id := range gone {
		h.put(id, nil, nil)
	}
	return refusals
}

// put exchanges a resource, or removes it. With an error the old one stays.
func (h *host) put(id string, made *hosted, err error) {
	h.mu.Lock()
	old := h.byID[id]
	switch {
	case err != nil && old != nil:
		old = nil
	case err != nil:
		h.faults[id] = err
	case made == nil:
		delete(h.byID, id)
	default:
		h.byID[id] = made
		delete(h.faults, id)
		close(h.news)
		h.news = make(chan struct{})
	}
	h.mu.Unlock()
	if old != nil {
		go h.end(old)
	}
}

// end closes a resource that nobody gets any more, once nobody uses it.
func (h *host) end(old *hosted) {
	old.using.Lock()
	defer old.using.Unlock()
	if err := old.close(context.Background()); err != nil {
		h.logger.Warn("The resource was not closed well", "resource", old.res.ID, "error", err)
	}
}

// make builds a resource among stand-ins for the others.
func (h *host) make(res rpc.Resource, list []rpc.Resource) (*hosted, error) {
	if _, left := withoutDenied(h.env, rpc.PrepareRequest{Policy: h.req.Policy, Environment: h.req.Environment, Resources: []rpc.Resource{res}}); len(left) > 0 {
		return nil, errors.New(left[0].why)
	}
	req := h.req
	req.Resources = []rpc.Resource{res}
	req.Resources[0].Check = true
	for _, other := range list {
		if other.ID != res.ID {
			other.Shared = true
			req.Resources = append(req.Resources, other)
		}
	}
	resources, closing, err := buildResources(h.env, req, h.logger)
	if err != nil {
		return nil, err
	}
	if err := checkResources(resources, req.Resources); err != nil {
		_ = closing(context.Background())
		return nil, err
	}
	made := &hosted{res: res, resources: resources, among: map[string]bool{}, close: closing}
	for _, other := range list {
		made.among[other.ID] = true
	}
	return made, nil
}

// serves says that a resource need not be built anew. One that names a label which
// was not there when it was built does not know it.
func (h *hosted) serves(res rpc.Resource, list []rpc.Resource) bool {
	if h.res.Generation != res.Generation || h.res.Type != res.Type || string(h.res.Config) != string(res.Config) {
		return false
	}
	return !slices.ContainsFunc(list, func(other rpc.Resource) bool {
		return !h.among[other.ID] && mentions(res.Config, other.ID)
	})
}

// mentions says that some value in a config is the label.
func mentions(config []byte, label string) bool {
	var root yaml.Node
	if err := yaml.Unmarshal(config, &root); err != nil {
		return false
	}
	var in func(n *yaml.Node) bool
	in = func(n *yaml.Node) bool {
		return n.Kind == yaml.ScalarNode && n.Value == label || slices.ContainsFunc(n.Content, in)
	}
	return in(&root)
}

// mend tries what could not be built again, until the host stops.
func (h *host) mend() {
	for {
		select {
		case <-h.stopped.Done():
			return
		case <-time.After(rebuild):
		}
		h.mu.RLock()
		broken := len(h.faults) > 0
		h.mu.RUnlock()
		if broken {
			h.sharing.Lock()
			_ = h.build(h.wanted)
			h.sharing.Unlock()
		}
	}
}

// use waits for a resource to be there, and keeps it from being closed until it
// is given back. It returns nil when the context ends before.
func (h *host) use(ctx context.Context, id string) *hosted {
	for {
		h.mu.RLock()
		r, news := h.byID[id], h.news
		if r != nil {
			r.using.RLock()
			h.mu.RUnlock()
			return r
		}
		h.mu.RUnlock()
		select {
		case <-news:
		case <-ctx.Done():
			return nil
		case <-h.stopped.Done():
			return nil
		}
	}
}

// Do implements share.Backend. An operation of a resource that is not there, or
// cannot be built, waits: a stream that was told of an error could drop what it
// asked for.
func (h *host) Do(ctx context.Context, req *sharepb.Request) *sharepb.Response {
	resp := &sharepb.Response{Code: sharepb.Response_CODE_OK}
	r := h.use(ctx, req.GetLabel())
	if r == nil {
		resp.Code = sharepb.Response_CODE_CANCELED
		return resp
	}
	defer r.using.RUnlock()
	var opErr, err error
	if req.GetKind() == sharepb.Request_KIND_ACCESS {
		err = r.resources.AccessRateLimit(ctx, req.GetLabel(), func(l service.RateLimit) {
			var wait time.Duration
			wait, opErr = l.Access(ctx)
			resp.WaitNanos = int64(wait)
		})
	} else {
		err = r.resources.AccessCache(ctx, req.GetLabel(), func(c service.Cache) { resp.Value, opErr = operate(ctx, c, req) })
	}
	if err = errors.Join(err, opErr); err == nil {
		return resp
	}
	resp.Error = validText(err.Error())
	switch {
	case errors.Is(err, service.ErrKeyNotFound):
		resp.Code = sharepb.Response_CODE_KEY_NOT_FOUND
	case errors.Is(err, service.ErrKeyAlreadyExists):
		resp.Code = sharepb.Response_CODE_KEY_ALREADY_EXISTS
	default:
		resp.Code = sharepb.Response_CODE_ERROR
	}
	return resp
}

func operate(ctx context.Context, c service.Cache, req *sharepb.Request) ([]byte, error) {
	switch req.GetKind() {
	case sharepb.Request_KIND_GET:
		return c.Get(ctx, string(req.GetKey()))
	case sharepb.Request_KIND_SET:
		for _, item := range req.GetItems() {
			if err := c.Set(ctx, string(item.GetKey()), item.GetValue(), duration(item.TtlNanos)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case sharepb.Request_KIND_ADD:
		return nil, c.Add(ctx, string(req.GetKey()), req.GetValue(), duration(req.TtlNanos))
	case sharepb.Request_KIND_DELETE:
		return nil, c.Delete(ctx, string(req.GetKey()))
	}
	return nil, fmt.Errorf("the resource host knows no operation %d: it is older than the stream's runner", req.GetKind())
}

// inside is the operator of the host's own resources.
type inside struct{ *host }

// Do implements operator.
func (i inside) Do(ctx context.Context, req *sharepb.Request) (*sharepb.Response, bool, error) {
	return i.host.Do(ctx, req), false, ctx.Err()
}

// readiness tells of the resources as of connections.
func (h *host) readiness() rpc.Readiness {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := rpc.Readiness{Ready: len(h.faults) == 0}
	for _, res := range h.wanted {
		c := rpc.Connection{Path: res.Type + "_resources", Label: res.ID, Connected: h.byID[res.ID] != nil}
		if fault := h.faults[res.ID]; fault != nil {
			c.Error = fault.Error()
		}
		out.Connections = append(out.Connections, c)
	}
	return out
}

// shut closes all resources.
func (h *host) shut(ctx context.Context) error {
	h.stop()
	h.sharing.Lock()
	defer h.sharing.Unlock()
	h.mu.Lock()
	all := h.byID
	h.byID = map[string]*hosted{}
	h.mu.Unlock()
	var errs []error
	for _, r := range all {
		errs = append(errs, r.close(ctx))
	}
	return errors.Join(errs...)
}

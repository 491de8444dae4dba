package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
	"penstock/rpc/sharepb"
)

// standInName is the component by which a label means the resource host's
// instance. Nobody's config can name it: it is registered after linting, and is
// built only for labels that are shared.
const standInName = "penstock_shared"

// operator carries operations of shared resources out: a share.Link does so in
// the host, and the host in its own process. retried says that an operation may
// have been carried out before the one that was answered.
type operator interface {
	Do(ctx context.Context, req *sharepb.Request) (resp *sharepb.Response, retried bool, err error)
}

// registerStandIns registers what stands in for shared resources. Those of the
// labels that shared knows are built.
func registerStandIns(env *service.Environment, by operator, shared func(label string) bool) error {
	label := func(mgr *service.Resources) (string, error) {
		if !shared(mgr.Label()) {
			return "", fmt.Errorf("no component type is called %s", standInName)
		}
		return mgr.Label(), nil
	}
	spec := service.NewConfigSpec().Summary("Stands in for a resource of the resource host.")
	return errors.Join(
		env.RegisterCache(standInName, spec, func(_ *service.ParsedConfig, mgr *service.Resources) (service.Cache, error) {
			name, err := label(mgr)
			return &cacheStandIn{asker{by: by, label: name, logger: mgr.Logger()}}, err
		}),
		env.RegisterRateLimit(standInName, spec, func(_ *service.ParsedConfig, mgr *service.Resources) (service.RateLimit, error) {
			name, err := label(mgr)
			return &rateLimitStandIn{asker{by: by, label: name, logger: mgr.Logger()}}, err
		}),
	)
}

// standIn is the resource that is built in place of a shared one.
func standIn(res rpc.Resource) rpc.Resource {
	res.Config = fmt.Appendf(nil, "label: %q\n%s: {}\n", res.ID, standInName)
	return res
}

// waitPatience is how long an operation waits before the log says so.
const waitPatience = 5 * time.Second

// asker asks for operations of the resource with a label.
type asker struct {
	by     operator
	label  string
	logger *service.Logger
	// told says that the log has that operations wait.
	told atomic.Bool
}

// do waits for as long as it takes: for a host that is being started again, and for
// a resource that cannot be built or is gone. The first that waits says so.
func (a *asker) do(ctx context.Context, req *sharepb.Request) (*sharepb.Response, bool, error) {
	req.Label = a.label
	late := time.AfterFunc(waitPatience, func() {
		if !a.told.Swap(true) {
			a.logger.Errorf("Operations on the shared resource %q wait: the resource host is down, or has no such resource, or cannot build it", a.label)
		}
	})
	resp, retried, err := a.by.Do(ctx, req)
	if !late.Stop() && err == nil {
		a.told.Store(false)
	}
	if err == nil {
		err = errorOf(resp)
	}
	return resp, retried, err
}

// sharedLabels tells the labels of the resources that are shared.
func sharedLabels(list []rpc.Resource) func(string) bool {
	labels := map[string]bool{}
	for _, res := range list {
		if res.Shared {
			labels[res.ID] = true
		}
	}
	return func(label string) bool { return labels[label] }
}

// cacheStandIn implements service.Cache, and the setting of many at once.
type cacheStandIn struct{ asker }

// Get implements service.Cache.
func (c *cacheStandIn) Get(ctx context.Context, key string) ([]byte, error) {
	resp, _, err := c.do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_GET, Key: []byte(key)})
	return resp.GetValue(), err
}

// Set implements service.Cache.
func (c *cacheStandIn) Set(ctx context.Context, key string, value []byte, ttl *time.Duration) error {
	return c.SetMulti(ctx, service.CacheItem{Key: key, Value: value, TTL: ttl})
}

// SetMulti is used by the engine where it is implemented.
func (c *cacheStandIn) SetMulti(ctx context.Context, items ...service.CacheItem) error {
	req := &sharepb.Request{Kind: sharepb.Request_KIND_SET}
	for _, item := range items {
		req.Items = append(req.Items, &sharepb.Item{Key: []byte(item.Key), Value: item.Value, TtlNanos: nanos(item.TTL)})
	}
	_, _, err := c.do(ctx, req)
	return err
}

// Add implements service.Cache. When the host has died meanwhile it may have
// added the key already, for this very caller: a key that exists then counts as
// added. Otherwise the message that is asked for would be taken for a duplicate
// of itself.
func (c *cacheStandIn) Add(ctx context.Context, key string, value []byte, ttl *time.Duration) error {
	_, retried, err := c.do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_ADD, Key: []byte(key), Value: value, TtlNanos: nanos(ttl)})
	if retried && errors.Is(err, service.ErrKeyAlreadyExists) {
		return nil
	}
	return err
}

// Delete implements service.Cache. As with Add, a key that is gone when it is
// asked for once more counts as deleted.
func (c *cacheStandIn) Delete(ctx context.Context, key string) error {
	_, retried, err := c.do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_DELETE, Key: []byte(key)})
	if retried && errors.Is(err, service.ErrKeyNotFound) {
		return nil
	}
	return err
}

// Close implements service.Cache: the resource outlives its users.
func (c *cacheStandIn) Close(context.Context) error { return nil }

// rateLimitStandIn implements service.RateLimit.
type rateLimitStandIn struct{ asker }

// Access implements service.RateLimit.
func (r *rateLimitStandIn) Access(ctx context.Context) (time.Duration, error) {
	resp, _, err := r.do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_ACCESS})
	return time.Duration(resp.GetWaitNanos()), err
}

// Close implements service.RateLimit.
func (r *rateLimitStandIn) Close(context.Context) error { return nil }

// errorOf is the error that the host's component gave.
func errorOf(resp *sharepb.Response) error {
	switch resp.GetCode() {
	case sharepb.Response_CODE_OK:
		return nil
	case sharepb.Response_CODE_KEY_NOT_FOUND:
		return service.ErrKeyNotFound
	case sharepb.Response_CODE_KEY_ALREADY_EXISTS:
		return service.ErrKeyAlreadyExists
	}
	return errors.New(resp.GetError())
}

func nanos(ttl *time.Duration) *int64 {
	if ttl == nil {
		return nil
	}
	n := int64(*ttl)
	return &n
}

func duration(nanos *int64) *time.Duration {
	if nanos == nil {
		return nil
	}
	d := time.Duration(*nanos)
	return &d
}

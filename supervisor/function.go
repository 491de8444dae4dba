package supervisor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"penstock/rpc"
)

// RemoteAddrHeader is the header in which whoever uses a Function has to put
// the caller's address, in place of what the caller may have sent there.
const RemoteAddrHeader = rpc.RemoteAddrHeader

// Endpoint is a path that a stream serves.
type Endpoint struct {
	// Path is a pattern as the engine's: it may hold {parameters}, and one
	// that ends in a slash serves everything below it.
	Path   string
	Stream string
}

// Endpoints lists what the running streams serve, sorted by path.
func (s *Supervisor) Endpoints() []Endpoint {
	var out []Endpoint
	for _, st := range s.existing() {
		v := st.seen.Load()
		if !v.active() {
			continue
		}
		for _, path := range v.current.endpoints {
			out = append(out, Endpoint{Path: path, Stream: st.id})
		}
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Owner returns the id of the stream that serves a request, or ErrNotFound.
// Without prefixes it is the one that was started last of those that serve
// the path.
func (s *Supervisor) Owner(r *http.Request) (string, error) {
	if s.cfg.PrefixStreamEndpoints {
		id, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		_, err := s.find(id)
		return id, err
	}
	var owner string
	var started time.Time
	for _, st := range s.existing() {
		v := st.seen.Load()
		if !v.serves() || !slices.ContainsFunc(v.current.endpoints, func(p string) bool { return serves(p, r) }) {
			continue
		}
		if owner == "" || v.current.startedAt.After(started) {
			owner, started = st.id, v.current.startedAt
		}
	}
	if owner == "" {
		return "", fmt.Errorf("path %s: %w", r.URL.Path, ErrNotFound)
	}
	return owner, nil
}

// serves matches as the runner's router does.
func serves(pattern string, r *http.Request) bool {
	route := mux.NewRouter().NewRoute()
	if strings.HasSuffix(pattern, "/") {
		route = route.PathPrefix(pattern)
	} else {
		route = route.Path(pattern)
	}
	return route.Match(r, &mux.RouteMatch{})
}

// serves reports whether the stream's endpoints can be reached. They can while
// it is being stopped: what it holds may still be collected from it.
func (v *view) serves() bool {
	return v.current != nil && v.current.alive() && (v.state == StateRunning || v.state == StateStopping)
}

// Function returns the way to a stream's own HTTP endpoints, and what has to
// be called once when the exchange is over. While the stream's runner is being
// replaced it waits for the next one, though what only reads may still collect
// from the old one. The error wraps ErrNotFound, or ErrUnavailable when the
// stream has no runner.
func (s *Supervisor) Function(ctx context.Context, id, method string) (http.RoundTripper, func(), error) {
	st, err := s.find(id)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Stop+s.cfg.Timeouts.Prepare)
	defer cancel()
	for {
		v := st.seen.Load()
		if v.serves() {
			if reads(method) {
				return v.current.transport, func() {}, nil
			}
			if v.current.traffic.enter() {
				return v.current.transport, v.current.traffic.leave, nil
			}
			if !v.switching {
				// It has begun to make way since, which a newer view says.
				continue
			}
		}
		if !v.switching {
			return nil, nil, fmt.Errorf("%w: stream %q does not run: %s", ErrUnavailable, id, v.whyDown())
		}
		select {
		case <-v.superseded:
		case <-st.gone:
			return nil, nil, fmt.Errorf("stream %q: %w", id, ErrNotFound)
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w: the runner of stream %q is being replaced: %w", ErrUnavailable, id, ctx.Err())
		}
	}
}

// reads says that a request of that method takes something from a stream and
// brings nothing: it is an output that answers it.
func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

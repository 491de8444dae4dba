package supervisor

import (
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

// Function returns the way to a stream's own HTTP endpoints. The error wraps
// ErrNotFound, or ErrUnavailable while the stream has no runner.
func (s *Supervisor) Function(id string) (http.RoundTripper, error) {
	st, err := s.find(id)
	if err != nil {
		return nil, err
	}
	v := st.seen.Load()
	if v.serves() {
		return v.current.transport, nil
	}
	return nil, fmt.Errorf("%w: stream %q does not run: %s", ErrUnavailable, id, v.whyDown())
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"penstock/rpc"
	"penstock/rpc/multiplex"
	"penstock/supervisor/options"
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
		if !st.active(v) && v.state != StateIdle {
			continue
		}
		for _, path := range st.paths(v) {
			out = append(out, Endpoint{Path: path, Stream: st.id})
		}
	}
	slices.SortFunc(out, func(a, b Endpoint) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Owner returns the id of the stream that serves a path, which is decoded, or
// ErrNotFound. Without prefixes it is the one that was started last of those
// that serve it.
func (s *Supervisor) Owner(path string) (string, error) {
	if s.cfg.PrefixStreamEndpoints {
		id, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		_, err := s.find(id)
		return id, err
	}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}}
	var owner string
	var started time.Time
	for _, st := range s.existing() {
		v := st.seen.Load()
		if !slices.ContainsFunc(st.paths(v), func(p string) bool { return serves(p, r) }) {
			continue
		}
		begun := v.since
		if v.current != nil {
			begun = v.current.startedAt
		}
		if owner == "" || begun.After(started) {
			owner, started = st.id, begun
		}
	}
	if owner == "" {
		return "", fmt.Errorf("path %s: %w", path, ErrNotFound)
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

// paths are those at which the stream can be reached, or will be soon.
func (v *view) paths() []string {
	switch {
	case v.serves():
		return v.current.endpoints
	case v.state == StateIdle, v.switching, v.comesBack():
		return v.endpoints
	}
	return nil
}

// Function is the way to a stream's own HTTP endpoints, for one call.
type Function struct {
	// Calls is for all but those that leave HTTP, which are RoundTripper's.
	Calls *multiplex.Client
	http.RoundTripper
	// HTTP is what the stream has said of its calls.
	HTTP options.HTTP

	// Release gives the function back. It is to be called once, when the exchange
	// is over.
	Release func()
	// WhyLost says in the past tense what has become of a runner that has broken
	// off what it was sent. It waits a moment for the runner's end.
	WhyLost func() string
}

// restartPatience is how long a call waits for a stream whose runner has died
// and is being started again.
const restartPatience = 2 * time.Second

// Call is what a Function is for.
type Call struct {
	Method string
	// Arrived is when the call did: the stream's timeout counts from there.
	Arrived time.Time
	// Probe asks how the stream is: it waits for nothing, and does not count.
	Probe bool
}

// Function waits until a stream takes a call. While the stream's runner is
// being replaced it waits for the next one, though what only reads may still
// collect from the old one; and while it is started again after a crash, for a
// while. The error wraps ErrNotFound, ErrBusy, ErrTimeout when the stream's own
// timeout has passed, ErrIdle for a probe of a stream that is idle, or
// ErrUnavailable when it has no runner.
func (s *Supervisor) Function(ctx context.Context, id string, call Call) (Function, error) {
	st, err := s.find(id)
	if err != nil {
		return Function{}, err
	}
	v := st.seen.Load()
	own := v.spec.options.HTTP
	if call.Probe {
		switch {
		case v.state == StateIdle:
			return Function{}, fmt.Errorf("%w: stream %q: %s", ErrIdle, id, v.reason)
		case !v.serves():
			return Function{}, fmt.Errorf("%w: stream %q does not run: %s", ErrUnavailable, id, v.whyDown())
		}
		return v.current.function(own, func() {}), nil
	}
	var late <-chan time.Time
	if own.Timeout > 0 {
		timer := time.NewTimer(time.Until(call.Arrived.Add(own.Timeout)))
		defer timer.Stop()
		late = timer.C
	}
	if err := st.gate.enter(ctx, late); err != nil {
		if errors.Is(err, errLate) {
			err = fmt.Errorf("%w: it waited %s for its turn: stream %q answers %d at a time (runtime.http)", ErrTimeout, own.Timeout, id, own.MaxInFlight)
		}
		return Function{}, err
	}
	inst, entered, err := s.taker(ctx, late, st, call.Method)
	if err != nil {
		st.gate.leave()
		if errors.Is(err, errLate) {
			err = fmt.Errorf("%w: it waited %s for stream %q, which is being started: %s", ErrTimeout, own.Timeout, id, st.seen.Load().whyDown())
		}
		return Function{}, err
	}
	return inst.function(own, func() {
		inst.load.Add(-1)
		if entered {
			inst.traffic.leave()
		}
		st.gate.leave()
	}), nil
}

// function is the way to the runner for one call.
func (i *instance) function(own options.HTTP, release func()) Function {
	return Function{Calls: i.calls, RoundTripper: i.transport, HTTP: own, WhyLost: i.whyLost, Release: release}
}

// whyLost waits a moment for the runner's end and says what it was.
func (i *instance) whyLost() string {
	select {
	case <-i.proc.Exited():
		return i.proc.Exit().String()
	case <-time.After(deathNotice):
		return "broke the connection off"
	}
}

// taker waits for a runner that takes a call. entered says that its traffic is
// to be left.
func (s *Supervisor) taker(ctx context.Context, late <-chan time.Time, st *stream, method string) (inst *instance, entered bool, err error) {
	// Most find one at once, and need none of these.
	var overdue, impatient <-chan time.Time
	for {
		news := *st.replicas.news.Load()
		v := st.seen.Load()
		if inst, entered = st.choose(v, method); inst != nil {
			return inst, entered, nil
		}
		if v.serves() && !v.switching {
			// It has begun to make way since, which a newer view says.
			continue
		}
		if overdue == nil {
			timer, soon := time.NewTimer(s.cfg.Timeouts.Stop+s.cfg.Timeouts.Prepare), time.NewTimer(restartPatience)
			defer timer.Stop()
			defer soon.Stop()
			overdue, impatient = timer.C, soon.C
		}
		patience := overdue
		switch {
		case v.state == StateIdle:
			st.wake()
		case !v.switching:
			if !st.comesBack(v) {
				return nil, false, fmt.Errorf("%w: stream %q does not run: %s", ErrUnavailable, st.id, v.whyDown())
			}
			patience = impatient
		}
		select {
		case <-v.superseded:
		case <-news:
		case <-st.gone:
			return nil, false, fmt.Errorf("stream %q: %w", st.id, ErrNotFound)
		case <-patience:
			return nil, false, fmt.Errorf("%w: stream %q is being started, which takes its time: %s", ErrUnavailable, st.id, v.whyDown())
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-late:
			return nil, false, errLate
		}
	}
}

// comesBack says that the stream has no runner now and may have one soon.
func (v *view) comesBack() bool {
	switch v.state {
	case StateBackoff, StateStarting, StatePending:
		return true
	case StateRunning:
		// It has died, which its actor takes note of next.
		return v.current == nil || !v.current.alive()
	}
	return false
}

// Reads says that a request of that method takes something from a stream and
// brings nothing: it is an output that answers it.
func Reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

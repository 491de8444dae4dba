package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/mux"

	"penstock/rpc"
)

// endpoints is the mux the engine registers the stream's HTTP endpoints on.
// Routing is gorilla's because the engine reads path parameters with it.
type endpoints struct {
	prefix string

	// built is closed when the engine has built the stream; gate is closed to
	// let it run.
	built chan struct{}
	gate  chan struct{}

	mu       sync.RWMutex
	router   *mux.Router
	handlers map[string]http.HandlerFunc
	// patterns says that one of the paths serves more than itself. Where none
	// does, the router has nothing to find out.
	patterns bool
	ready    http.HandlerFunc
	// outputs are the streaming handlers of http_server outputs.
	outputs []http.HandlerFunc
}

func newEndpoints(streamID string, prefixed bool) *endpoints {
	e := &endpoints{
		built:    make(chan struct{}),
		gate:     make(chan struct{}),
		router:   mux.NewRouter(),
		handlers: map[string]http.HandlerFunc{},
	}
	if prefixed {
		e.prefix = "/" + streamID
	}
	return e
}

// HandleFunc is called by the engine for every endpoint of the stream.
func (e *endpoints) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	e.register(e.place(pattern), handler)
	if isOutputStream(handler) {
		e.mu.Lock()
		e.outputs = append(e.outputs, handler)
		e.mu.Unlock()
	}
	if !isStreamReady(handler) {
		return
	}
	e.mu.Lock()
	e.ready = handler
	e.mu.Unlock()
	close(e.built)
	<-e.gate
}

// place puts a path below the stream's prefix. A path that ends in a slash
// still serves everything below it there, which upstream's join loses.
func (e *endpoints) place(pattern string) string {
	if e.prefix == "" {
		return pattern
	}
	placed := path.Join(e.prefix, pattern)
	if strings.HasSuffix(pattern, "/") {
		placed += "/"
	}
	return placed
}

// register adds a handler; the last one of a path wins, as upstream.
func (e *endpoints) register(placed string, handler http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, known := e.handlers[placed]
	e.handlers[placed] = handler
	if known {
		return
	}
	e.patterns = e.patterns || strings.Contains(placed, "{") || strings.HasSuffix(placed, "/")
	serve := func(w http.ResponseWriter, r *http.Request) {
		e.mu.RLock()
		h := e.handlers[placed]
		e.mu.RUnlock()
		h(w, r)
	}
	if !strings.HasSuffix(placed, "/") {
		e.router.Path(placed).HandlerFunc(serve)
		return
	}
	e.router.PathPrefix(placed).HandlerFunc(serve)
	if bare := strings.TrimSuffix(placed, "/"); bare != "" {
		e.router.Path(bare).HandlerFunc(serve)
	}
}

// ServeHTTP implements http.Handler.
func (e *endpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.RLock()
	h, known := e.handlers[r.URL.Path]
	known = known && !e.patterns
	e.mu.RUnlock()
	if known {
		h(w, r)
		return
	}
	e.router.ServeHTTP(w, r)
}

func (e *endpoints) paths() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([]string, 0, len(e.handlers))
	for p := range e.handlers {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// readiness asks the stream's own /ready handler, which is the only door the
// engine has to the state of its connections.
func (e *endpoints) readiness() (rpc.Readiness, error) {
	e.mu.RLock()
	ready := e.ready
	e.mu.RUnlock()
	if ready == nil {
		return rpc.Readiness{}, rpc.ErrNotPrepared
	}
	answer := &recorder{header: http.Header{}, status: http.StatusOK}
	ready(answer, &http.Request{Method: http.MethodGet})
	var body struct {
		Statuses []struct {
			Label     string `json:"label"`
			Path      string `json:"path"`
			Connected bool   `json:"connected"`
			Error     string `json:"error"`
		} `json:"statuses"`
	}
	if err := json.Unmarshal(answer.body.Bytes(), &body); err != nil {
		return rpc.Readiness{}, fmt.Errorf("reading the engine's connection statuses: %w", err)
	}
	out := rpc.Readiness{Ready: answer.status == http.StatusOK}
	for _, s := range body.Statuses {
		out.Connections = append(out.Connections, rpc.Connection{
			Path: s.Path, Label: s.Label, Connected: s.Connected, Error: s.Error,
		})
	}
	return out, nil
}

// isStreamReady tells the handler the engine registers last of all, for the
// stream itself, from an http_server component's whose path happens to be
// /ready as well. The mux is told a path and a function and nothing else.
func isStreamReady(handler func(http.ResponseWriter, *http.Request)) bool {
	return strings.Contains(nameOf(handler), "/internal/stream.New.")
}

// recorder keeps the answer of a handler that is called in this process.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

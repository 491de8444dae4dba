package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"penstock/rpc/multiplex"
	"penstock/supervisor"
	"penstock/supervisor/document"
	"penstock/supervisor/events"
	"penstock/supervisor/options"
	"penstock/supervisor/stats"
)

// patience bounds every wait; a test that needs it has failed.
const patience = time.Minute

// recorder is Streams without processes: it keeps what it was given, or fails
// with err. Requests below /{owner}/ go to transport.
type recorder struct {
	owner     string
	calls     *multiplex.Client
	transport *http.Transport
	http      options.HTTP
	// conn is the last connection of calls.
	conn net.Conn
	hub  *events.Hub
	// logs is the folder of the log of every stream.
	logs string
	// paths are endpoints of streams besides the owner's.
	paths []string

	mu sync.Mutex
	life
	err       error
	faults    []supervisor.Fault
	streams   map[string]*document.Document
	resources map[string]*document.Document
	change    supervisor.Change
}

func newRecorder() *recorder {
	return &recorder{
		transport: &http.Transport{}, calls: multiplex.NewClient(nobody), hub: events.NewHub(16),
		streams: map[string]*document.Document{}, resources: map[string]*document.Document{},
	}
}

func (r *recorder) failWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *recorder) lastChange() supervisor.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.change
}

func (r *recorder) put(in map[string]*document.Document, id string, doc *document.Document, ch supervisor.Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		in[id], r.change = doc, ch
	}
	return r.err
}

func (r *recorder) find(in map[string]*document.Document, id string) (*document.Document, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	if doc, ok := in[id]; ok {
		return doc, nil
	}
	return nil, supervisor.ErrNotFound
}

func (r *recorder) remove(in map[string]*document.Document, id string) error {
	if _, err := r.find(in, id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(in, id)
	return nil
}

func (r *recorder) Create(_ context.Context, id string, doc *document.Document, ch supervisor.Change) error {
	return r.put(r.streams, id, doc, ch)
}

func (r *recorder) Update(_ context.Context, id string, doc *document.Document, ch supervisor.Change) error {
	return r.put(r.streams, id, doc, ch)
}

func (r *recorder) Patch(_ context.Context, id string, patch *document.Document, ch supervisor.Change) error {
	return r.put(r.streams, id, patch, ch)
}

func (r *recorder) Delete(_ context.Context, id string, timeout time.Duration) error {
	r.mu.Lock()
	r.change = supervisor.Change{Timeout: timeout}
	r.mu.Unlock()
	return r.remove(r.streams, id)
}

func (r *recorder) ReplaceAll(_ context.Context, set map[string]*document.Document, ch supervisor.Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.streams, r.change = set, ch
	}
	return r.err
}

func (r *recorder) Get(id string) (supervisor.Snapshot, error) {
	doc, err := r.find(r.streams, id)
	return supervisor.Snapshot{ID: id, Active: true, Uptime: 1500 * time.Millisecond, Document: doc}, err
}

func (r *recorder) List() []supervisor.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []supervisor.Snapshot
	for _, id := range slices.Sorted(maps.Keys(r.streams)) {
		out = append(out, supervisor.Snapshot{ID: id, Document: r.streams[id]})
	}
	return out
}

func (r *recorder) Ready(context.Context) []supervisor.Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults
}

func (r *recorder) Stats(_ context.Context, id string) (stats.Report, error) {
	_, err := r.find(r.streams, id)
	return stats.Report{Stream: id}, err
}

func (r *recorder) PutResource(_ context.Context, typ, id string, doc *document.Document, ch supervisor.Change) error {
	return r.put(r.resources, typ+"/"+id, doc, ch)
}

func (r *recorder) Resources() []supervisor.Resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []supervisor.Resource
	for key, doc := range r.resources {
		typ, id, _ := strings.Cut(key, "/")
		out = append(out, supervisor.Resource{Type: typ, ID: id, Document: doc, Streams: []string{}})
	}
	return out
}

func (r *recorder) GetResource(typ, id string) (supervisor.Resource, error) {
	doc, err := r.find(r.resources, typ+"/"+id)
	return supervisor.Resource{Type: typ, ID: id, Document: doc, Streams: []string{}}, err
}

func (r *recorder) DeleteResource(_ context.Context, typ, id string) error {
	return r.remove(r.resources, typ+"/"+id)
}

func (r *recorder) Endpoints() []supervisor.Endpoint {
	endpoints := []supervisor.Endpoint{{Path: "/" + r.owner + "/post", Stream: r.owner}}
	for _, path := range r.paths {
		endpoints = append(endpoints, supervisor.Endpoint{Path: path, Stream: r.owner})
	}
	return endpoints
}

func (r *recorder) Owner(path string) (string, error) {
	if slices.Contains(r.paths, path) {
		return r.owner, nil
	}
	if id, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/"); r.owner != "" && id == r.owner {
		return id, nil
	}
	return "", supervisor.ErrNotFound
}

// testConfig is the default one on a port that the kernel chooses.
func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	return cfg
}

// serve runs a server and returns its address. At the test's end no goroutine
// of it may be left.
func serve(t testing.TB, cfg Config, streams *recorder) string {
	t.Helper()
	addr, _ := serveUntil(t, cfg, streams)
	return addr
}

// serveUntil runs a server that the test may shut down by itself.
func serveUntil(t testing.TB, cfg Config, streams *recorder) (string, *Server) {
	t.Helper()
	return serveWithin(t, cfg, streams, usualBounds())
}

// serveWithin runs a server with bounds of its own.
func serveWithin(t testing.TB, cfg Config, streams *recorder, b bounds) (string, *Server) {
	t.Helper()
	addr, _, server := serveBoth(t, cfg, streams, b)
	return addr, server
}

// serveBoth runs a server and returns its address and that of the streams' own
// endpoints alone.
func serveBoth(t testing.TB, cfg Config, streams *recorder, b bounds) (all, functions string, _ *Server) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	server, err := newServer(cfg, streams, zap.NewNop(), "1.2.3", "today", b)
	require.NoError(t, err)
	addr, err := server.Listen()
	require.NoError(t, err)
	port, err := server.ListenFunctions()
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.NoError(t, <-served)
		streams.transport.CloseIdleConnections()
		streams.calls.Close()
		require.NoError(t, goleak.Find(before,
			// One for all servers, and one that sleeps for seconds before it
			// sees that its server has ended.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			// A test's own runner, which closes slowly.
			goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")))
	})
	return addr.String(), net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), server
}

// behind serves the stream foo by handler, on a server of its own.
func behind(t testing.TB, handler http.HandlerFunc) *recorder {
	t.Helper()
	runner := httptest.NewServer(multiplex.Handler(handler, handler))
	t.Cleanup(runner.Close)
	reach := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", runner.Listener.Addr().String())
	}
	streams := newRecorder()
	streams.owner = "foo"
	streams.calls = multiplex.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := reach(ctx)
		streams.mu.Lock()
		defer streams.mu.Unlock()
		streams.conn = conn
		return conn, err
	})
	streams.transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return reach(ctx) },
		DisableCompression: true,
	}
	return streams
}

// hangUp is what the death of a runner looks like to the calls that it has.
func (r *recorder) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.conn.Close()
}

// nobody is who runs no stream.
func nobody(context.Context) (net.Conn, error) { return nil, errors.New("there is no runner") }

// wire is one connection on which a test says what it wants to, byte by byte.
type wire struct {
	t testing.TB
	*net.TCPConn
	reader *bufio.Reader
}

func dial(t testing.TB, addr string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &wire{t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// send writes the lines of a head as HTTP ends them, and the body as it is.
func (w *wire) send(head []string, body string) {
	w.t.Helper()
	_, err := io.WriteString(w, strings.Join(head, "\r\n")+"\r\n\r\n"+body)
	require.NoError(w.t, err)
}

// answerRead is a response that was read to its end.
type answerRead struct {
	*http.Response
	text string
}

// receive reads the answer to a request of the method.
func (w *wire) receive(method string) answerRead {
	w.t.Helper()
	resp, err := http.ReadResponse(w.reader, &http.Request{Method: method})
	require.NoError(w.t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answerRead{resp, string(text)}
}

// pings says that the connection takes another request, and that nothing came
// before its answer.
func (w *wire) pings() {
	w.t.Helper()
	w.send([]string{"GET /ping HTTP/1.1", "Host: x"}, "")
	got := w.receive("GET")
	require.Equal(w.t, http.StatusOK, got.StatusCode)
	require.Equal(w.t, "pong", got.text)
}

// closed says that the server sends nothing more and closes the connection.
func (w *wire) closed() {
	w.t.Helper()
	rest, err := io.ReadAll(w.reader)
	// What the server has not read makes the kernel reset the connection.
	if err != nil {
		require.ErrorContains(w.t, err, "reset by peer")
	}
	require.Empty(w.t, string(rest))
}

// call makes one request on a connection of its own.
func call(t testing.TB, addr, method, path, body string, headers ...string) answerRead {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	require.NoError(t, err)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	req.Close = true
	resp, err := (&http.Transport{}).RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answerRead{resp, string(text)}
}

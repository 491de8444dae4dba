package runner

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"penstock/rpc"
)

const (
	// headTime bounds how long a connection may take to say what it wants: until
	// it has, it keeps its stream from becoming idle.
	headTime = 20 * time.Second
	// keepTime is how long a connection is kept on which nothing is asked.
	keepTime = 2 * time.Minute
	// quietTime bounds the wait for the calls that are under way before the
	// stream is stopped, which answers the rest as far as it can.
	quietTime = time.Second
	// partTime is how long a connection on which something was asked within the
	// last so much is kept for one more call, whose answer says that it is the last.
	partTime = 250 * time.Millisecond
	// lastWords bounds the wait for answers that the stopped stream has given to
	// be sent.
	lastWords = 250 * time.Millisecond
)

var (
	errListens    = errors.New("this runner listens already")
	errListensNot = errors.New("this runner has no listener")
	errLeft       = errors.New("this runner listens no more")
)

// ownListener serves the stream's endpoints on a socket that the supervisor
// gives the runner, and which stays the supervisor's: when the runner stops
// accepting, callers wait for the next one. It implements handover.Holder.
type ownListener struct {
	mu sync.Mutex
	// socket is nil until it is given.
	socket *net.TCPListener
	// handler is nil until the stream runs.
	handler http.Handler
	log     *slog.Logger
	server  *http.Server
	// served is closed when nothing is accepted any more; nil before server is
	// set.
	served chan struct{}
	left   bool
	calls  ownCalls
}

// Hold implements handover.Holder.
func (o *ownListener) Hold(fd int) error {
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.left:
		return errLeft
	case o.socket != nil:
		return errListens
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return err
	}
	socket, ok := listener.(*net.TCPListener)
	if !ok {
		_ = listener.Close()
		return errors.New("the socket is not one of TCP")
	}
	o.socket = socket
	o.serve()
	return nil
}

// Lend implements handover.Holder.
func (o *ownListener) Lend(use func(fd int) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.socket == nil || o.left {
		return errListensNot
	}
	raw, err := o.socket.SyscallConn()
	if err != nil {
		return err
	}
	var used error
	if err := raw.Control(func(fd uintptr) { used = use(int(fd)) }); err != nil {
		return err
	}
	return used
}

// run serves the handler from now on, once there is a socket.
func (o *ownListener) run(handler http.Handler, log *slog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handler, o.log = handler, log
	o.serve()
}

// serve begins when there are both a socket and a stream that runs.
func (o *ownListener) serve() {
	if o.socket == nil || o.handler == nil || o.left || o.server != nil {
		return
	}
	o.calls.begin()
	server, served, socket := &http.Server{
		Handler:           o.calls.counted(o.handler),
		ConnState:         o.calls.connState,
		ReadHeaderTimeout: headTime,
		IdleTimeout:       keepTime,
		ErrorLog:          slog.NewLogLogger(o.log.Handler(), slog.LevelWarn),
	}, make(chan struct{}), o.socket
	o.server, o.served = server, served
	go func() {
		defer close(served)
		_ = server.Serve(socket)
	}()
}

// leave stops accepting and waits until what was accepted is answered, no
// longer than patience.
func (o *ownListener) leave(patience time.Duration) {
	o.mu.Lock()
	socket, server, served := o.socket, o.server, o.served
	o.left = true
	o.mu.Unlock()
	if socket != nil {
		_ = socket.Close()
	}
	if server == nil {
		return
	}
	// Every connection that was accepted is counted after this.
	<-served
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o.calls.part(partTime)
	parted, stop := context.WithTimeout(ctx, partTime)
	defer stop()
	o.calls.await(parted)
	// Those that are kept still are closed, and in the middle of a request if one
	// has just come: what a client that had nothing to ask has to reckon with.
	server.SetKeepAlivesEnabled(false)
	o.calls.await(ctx)
}

// finish waits for the answers that a stopped stream has given to be sent.
func (o *ownListener) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	o.calls.await(ctx)
}

// activity is what happens on the listener; nil without one.
func (o *ownListener) activity() *rpc.OwnListener {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.server == nil {
		return nil
	}
	return o.calls.activity()
}

// ownHandler is what an own listener serves: the stream's endpoints, below
// their prefix or without it.
func ownHandler(prefix string, endpoints http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Nobody stands between the caller and the stream who would say so.
		r.Header.Del(rpc.RemoteAddrHeader)
		if prefix != "" && r.URL.Path != prefix && !strings.HasPrefix(r.URL.Path, prefix+"/") {
			r.URL.Path = prefix + r.URL.Path
			if r.URL.RawPath != "" {
				r.URL.RawPath = prefix + r.URL.RawPath
			}
		}
		endpoints.ServeHTTP(w, r)
	})
}

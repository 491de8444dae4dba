package runner

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"penstock/rpc"
)

// ownCalls knows what is under way on an own listener: calls, and connections
// that have been accepted and not said yet what they want.
type ownCalls struct {
	mu    sync.Mutex
	calls int
	// busy are the connections that are not idle, and kept those that are, with
	// the time since when.
	busy map[net.Conn]bool
	kept map[net.Conn]time.Time
	// parting says that every answer is the last on its connection. Then kept has
	// only those connections that are waited for.
	parting bool
	// since is when nothing was under way any more.
	since time.Time
	// quiet is closed when that is so; nil while nobody waits.
	quiet chan struct{}
}

// begin counts the time without calls from now on.
func (c *ownCalls) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.kept, c.since = map[net.Conn]bool{}, map[net.Conn]time.Time{}, time.Now()
}

// connState is the hook of an http.Server.
func (c *ownCalls) connState(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		c.busy[conn] = true
		delete(c.kept, conn)
	case http.StateIdle, http.StateHijacked, http.StateClosed:
		delete(c.kept, conn)
		if state == http.StateIdle {
			c.kept[conn] = time.Now()
		}
		if c.busy[conn] {
			// That one which was kept is closed is no call.
			delete(c.busy, conn)
			c.since = time.Now()
		}
		c.look()
	}
}

// part has every answer from now on say that it is the last on its connection.
// Of the connections that are kept those are waited for on which something was
// asked lately: a client that calls on and on learns so with an answer, and does
// not find the connection closed under its next call.
func (c *ownCalls) part(lately time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parting = true
	for conn, since := range c.kept {
		if time.Since(since) >= lately {
			delete(c.kept, conn)
		}
	}
}

// counted counts the calls of a handler. One that has left HTTP counts for as
// long as the handler goes on.
func (c *ownCalls) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls++
		parting := c.parting
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls--
			c.since = time.Now()
			c.look()
		}()
		if parting {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// over says that nothing is under way, nor waited for.
func (c *ownCalls) over() bool {
	return c.calls == 0 && len(c.busy) == 0 && (!c.parting || len(c.kept) == 0)
}

// look tells who waits that it is over, if that is so.
func (c *ownCalls) look() {
	if c.quiet != nil && c.over() {
		close(c.quiet)
		c.quiet = nil
	}
}

// await waits until it is over.
func (c *ownCalls) await(ctx context.Context) {
	c.mu.Lock()
	if c.over() {
		c.mu.Unlock()
		return
	}
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	quiet := c.quiet
	c.mu.Unlock()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
}

// activity is what the supervisor is told.
func (c *ownCalls) activity() *rpc.OwnListener {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &rpc.OwnListener{InFlight: c.calls}
	if c.calls == 0 && len(c.busy) == 0 {
		a.Quiet = time.Since(c.since)
	}
	return a
}

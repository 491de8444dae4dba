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
	// busy are the connections that are not idle.
	busy map[net.Conn]bool
	// since is when the last of both was over.
	since time.Time
	// quiet is closed when that is so; nil while nobody waits.
	quiet chan struct{}
}

// begin counts the time without calls from now on.
func (c *ownCalls) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.since = map[net.Conn]bool{}, time.Now()
}

// connState is the hook of an http.Server.
func (c *ownCalls) connState(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		c.busy[conn] = true
	case http.StateIdle, http.StateHijacked, http.StateClosed:
		if !c.busy[conn] {
			// It was kept for a next call, and that it is closed is none.
			return
		}
		delete(c.busy, conn)
		c.look()
	}
}

// counted counts the calls of a handler. One that has left HTTP counts for as
// long as the handler goes on.
func (c *ownCalls) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls++
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls--
			c.look()
		}()
		next.ServeHTTP(w, r)
	})
}

// look takes note that nothing is under way, if that is so.
func (c *ownCalls) look() {
	if c.calls > 0 || len(c.busy) > 0 {
		return
	}
	c.since = time.Now()
	if c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
}

// await waits until nothing is under way.
func (c *ownCalls) await(ctx context.Context) {
	c.mu.Lock()
	if c.calls == 0 && len(c.busy) == 0 {
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

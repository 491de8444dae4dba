package api

import (
	"context"
	"net"
	"time"
)

// clientContext is a context that ends when the client goes, or at its deadline.
// It begins to watch the client when it is first waited for, which most requests
// never are.
type clientContext struct {
	conn net.Conn
	// deadline ends it as well; zero for none.
	deadline time.Time

	ctx    context.Context
	cancel context.CancelFunc
	client *clientWatch
}

var _ context.Context = (*clientContext)(nil)

// Deadline implements context.Context.
func (p *clientContext) Deadline() (time.Time, bool) { return p.deadline, !p.deadline.IsZero() }

// Value implements context.Context.
func (p *clientContext) Value(any) any { return nil }

// Done implements context.Context. One goroutine may call it.
func (p *clientContext) Done() <-chan struct{} {
	if p.ctx == nil {
		if p.deadline.IsZero() {
			p.ctx, p.cancel = context.WithCancel(context.Background())
		} else {
			p.ctx, p.cancel = context.WithDeadline(context.Background(), p.deadline)
		}
		p.client = watchClient(p.conn, nil, false, p.cancel)
	}
	return p.ctx.Done()
}

// Err implements context.Context.
func (p *clientContext) Err() error {
	if p.ctx == nil {
		return nil
	}
	return p.ctx.Err()
}

// over ends the watch and reports whether the client has gone.
func (p *clientContext) over() bool {
	if p.ctx == nil {
		return false
	}
	p.client.forget()
	p.cancel()
	return p.client.left.Load()
}

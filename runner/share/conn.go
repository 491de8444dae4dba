package share

import (
	"context"
	"errors"
	"net"
	"sync"

	"penstock/rpc/sharepb"
)

// errBroken is that a connection ended before an answer came.
var errBroken = errors.New("the connection to the resource host broke")

// conn is a connection to the resource host.
type conn struct {
	*wire
	// over is closed when nothing is answered any more.
	over chan struct{}

	pendingMu sync.Mutex
	last      uint64
	pending   map[uint64]chan *sharepb.Response
}

func newConn(c net.Conn) *conn {
	w := newWire(c)
	w.check = few
	return &conn{wire: w, over: make(chan struct{}), pending: map[uint64]chan *sharepb.Response{}}
}

// run reads answers until the connection has ended.
func (c *conn) run() {
	go c.write()
	defer close(c.over)
	defer c.close()
	in := newFrames(c.conn)
	for {
		resp := &sharepb.Response{}
		if in.next(resp) != nil {
			return
		}
		c.pendingMu.Lock()
		waits, found := c.pending[resp.GetId()]
		delete(c.pending, resp.GetId())
		c.pendingMu.Unlock()
		switch {
		case found:
			waits <- resp
		case resp.GetDelivery() != 0:
			// Nobody waits for it any more.
			c.settle(resp.GetDelivery(), &sharepb.Verdict{Returned: true})
		}
	}
}

// do asks and waits for the answer. sent is called, unless it is nil, once the
// request has its place among those of the connection.
func (c *conn) do(ctx context.Context, req *sharepb.Request, sent func()) (*sharepb.Response, error) {
	answer := make(chan *sharepb.Response, 1)
	c.pendingMu.Lock()
	c.last++
	req.Id = c.last
	c.pending[req.GetId()] = answer
	c.pendingMu.Unlock()
	err := c.sendPatiently(ctx, req)
	if sent != nil {
		sent()
	}
	if err != nil {
		c.forget(req.GetId())
		return nil, err
	}
	select {
	case resp := <-answer:
		return resp, nil
	case <-c.over:
	case <-ctx.Done():
	}
	// The answer may have come in the same moment.
	if !c.forget(req.GetId()) {
		return <-answer, nil
	}
	if ctx.Err() == nil {
		return nil, errBroken
	}
	_ = c.send(&sharepb.Request{Id: req.GetId(), Kind: sharepb.Request_KIND_CANCEL})
	return nil, ctx.Err()
}

// forget has nobody wait for an answer any more. It is false when there is one.
func (c *conn) forget(id uint64) bool {
	c.pendingMu.Lock()
	defer c.pendingMu.Unlock()
	_, waits := c.pending[id]
	delete(c.pending, id)
	return waits
}

// settle says what has become of a batch that was pulled. Once the connection
// has ended the host takes it for lost by itself.
func (c *conn) settle(delivery uint64, v *sharepb.Verdict) {
	if c.send(&sharepb.Request{Kind: sharepb.Request_KIND_SETTLE, Delivery: delivery, Verdict: v}) != nil {
		// Its errors are too long to be told.
		_ = c.send(&sharepb.Request{Kind: sharepb.Request_KIND_SETTLE, Delivery: delivery, Verdict: &sharepb.Verdict{Error: v.GetError()}})
	}
}

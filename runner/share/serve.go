package share

import (
	"context"
	"net"

	"penstock/rpc/sharepb"
)

const (
	// maxOperations is how many operations of one connection are carried out at
	// once. What comes beyond them waits to be read.
	maxOperations = 1024
	// maxWaiting is how many pushes and pulls of one connection may wait.
	maxWaiting = 16 << 10
)

// Backend carries the operations of caches and rate limits out. Many are asked
// for at once.
type Backend interface {
	// Do answers a request of any kind up to KIND_ACCESS. The context ends with
	// the connection. It does not fail: what goes wrong is in the answer.
	Do(ctx context.Context, req *sharepb.Request) *sharepb.Response
}

// Serve answers what comes on a connection until it has ended, and closes it.
func Serve(connection net.Conn, backend Backend, pipes *Pipes) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &peer{wire: newWire(connection), pushes: map[uint64]*push{}, pulls: map[uint64]*pull{}, deliveries: map[uint64]*push{}}
	go p.write()
	defer p.close()
	defer pipes.leave(p)
	operations := make(chan struct{}, maxOperations)
	in := newFrames(connection)
	for {
		req := &sharepb.Request{}
		if in.next(req) != nil {
			return
		}
		switch req.GetKind() {
		case sharepb.Request_KIND_PUSH:
			pipes.push(p, req)
		case sharepb.Request_KIND_PULL:
			pipes.pull(p, req)
		case sharepb.Request_KIND_SETTLE:
			pipes.settle(p, req)
		case sharepb.Request_KIND_CANCEL:
			pipes.cancel(p, req.GetId())
		default:
			operations <- struct{}{}
			go func() {
				defer func() { <-operations }()
				resp := backend.Do(ctx, req)
				resp.Id = req.GetId()
				p.answer(resp)
			}()
		}
	}
}

// answer sends a response, or why it cannot be sent.
func (p *peer) answer(resp *sharepb.Response) {
	if err := p.send(resp); err != nil {
		_ = p.send(&sharepb.Response{Id: resp.GetId(), Code: sharepb.Response_CODE_ERROR, Error: err.Error()})
	}
}

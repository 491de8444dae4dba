package share

import (
	"context"
	"net"

	"golang.org/x/sync/semaphore"

	"penstock/rpc/sharepb"
)

const (
	// maxOperations is how many operations of one connection are carried out at
	// once. What comes beyond them waits to be read.
	maxOperations = 1024
	// maxRequested bounds what the requests take that are carried out at once for
	// one connection, in bytes; one alone may be larger.
	maxRequested = 32 << 20
	// maxWaiting is how many pushes and pulls of one connection may wait.
	maxWaiting = 16 << 10
	// maxWaitingBytes bounds what the pushes of one connection take that wait. A
	// Link keeps to less.
	maxWaitingBytes = 2 * MaxFrameBytes
)

// Backend carries the operations of caches and rate limits out. Many are asked
// for at once.
type Backend interface {
	// Do answers a request of any kind up to KIND_ACCESS. The context ends with
	// the connection. It does not fail: what goes wrong is in the answer. Without
	// one the request is another host's to answer, after the connection's end.
	Do(ctx context.Context, req *sharepb.Request) *sharepb.Response
}

// Serve answers what comes on a connection until it has ended, and closes it. name
// is the runner's at the other end, which has one connection at a time; there may
// be many of none.
func Serve(connection net.Conn, name string, backend Backend, pipes *Pipes) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &peer{wire: newWire(connection), name: name, pushes: map[uint64]*push{}, pulls: map[uint64]*pull{}, deliveries: map[uint64]*push{}}
	go p.write()
	defer p.close()
	defer pipes.leave(p)
	pipes.arrive(p)
	operations, requested := make(chan struct{}, maxOperations), semaphore.NewWeighted(maxRequested)
	in := newFrames(connection)
	in.check = few
	for spoke := false; ; spoke = true {
		req := &sharepb.Request{}
		if in.next(req) != nil {
			return
		}
		if !spoke {
			pipes.speak(p)
		}
		switch req.GetKind() {
		case sharepb.Request_KIND_PUSH:
			pipes.push(p, req, in.length)
		case sharepb.Request_KIND_PULL:
			pipes.pull(p, req)
		case sharepb.Request_KIND_SETTLE:
			pipes.settle(p, req)
		case sharepb.Request_KIND_CANCEL:
			if req.GetId() == 0 {
				pipes.stall(p, req.GetLabel())
			} else {
				pipes.cancel(p, req.GetId())
			}
		default:
			size := int64(min(in.length, maxRequested))
			if requested.Acquire(ctx, size) != nil {
				return
			}
			operations <- struct{}{}
			go func() {
				defer func() { <-operations }()
				defer requested.Release(size)
				if resp := backend.Do(ctx, req); resp != nil {
					resp.Id = req.GetId()
					p.answerPatiently(ctx, resp)
				}
			}()
		}
	}
}

// answer sends a response, or why it cannot be sent.
func (p *peer) answer(resp *sharepb.Response) { p.unlessSent(resp, p.send(resp)) }

// answerPatiently is answer for who can wait for the other end to read.
func (p *peer) answerPatiently(ctx context.Context, resp *sharepb.Response) {
	p.unlessSent(resp, p.sendPatiently(ctx, resp))
}

func (p *peer) unlessSent(resp *sharepb.Response, err error) {
	if err != nil {
		_ = p.send(&sharepb.Response{Id: resp.GetId(), Code: sharepb.Response_CODE_ERROR, Error: err.Error()})
	}
}

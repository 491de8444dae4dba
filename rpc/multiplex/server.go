package multiplex

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// serverConn is a connection from the supervisor.
type serverConn struct {
	handler http.Handler
	out     *writer
	// ahead is how many pieces of a body may be under way, either way.
	ahead int

	mu    sync.Mutex
	calls map[uint32]*served

	// work hands calls to goroutines that have served one before: their stacks
	// have the size that it takes.
	work chan *served
	idle atomic.Int32
}

// mostIdle is how many goroutines of a connection wait for a further call. Each
// costs its stack.
const mostIdle = 64

// dispatch has a goroutine serve a call.
func (s *serverConn) dispatch(call *served) {
	select {
	case s.work <- call:
	default:
		go s.workOn(call)
	}
}

func (s *serverConn) workOn(call *served) {
	for open := true; open; {
		call.run()
		if s.idle.Add(1) > mostIdle {
			s.idle.Add(-1)
			return
		}
		call, open = <-s.work
		s.idle.Add(-1)
	}
}

// serve answers the exchanges of one connection until it ends.
func serve(conn net.Conn, r *bufio.Reader, ahead int, handler http.Handler) {
	s := &serverConn{handler: handler, out: newWriter(conn), ahead: ahead, calls: map[uint32]*served{}, work: make(chan *served)}
	// Nobody but this goroutine hands calls out.
	defer close(s.work)
	go func() {
		if s.out.run() != nil {
			_ = conn.Close()
		}
	}()
	var space [headerSize]byte
	for {
		f, err := readFrame(r, &space)
		if err == nil {
			err = s.take(f)
		}
		if err != nil {
			_ = conn.Close()
			s.out.close(err)
			s.end()
			return
		}
	}
}

// end cancels all calls.
func (s *serverConn) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.calls {
		call.cancel()
	}
}

// take sees to one frame.
func (s *serverConn) take(f frame) error {
	if f.kind == kindHead {
		return s.begin(f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	call, ok := s.calls[f.id]
	if !ok {
		// It is answered already.
		f.release()
		return nil
	}
	switch f.kind {
	case kindCancel:
		call.cancel()
	case kindCredit:
		return giveCredit(call.credit, s.ahead)
	default:
		if err := call.intake.came(); err != nil {
			f.release()
			return err
		}
		// There is room for all that were asked for.
		call.pieces <- f
	}
	return nil
}

// begin has the handler answer a request.
func (s *serverConn) begin(f frame) error {
	ctx, cancel := context.WithCancel(context.Background())
	call := &served{
		conn: s, id: f.id, cancel: cancel, ctx: ctx,
		credit: make(chan struct{}, mostAhead), pieces: make(chan frame, mostAhead),
		piece: f, last: f.last,
	}
	head, piece, err := f.split()
	if err == nil {
		call.rest = piece
		call.request, err = readRequest(ctx, string(head))
	}
	if err != nil {
		cancel()
		f.release()
		return err
	}
	call.request.Body = call
	call.left = call.request.ContentLength - int64(len(piece))
	s.mu.Lock()
	_, taken := s.calls[f.id]
	if !taken {
		s.calls[f.id] = call
	}
	s.mu.Unlock()
	if taken {
		cancel()
		return fmt.Errorf("%w: exchange %d begins twice", errProtocol, f.id)
	}
	s.dispatch(call)
	return nil
}

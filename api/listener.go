package api

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// refusals is how many clients are told at the same time that there are
	// too many of them. Others are cut off without a word.
	refusals    = 64
	refusalTime = time.Second
	// acceptPause is the longest wait for the system to have room for a
	// connection again.
	acceptPause = time.Second
	// complaintEvery keeps clients from filling the server's log.
	complaintEvery = time.Minute
)

// listener bounds how many connections are open, and outlasts the times when
// the system has no room for another one.
type listener struct {
	*net.TCPListener
	most int
	log  *zap.Logger

	open      atomic.Int64
	refusing  chan struct{}
	closed    context.Context
	endClosed context.CancelFunc

	// complained is when the log was last told. Accept alone uses it.
	complained time.Time
}

// listen takes an address.
func (s *Server) listen(network, address string) (*listener, error) {
	inner, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	l := &listener{
		TCPListener: inner.(*net.TCPListener), most: s.bounds.connections, log: s.log,
		refusing: make(chan struct{}, refusals),
	}
	l.closed, l.endClosed = context.WithCancel(context.Background())
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
		case isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED):
			l.complain("no connection can be taken for the moment", zap.Error(err))
			select {
			case <-time.After(pause):
			case <-l.closed.Done():
			}
			pause = min(2*pause, acceptPause)
			continue
		default:
			return nil, err
		}
		if l.open.Add(1) <= int64(l.most) {
			return &connection{TCPConn: conn, peer: newPeer(conn.RemoteAddr()), leave: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		l.complain("connections are refused: there are too many", zap.Int("open", l.most))
		l.refuse(conn)
	}
}

// Close implements net.Listener. The connections stay open.
func (l *listener) Close() error {
	l.endClosed()
	return l.TCPListener.Close()
}

func (l *listener) complain(what string, fields ...zap.Field) {
	if now := time.Now(); now.Sub(l.complained) >= complaintEvery {
		l.complained = now
		l.log.Warn(what, append(fields, zap.Stringer("address", l.Addr()))...)
	}
}

// refuse tells a client that there are too many, and does not wait for it.
func (l *listener) refuse(conn *net.TCPConn) {
	select {
	case l.refusing <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	go func() {
		defer func() { <-l.refusing }()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(refusalTime))
		text := fmt.Sprintf("Error: the server has %d connections open and takes no more: close some, or try again later\n", l.most)
		_, err := fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"+
			"Content-Length: %d\r\nConnection: close\r\nRetry-After: 1\r\n\r\n%s", len(text), text)
		if err != nil {
			return
		}
		// A connection that is closed with input unread is reset, and the answer
		// lost with it.
		_ = conn.CloseWrite()
		_, _ = io.CopyN(io.Discard, conn, spareBytes)
	}()
}

// peer is the other side of a connection: its address, that without the port,
// and as text.
type peer struct {
	addr     netip.Addr
	ip, text string
}

func newPeer(of net.Addr) peer {
	p := peer{text: of.String()}
	if addr, err := netip.ParseAddrPort(p.text); err == nil {
		p.addr = addr.Addr().Unmap().WithZone("")
		p.ip = p.addr.String()
	}
	return p
}

// connection is one that counts until it is closed.
type connection struct {
	*net.TCPConn
	leave func()
	// peer is the other side, which every request tells.
	peer peer
	// last is called when the connection is closed; nil for nothing.
	last atomic.Pointer[func()]
	// spoke is set once the client has said anything.
	spoke atomic.Bool
}

// Read implements net.Conn.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 && !c.spoke.Load() {
		c.spoke.Store(true)
	}
	return n, err
}

// atClose has last called once the connection is closed, at the latest. The
// server underneath closes a connection that is to be hijacked without handing
// it over when what came before cannot be sent.
func atClose(conn net.Conn, last func()) {
	if c, ok := conn.(*connection); ok {
		c.last.Store(&last)
	}
}

// Close implements net.Conn.
func (c *connection) Close() error {
	defer c.leave()
	if last := c.last.Swap(nil); last != nil {
		defer (*last)()
	}
	return c.TCPConn.Close()
}

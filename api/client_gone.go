package api

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watchAfter is how long a request may take before its client is watched.
// Most are answered sooner and cost nothing.
const watchAfter = 100 * time.Millisecond

// clientWatch ends a request whose client has gone. Without it a runner that
// has nothing to send would keep its handler, and give the next message to a
// connection that nobody reads.
type clientWatch struct {
	conn net.Conn
	body *requestBody
	gone func()
	// left is set once the client has gone.
	left atomic.Bool

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	ended   chan struct{}
}

// watchClient calls gone when the client closes its connection. Nothing may
// read from the connection while it is watched: the watch begins when the body
// is there, or with a nil one whenever its time has come, at once or after
// watchAfter.
func watchClient(conn net.Conn, body *requestBody, atOnce bool, gone func()) *clientWatch {
	w := &clientWatch{conn: conn, body: body, gone: gone}
	w.mu.Lock()
	defer w.mu.Unlock()
	after := watchAfter
	if atOnce {
		after = 0
	}
	w.timer = time.AfterFunc(after, w.begin)
	return w
}

func (w *clientWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	raw, ok := w.conn.(syscall.Conn)
	if !ok {
		return
	}
	// The body is read from the same connection: its end comes first.
	if w.body != nil && !w.body.consumed() {
		w.timer.Reset(watchAfter)
		return
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		if closed(raw) {
			w.left.Store(true)
			w.gone()
		}
	}()
}

// closed waits until the connection is closed by the other side, or until
// there is something to read or the read deadline passes.
func closed(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		var sent bool
		gone, sent = peek(fd)
		return gone || sent
	})
	return err == nil && gone
}

// peek looks at a connection without waiting and without taking anything:
// whether the other side has closed it, or has sent something. Neither is
// known while there is nothing to read.
func peek(fd uintptr) (gone, sent bool) {
	var one [1]byte
	n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return false, false
	}
	gone = err != nil || n == 0
	return gone, !gone
}

// hungUp reports whether the other side has closed the connection by now.
func hungUp(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Control(func(fd uintptr) { gone, _ = peek(fd) })
	return err == nil && gone
}

// forget ends the watch, and waits until it has ended.
func (w *clientWatch) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
	if w.ended == nil {
		return
	}
	// The deadline wakes the watch; the next request has none.
	_ = w.conn.SetReadDeadline(time.Unix(1, 0))
	<-w.ended
	_ = w.conn.SetReadDeadline(time.Time{})
}

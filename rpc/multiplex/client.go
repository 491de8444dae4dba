package multiplex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// idleTime is how long a connection is kept that nothing is sent on. It costs
// both sides its buffers.
const idleTime = time.Minute

// ErrLost is that the connection to a runner broke while a call was under way,
// which it does when the runner dies.
var ErrLost = errors.New("the connection to the runner broke")

// ErrAborted is that the stream's handler gave up before its answer was
// complete.
var ErrAborted = errors.New("the stream broke its answer off")

var errClosed = errors.New("the runner is not called any more")

// Client calls one runner. Its one connection is made when it is needed.
type Client struct {
	dial func(context.Context) (net.Conn, error)
	// idle is how long a connection is kept that nothing is sent on.
	idle time.Duration

	dialing singleflight.Group
	mu      sync.Mutex
	conn    *clientConn
	closed  bool
}

// NewClient makes a Client that makes its connections with dial.
func NewClient(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial, idle: idleTime}
}

// Close lets no call begin any more. What is under way goes on for as long as
// the runner does.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		conn.retire(errClosed)
	}
}

// Start sends a request; last says that all of its body is in it. On an error
// nothing of it was sent. The context bounds the making of a connection, and the
// wait for a runner that does not read what it is sent.
func (c *Client) Start(ctx context.Context, o *Outgoing, last bool) (*Call, error) {
	for {
		conn, err := c.connection(ctx)
		if err != nil {
			return nil, err
		}
		if err := conn.out.await(ctx, conn.broken); err != nil {
			return nil, err
		}
		call, err := conn.start(o, last)
		if !errors.Is(err, errIdle) && !errors.Is(err, errWorn) {
			return call, err
		}
		// It was given up just now.
	}
}

// connection is the present one, or a new one.
func (c *Client) connection(ctx context.Context) (*clientConn, error) {
	c.mu.Lock()
	conn, closed := c.conn, c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, errClosed
	case conn != nil && conn.takes():
		return conn, nil
	}
	made := c.dialing.DoChan("", func() (any, error) { return c.connect() })
	select {
	case result := <-made:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*clientConn), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect makes a connection for all that wait for one: none of their contexts
// ends it.
func (c *Client) connect() (*clientConn, error) {
	c.mu.Lock()
	if conn := c.conn; conn != nil && conn.takes() {
		c.mu.Unlock()
		return conn, nil
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), upgradeTime)
	defer cancel()
	inner, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	r, ahead, err := upgrade(ctx, inner)
	if err != nil {
		_ = inner.Close()
		return nil, err
	}
	conn := newClientConn(inner, r, ahead, c.idle)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.fail(errClosed)
		return nil, errClosed
	}
	c.conn = conn
	return conn, nil
}

var (
	// errIdle is that a connection was given up because nobody used it.
	errIdle = errors.New("the connection was idle for too long")
	// errWorn is that a connection has had as many calls as there are numbers.
	errWorn = errors.New("the connection has had too many calls")
)

// straysPerCall is how many frames a runner may send that come too late for a
// call: what may be under way of two bodies, and that it gives up, of those it has
// begun.
const straysPerCall = 2*mostAhead + 2

// clientConn is one connection to a runner.
type clientConn struct {
	inner net.Conn
	out   *writer
	// ahead is how many pieces of a body may be under way, either way.
	ahead int

	mu     sync.Mutex
	calls  map[uint32]*Call
	nextID uint32
	err    error
	// broken is closed with err set.
	broken chan struct{}
	idle   *time.Timer
	rests  time.Duration
	// strays are the frames of calls that had ended.
	strays uint64
	// lastID is nextID at the last look for idleness.
	lastID uint32
	// retired is why no call begins on it any more; nil while they do.
	retired error
}

func newClientConn(inner net.Conn, r *bufio.Reader, ahead int, rests time.Duration) *clientConn {
	c := &clientConn{inner: inner, out: newWriter(inner), ahead: ahead, calls: map[uint32]*Call{}, broken: make(chan struct{}), rests: rests}
	c.mu.Lock()
	c.idle = time.AfterFunc(rests, c.rest)
	c.mu.Unlock()
	go func() {
		if err := c.out.run(); err != nil {
			c.fail(err)
		}
	}()
	go func() { c.fail(c.read(r)) }()
	return c
}

func (c *clientConn) usable() bool {
	select {
	case <-c.broken:
		return false
	default:
		return true
	}
}

// takes says that calls may begin.
func (c *clientConn) takes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.retired == nil
}

// fail ends the connection and all calls on it. The first reason counts.
func (c *clientConn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *clientConn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.idle.Stop()
	close(c.broken)
	c.out.close(err)
	_ = c.inner.Close()
}

// retire ends the connection once no call is under way.
func (c *clientConn) retire(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = why
	if len(c.calls) == 0 {
		c.failLocked(why)
	}
}

// rest closes the connection if it was not used since the last time.
func (c *clientConn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
	case len(c.calls) == 0 && c.nextID == c.lastID:
		c.failLocked(errIdle)
	default:
		c.lastID = c.nextID
		c.idle.Reset(c.rests)
	}
}

// leave takes a call off that has ended.
func (c *clientConn) leave(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
	if c.retired != nil && len(c.calls) == 0 {
		c.failLocked(c.retired)
	}
}

func (c *clientConn) start(o *Outgoing, last bool) (*Call, error) {
	call := callPool.Get().(*Call)
	c.mu.Lock()
	switch {
	case c.err != nil:
		c.mu.Unlock()
		callPool.Put(call)
		return nil, c.err
	case c.retired != nil:
		c.mu.Unlock()
		callPool.Put(call)
		return nil, c.retired
	case c.nextID == math.MaxUint32:
		c.mu.Unlock()
		callPool.Put(call)
		// The calls that it has keep it; the next has another one.
		c.retire(errWorn)
		return nil, errWorn
	}
	c.nextID++
	call.id, call.conn = c.nextID, c
	// The answer's head comes unasked.
	call.intake.due.Store(1)
	c.calls[call.id] = call
	c.mu.Unlock()
	f, err := o.finish(call.id, last)
	if err == nil {
		err = c.out.send(f)
	}
	if err != nil {
		call.aborted = true
		call.End()
		return nil, err
	}
	return call, nil
}

// read hands out what the runner sends, until it ends.
func (c *clientConn) read(r *bufio.Reader) error {
	var space [headerSize]byte
	for {
		f, err := readFrame(r, &space)
		if err != nil {
			return err
		}
		if err := c.deliver(f); err != nil {
			return err
		}
	}
}

// deliver gives a frame to its call. One whose call has ended is dropped.
func (c *clientConn) deliver(f frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call, ok := c.calls[f.id]
	if !ok {
		f.release()
		if f.id > c.nextID {
			return fmt.Errorf("%w: it answers what was not asked", errProtocol)
		}
		if c.strays++; c.strays > straysPerCall*uint64(c.nextID) {
			return fmt.Errorf("%w: it goes on answering what is over", errProtocol)
		}
		return nil
	}
	if f.kind == kindCredit {
		return giveCredit(call.credit, c.ahead)
	}
	if f.kind != kindCancel {
		if err := call.intake.came(); err != nil {
			f.release()
			return err
		}
	}
	select {
	case call.frames <- f:
		return nil
	default:
		f.release()
		return fmt.Errorf("%w: it goes on after it has given up", errProtocol)
	}
}

package share

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	"penstock/rpc/sharepb"
)

// maxPushed bounds what the batches take that a stream has pushed and that are
// not settled, in bytes; one alone may be larger.
const maxPushed = 16 << 20

// StallPatience is how long nothing may be settled, while as much is under way as
// may be, before Stalled is called for.
const StallPatience = 10 * time.Second

// ErrConnected is that a Link has a connection already.
var ErrConnected = errors.New("this runner is connected to the resource host already")

// Link is a stream's way to the resource host. The zero value has no
// connection yet.
type Link struct {
	pushed *semaphore.Weighted

	mu   sync.Mutex
	conn *conn
	// news is closed at the next change of what Wanting tells.
	news chan struct{}
	// missed counts the connections that were missing; wanting says that one is.
	missed  uint64
	wanting bool
}

// NewLink makes a Link that has no connection.
func NewLink() *Link {
	return &Link{pushed: semaphore.NewWeighted(maxPushed), news: make(chan struct{})}
}

// Join takes a connection over. It fails with ErrConnected, and leaves the
// connection to the caller, while there is another that works.
func (l *Link) Join(connection net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		return ErrConnected
	}
	c := newConn(connection)
	l.conn, l.wanting = c, false
	l.tell()
	go func() {
		c.run()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conn = nil
		l.tell()
	}()
	return nil
}

// tell wakes those who wait for a change. The caller holds the lock.
func (l *Link) tell() {
	close(l.news)
	l.news = make(chan struct{})
}

// Wanting numbers the connection that somebody waits for and that is missing; 0
// when none is. news is closed when that may have changed.
func (l *Link) Wanting() (number uint64, news <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wanting {
		number = l.missed
	}
	return number, l.news
}

// Used says that somebody has needed a connection.
func (l *Link) Used() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missed > 0
}

// Await waits until there is a connection.
func (l *Link) Await(ctx context.Context) error {
	_, err := l.connection(ctx)
	return err
}

func (l *Link) connection(ctx context.Context) (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.conn == nil {
		if !l.wanting {
			l.wanting = true
			l.missed++
			l.tell()
		}
		news := l.news
		l.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return l.conn, nil
}

// Do asks for an operation of a cache or a rate limit, on as many connections
// as it takes until there is an answer. retried says that the operation may have
// been carried out before the one that was answered. The error is the context's,
// or that of a request that is too large.
func (l *Link) Do(ctx context.Context, req *sharepb.Request) (resp *sharepb.Response, retried bool, err error) {
	for {
		c, err := l.connection(ctx)
		if err != nil {
			return nil, retried, err
		}
		resp, err := c.do(ctx, req, nil)
		if !errors.Is(err, errBroken) {
			return resp, retried, err
		}
		retried = true
	}
}

// Push gives a batch to a pipe and waits until it was settled. Those who call
// inOrder one after the other have their batches come in that order, if each
// waits for done before.
//
// The error is the context's, or that of a batch that is too large; what the
// other end says is the verdict.
func (l *Link) Push(ctx context.Context, pipe string, batch *sharepb.Batch, done func()) (*sharepb.Verdict, error) {
	done = sync.OnceFunc(done)
	defer done()
	size := min(int64(proto.Size(batch)), maxPushed)
	if err := l.acquire(ctx, pipe, size); err != nil {
		return nil, err
	}
	defer l.pushed.Release(size)
	for {
		c, err := l.connection(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := c.do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_PUSH, Label: pipe, Batch: batch}, done)
		switch {
		case errors.Is(err, errBroken):
		case err != nil:
			return nil, err
		case resp.GetCode() == sharepb.Response_CODE_LOST:
		case resp.GetCode() == sharepb.Response_CODE_OK:
			return resp.GetVerdict(), nil
		default:
			return nil, errors.New(resp.GetError())
		}
	}
}

// acquire waits until a batch of that size may be pushed.
func (l *Link) acquire(ctx context.Context, pipe string, size int64) error {
	if l.pushed.TryAcquire(size) {
		return nil
	}
	stalled := time.AfterFunc(StallPatience, func() { l.Stalled(pipe) })
	defer stalled.Stop()
	return l.pushed.Acquire(ctx, size)
}

// Stalled says that no more is pushed to a pipe before something is settled. A
// taker that has all of it and waits for more has an error from its Pull. It does
// not wait.
func (l *Link) Stalled(pipe string) {
	l.mu.Lock()
	c := l.conn
	l.mu.Unlock()
	if c != nil {
		// It is short enough for a frame: the pipe's name has been in one.
		_ = c.send(&sharepb.Request{Kind: sharepb.Request_KIND_CANCEL, Label: pipe})
	}
}

// Pull waits for a batch of a pipe. settle is to be called once, with what has
// become of the batch; should this process end before, another input has it. The
// error is the context's, or that none can come before some are settled.
func (l *Link) Pull(ctx context.Context, pipe string) (batch *sharepb.Batch, settle func(*sharepb.Verdict), err error) {
	for {
		c, err := l.connection(ctx)
		if err != nil {
			return nil, nil, err
		}
		resp, err := c.do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_PULL, Label: pipe}, nil)
		switch {
		case errors.Is(err, errBroken):
		case err != nil:
			return nil, nil, err
		case resp.GetCode() == sharepb.Response_CODE_OK:
			return resp.GetBatch(), func(v *sharepb.Verdict) { c.settle(resp.GetDelivery(), v) }, nil
		default:
			return nil, nil, errors.New(resp.GetError())
		}
	}
}

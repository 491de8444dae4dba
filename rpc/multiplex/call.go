package multiplex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

var errStopped = errors.New("nobody waits for the answer any more")

// Call is one exchange. Its methods may be used by one goroutine, but for
// those of the body, which another may use.
type Call struct {
	id   uint32
	conn *clientConn
	// frames has room for the pieces that were asked for, that the runner gives up,
	// and for Abort.
	frames chan frame
	credit chan struct{}
	intake intake

	// first is the answer's head until it is released.
	first frame
	// rest is what was not read of the last piece.
	rest []byte
	// piece is the one that rest is part of.
	piece frame
	last  bool
	// left is what was announced of the body and has not come; negative if
	// nothing was.
	left int64
	// aborted says that the runner has given up.
	aborted bool
	// stop is closed when nobody reads the answer any more.
	stop <-chan struct{}
	// failed is why Read reads no more: asking again for a piece that was asked
	// for would break the connection's rules, and with it everybody's calls.
	failed error
}

var callPool = sync.Pool{New: func() any {
	return &Call{frames: make(chan frame, mostAhead+2), credit: make(chan struct{}, mostAhead)}
}}

// Outcome is how a wait for an answer ended.
type Outcome int

// The outcomes of Await.
const (
	// Answered: the head is there, or the runner has given up.
	Answered Outcome = iota
	// Stopped: the caller did not want to wait any longer.
	Stopped
	// Ticked: the caller's time has come.
	Ticked
	// Lost: the connection broke, which Why explains.
	Lost
)

// Await waits for the answer's head. It may be called again after Ticked. Both
// channels may be nil.
func (c *Call) Await(stop <-chan struct{}, tick <-chan time.Time) Outcome {
	select {
	case c.first = <-c.frames:
		return Answered
	case <-stop:
		return Stopped
	case <-tick:
		return Ticked
	case <-c.conn.broken:
	}
	select {
	case c.first = <-c.frames:
		// It came before the end.
		return Answered
	default:
		return Lost
	}
}

// StopReading has Read fail once the channel is closed.
func (c *Call) StopReading(stop <-chan struct{}) { c.stop = stop }

// Abort tells the runner, and who waits for the answer, that the call is over:
// its body did not come. It may be called beside all but End.
func (c *Call) Abort() {
	// What the runner makes of it comes too late.
	select {
	case c.frames <- frame{kind: kindCancel}:
	default:
	}
	_ = c.conn.out.signal(kindCancel, c.id)
}

// Why is the reason of a connection that broke.
func (c *Call) Why() error {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return fmt.Errorf("%w: %w", ErrLost, c.conn.err)
}

// Head reads the answer's head, which Await said is there. piece is the
// beginning of its body, and all of it if whole; both are valid until End.
func (c *Call) Head() (head Head, piece []byte, whole bool, err error) {
	switch c.first.kind {
	case kindHead:
	case kindCancel:
		c.aborted, c.failed = true, ErrAborted
		return Head{}, nil, false, ErrAborted
	default:
		return Head{}, nil, false, c.blame(fmt.Errorf("%w: an answer without a head", errProtocol))
	}
	text, piece, err := c.first.split()
	if err == nil {
		head, err = readHead(text)
	}
	if err != nil {
		return Head{}, nil, false, c.blame(err)
	}
	c.rest, c.last, c.left = piece, c.first.last, head.ContentLength
	if err := c.count(piece); err != nil {
		return Head{}, nil, false, c.blame(err)
	}
	return head, piece, c.last, nil
}

// count holds a piece against what was announced: what is beyond that would be
// taken for another answer by the client.
func (c *Call) count(piece []byte) error {
	if c.left < 0 {
		return nil
	}
	if c.left -= int64(len(piece)); c.left < 0 {
		return fmt.Errorf("%w: an answer is longer than its Content-Length", errProtocol)
	}
	return nil
}

// blame ends the connection to a runner that breaks the rules.
func (c *Call) blame(err error) error {
	c.conn.fail(err)
	return err
}

// Read implements io.Reader for the answer's body, after Head. Once it has
// failed it goes on to.
func (c *Call) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		switch {
		case c.failed != nil:
			return 0, c.failed
		case c.last:
			return 0, io.EOF
		}
		c.failed = c.more()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// more asks for the next piece of the answer's body and waits for it.
func (c *Call) more() error {
	c.piece.release()
	if err := c.intake.ask(c.conn.out, c.id, c.conn.ahead, c.left); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	var f frame
	select {
	case f = <-c.frames:
	case <-c.stop:
		return errStopped
	case <-c.conn.broken:
		select {
		case f = <-c.frames:
		default:
			return c.Why()
		}
	}
	c.intake.taken()
	switch f.kind {
	case kindData:
		c.piece, c.rest, c.last = f, f.payload, f.last
		err := c.count(f.payload)
		if err == nil && c.last && c.left > 0 {
			err = fmt.Errorf("%w: an answer is shorter than its Content-Length", errProtocol)
		}
		if err != nil {
			c.rest, c.aborted = nil, true
			return c.blame(err)
		}
		return nil
	case kindCancel:
		c.aborted = true
		return ErrAborted
	default:
		f.release()
		return c.blame(fmt.Errorf("%w: a second head", errProtocol))
	}
}

// WriteTo implements io.WriterTo for the answer's body, after Head: whole pieces
// are passed on.
func (c *Call) WriteTo(w io.Writer) (total int64, err error) {
	for {
		n, err := w.Write(c.rest)
		total += int64(n)
		if err != nil {
			return total, err
		}
		c.rest = c.rest[n:]
		if _, err := c.Read(nil); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
	}
}

// WriteBody sends the rest of the request's body, of which the first piece was
// not the last. It reads ahead of what the runner has asked for by no more than a
// piece, and returns when all was sent, the context ends or the connection breaks; and
// with the reader's error when that fails, after which the call has to be ended.
func (c *Call) WriteBody(ctx context.Context, body io.Reader) error {
	conn, id := c.conn, c.id
	for {
		piece := room(headerSize + MaxPiece)
		n, err := readSome(body, piece.bytes[headerSize:headerSize+MaxPiece])
		last := errors.Is(err, io.EOF)
		if err == nil || last {
			select {
			case <-c.credit:
				err = nil
			case <-ctx.Done():
				err = ctx.Err()
			case <-conn.broken:
				err = ErrLost
			}
		}
		if err == nil {
			if err = conn.out.await(ctx, conn.broken); err != nil {
				err = fmt.Errorf("%w: %w", ErrLost, err)
			}
		}
		if err != nil {
			piece.giveBack()
			return err
		}
		if err := conn.out.sendPiece(id, piece, n, last); err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		if last {
			return nil
		}
	}
}

// readSome reads what is there, and at least something unless it is the end.
func readSome(r io.Reader, p []byte) (int, error) {
	for {
		n, err := r.Read(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// End gives back what the call held, and tells a runner that is not done with
// it. Nothing else may use the call any more, WriteBody neither.
func (c *Call) End() {
	if conn := c.conn; !c.last && !c.aborted && conn.usable() {
		_ = conn.out.signal(kindCancel, c.id)
	}
	c.conn.leave(c.id)
	c.first.release()
	c.piece.release()
	c.intake.end()
	for {
		select {
		case f := <-c.frames:
			f.release()
			continue
		case <-c.credit:
			continue
		default:
		}
		break
	}
	*c = Call{frames: c.frames, credit: c.credit}
	callPool.Put(c)
}

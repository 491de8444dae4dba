package share

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"google.golang.org/protobuf/proto"
)

const (
	// MaxFrameBytes bounds one request or response.
	MaxFrameBytes = 64 << 20
	// maxQueued is how much waits to be written before those who ask and answer
	// wait themselves. What is passed from one stream to another does not.
	maxQueued = 16 << 20
	// maxPending bounds what waits to be written. Whoever reads that slowly is
	// taken for dead.
	maxPending = 4 * MaxFrameBytes
	// keptBuffer is up to what size buffers are kept for what comes next.
	keptBuffer = 256 << 10
	// readBuffer is that of a connection.
	readBuffer = 16 << 10
	headBytes  = 4
)

// wire is a connection on which many send at once.
type wire struct {
	conn net.Conn
	// check, unless it is nil, refuses what the other end would.
	check func([]byte) error

	mu   sync.Mutex
	more sync.Cond
	// less is told when what waits has become less, or nothing is written any more.
	less   sync.Cond
	out    []byte
	closed bool
}

func newWire(conn net.Conn) *wire {
	w := &wire{conn: conn}
	w.more.L, w.less.L = &w.mu, &w.mu
	return w
}

// room waits until not much waits to be written, or nothing is written any more.
// The error is the context's. The caller holds the lock.
func (w *wire) room(ctx context.Context) error {
	if w.roomy() {
		return ctx.Err()
	}
	defer context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.less.Broadcast()
	})()
	for !w.roomy() && ctx.Err() == nil {
		w.less.Wait()
	}
	return ctx.Err()
}

func (w *wire) roomy() bool { return len(w.out) <= maxQueued || w.closed }

// fits refuses what is longer than a frame.
func fits(m proto.Message) error {
	if size := proto.Size(m); size > MaxFrameBytes {
		return fmt.Errorf("%d bytes are more than the %d that pass from one process to another: make smaller batches", size, MaxFrameBytes)
	}
	return nil
}

// send has a message written soon. It does not wait. An error means that it
// cannot be encoded; what becomes of it otherwise shows in the connection's end.
func (w *wire) send(m proto.Message) error {
	if err := fits(m); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put(m)
}

// sendPatiently is send, but waits while much waits to be written. The error may
// be the context's, too.
func (w *wire) sendPatiently(ctx context.Context, m proto.Message) error {
	if err := fits(m); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.room(ctx); err != nil {
		return err
	}
	return w.put(m)
}

// put is send with the lock held.
func (w *wire) put(m proto.Message) error {
	if w.closed {
		return nil
	}
	at := len(w.out)
	out, err := proto.MarshalOptions{}.MarshalAppend(append(w.out, make([]byte, headBytes)...), m)
	if err == nil && w.check != nil {
		err = w.check(out[at+headBytes:])
	}
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-headBytes))
	w.out = out
	if len(w.out) > maxPending {
		w.end()
		return nil
	}
	w.more.Signal()
	return nil
}

// write writes what is sent until the connection has ended.
func (w *wire) write() {
	var spare []byte
	for {
		w.mu.Lock()
		for len(w.out) == 0 && !w.closed {
			w.more.Wait()
		}
		if w.closed {
			w.mu.Unlock()
			return
		}
		out := w.out
		w.out = spare[:0]
		w.less.Broadcast()
		w.mu.Unlock()
		if _, err := w.conn.Write(out); err != nil {
			w.close()
			return
		}
		if spare = out; cap(spare) > keptBuffer {
			spare = nil
		}
	}
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// end is close with the lock held.
func (w *wire) end() {
	if w.closed {
		return
	}
	w.closed, w.out = true, nil
	_ = w.conn.Close()
	w.more.Broadcast()
	w.less.Broadcast()
}

// frames reads what the other end's wire sends.
type frames struct {
	from *bufio.Reader
	body []byte
	// check, unless it is nil, refuses what is not to be decoded.
	check func([]byte) error
	// length is that of the last message.
	length int
}

func newFrames(conn net.Conn) *frames {
	return &frames{from: bufio.NewReaderSize(conn, readBuffer)}
}

// next reads one message.
func (f *frames) next(m proto.Message) error {
	var head [headBytes]byte
	if _, err := io.ReadFull(f.from, head[:]); err != nil {
		return err
	}
	length := int(binary.BigEndian.Uint32(head[:]))
	if length > MaxFrameBytes {
		return fmt.Errorf("a frame of %d bytes is longer than one may be", length)
	}
	f.length = length
	body := f.body[:0]
	// What is only announced costs nothing.
	for len(body) < length {
		at, part := len(body), min(length-len(body), keptBuffer)
		body = append(body, make([]byte, part)...)
		if _, err := io.ReadFull(f.from, body[at:]); err != nil {
			return err
		}
	}
	if cap(body) <= keptBuffer {
		f.body = body
	}
	if f.check != nil {
		if err := f.check(body); err != nil {
			return err
		}
	}
	return proto.Unmarshal(body, m)
}

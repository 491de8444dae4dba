package multiplex

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
)

const (
	// keptBuffer is how much memory a writer keeps that has nothing to write.
	keptBuffer = 64 << 10
	// mostPending is what may be due before await has callers wait.
	mostPending = 16 << 20
	// mostSignals is what may be due beyond that, in credits and cancels.
	mostSignals = 4 << 20
)

// errStuck is that the other side has not read for so long that no more can be
// kept for it.
var errStuck = errors.New("the other side does not read what it is sent")

// writer sends the frames of many goroutines. What is due at the same time goes
// out together. A runner that does not read makes callers wait in await; sending
// itself waits for nobody.
type writer struct {
	to io.Writer

	mu   sync.Mutex
	next batch
	err  error
	// work wakes run.
	work chan struct{}
	// taken is closed when run takes what is pending; nil while nobody waits.
	taken chan struct{}
}

// batch is what goes out together.
type batch struct {
	// small are the frames that were copied, and large those that have memory of
	// their own, each after so many bytes of small.
	small []byte
	large []owned
}

// owned is a frame in memory that is given back once it is sent.
type owned struct {
	after  int
	frame  []byte
	buffer *buffer
}

func (b *batch) empty() bool { return len(b.small) == 0 && len(b.large) == 0 }

// size is how much it is, in bytes.
func (b *batch) size() int {
	n := len(b.small)
	for _, o := range b.large {
		n += len(o.frame)
	}
	return n
}

// pieces are all of it in order.
func (b *batch) pieces(to net.Buffers) net.Buffers {
	from := 0
	for _, o := range b.large {
		if o.after > from {
			to = append(to, b.small[from:o.after])
		}
		to, from = append(to, o.frame), o.after
	}
	if from < len(b.small) {
		to = append(to, b.small[from:])
	}
	return to
}

// reset makes a batch empty that was sent, or never will be.
func (b *batch) reset() {
	for i := range b.large {
		b.large[i].buffer.giveBack()
		b.large[i] = owned{}
	}
	b.large = b.large[:0]
	if b.small = b.small[:0]; cap(b.small) > keptBuffer {
		b.small = nil
	}
}

func newWriter(to io.Writer) *writer {
	return &writer{to: to, work: make(chan struct{}, 1)}
}

// await waits while too much is due. An error means that the context has ended,
// or broken was closed, first.
func (w *writer) await(ctx context.Context, broken <-chan struct{}) error {
	for {
		w.mu.Lock()
		if w.err != nil || w.next.size() <= mostPending {
			defer w.mu.Unlock()
			return w.err
		}
		if w.taken == nil {
			w.taken = make(chan struct{})
		}
		taken := w.taken
		w.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return ctx.Err()
		case <-broken:
		}
	}
}

// send takes a copy of a frame. An error means that nothing is sent any more.
func (w *writer) send(f []byte) error {
	if len(f) > smallBuffer {
		// Memory that grows with every such frame would be made anew each time.
		buffer := room(len(f))
		return w.sendOwned(buffer, copy(buffer.bytes, f))
	}
	return w.add(func(b *batch) { b.small = append(b.small, f...) })
}

// signal sends a frame without a payload. One to a side that reads nothing, for
// which too much is kept already, ends the connection.
func (w *writer) signal(k kind, id uint32) error {
	w.mu.Lock()
	stuck := w.next.size() > mostPending+mostSignals
	w.mu.Unlock()
	if stuck {
		w.close(errStuck)
		return errStuck
	}
	return w.add(func(b *batch) { b.small = appendHeader(b.small, k, false, id, 0) })
}

// sendWith sends a frame that is a head and a text. It takes copies, but of a text
// in a buffer of its own, which belongs to the writer from now on.
func (w *writer) sendWith(head, text []byte, held *buffer) error {
	err := w.add(func(b *batch) {
		b.small = append(b.small, head...)
		if held == nil {
			b.small = append(b.small, text...)
		} else {
			b.large = append(b.large, owned{after: len(b.small), frame: text, buffer: held})
		}
	})
	if err != nil && held != nil {
		held.giveBack()
	}
	return err
}

// sendPiece sends the n bytes of a body that follow the space for a header in a
// buffer, which belongs to the writer from now on.
func (w *writer) sendPiece(id uint32, piece *buffer, n int, last bool) error {
	putHeader(piece.bytes, kindData, last, id, n)
	return w.sendOwned(piece, headerSize+n)
}

// sendOwned sends the n bytes of a buffer, which are a frame. The buffer belongs
// to the writer from now on.
func (w *writer) sendOwned(f *buffer, n int) error {
	err := w.add(func(b *batch) {
		b.large = append(b.large, owned{after: len(b.small), frame: f.bytes[:n], buffer: f})
	})
	if err != nil {
		f.giveBack()
	}
	return err
}

// add puts something into the next batch.
func (w *writer) add(put func(*batch)) error {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	wake := w.next.empty()
	put(&w.next)
	w.mu.Unlock()
	if wake {
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
	return nil
}

// run writes until close, or until the connection breaks.
func (w *writer) run() error {
	var out batch
	var pieces net.Buffers
	for range w.work {
		// Others that are about to send come first, to be sent along.
		runtime.Gosched()
		w.mu.Lock()
		if w.err != nil {
			w.mu.Unlock()
			return w.err
		}
		out, w.next = w.next, out
		if w.taken != nil {
			close(w.taken)
			w.taken = nil
		}
		w.mu.Unlock()
		var err error
		switch {
		case len(out.large) > 0:
			pieces = out.pieces(pieces[:0])
			sent := pieces
			_, err = sent.WriteTo(w.to)
			clear(pieces)
		case len(out.small) > 0:
			_, err = w.to.Write(out.small)
		}
		out.reset()
		if err != nil {
			w.close(err)
			return err
		}
	}
	return nil
}

// close refuses what is sent from now on with err, of which the first counts.
func (w *writer) close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.next.reset()
		if conn, ok := w.to.(io.Closer); ok {
			// run may be writing to a side that does not read.
			_ = conn.Close()
		}
		// run looks at err.
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
}

package multiplex

import (
	"io"
	"net"
	"runtime"
	"sync"
)

// keptBuffer is how much memory a writer keeps that has nothing to write.
const keptBuffer = 64 << 10

// writer sends the frames of many goroutines. None of them waits for the other
// side, and what is due at the same time goes out together. How much that can
// be is bounded by the rule of one piece for each exchange.
type writer struct {
	to io.Writer

	mu   sync.Mutex
	next batch
	err  error
	// work wakes run.
	work chan struct{}
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

// send takes a copy of a frame. An error means that nothing is sent any more.
func (w *writer) send(f []byte) error {
	return w.add(func(b *batch) { b.small = append(b.small, f...) })
}

// signal sends a frame without a payload.
func (w *writer) signal(k kind, id uint32) error {
	return w.add(func(b *batch) { b.small = appendHeader(b.small, k, false, id, 0) })
}

// sendPiece sends the n bytes of a body that follow the space for a header in a
// buffer, which belongs to the writer from now on.
func (w *writer) sendPiece(id uint32, piece *buffer, n int, last bool) error {
	putHeader(piece.bytes, kindData, last, id, n)
	err := w.add(func(b *batch) {
		b.large = append(b.large, owned{after: len(b.small), frame: piece.bytes[:headerSize+n], buffer: piece})
	})
	if err != nil {
		piece.giveBack()
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
		// run looks at err.
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
}

package multiplex

import (
	"io"
	"runtime"
	"sync"
)

// keptBuffer is how much memory a writer keeps that has nothing to write.
const keptBuffer = 256 << 10

// writer sends the frames of many goroutines. None of them waits for the other
// side, and what is due at the same time goes out together. How much that can
// be is bounded by the rule of one piece for each exchange.
type writer struct {
	to io.Writer

	mu sync.Mutex
	// pending is to be written next.
	pending []byte
	err     error
	// work wakes run.
	work chan struct{}
}

func newWriter(to io.Writer) *writer {
	return &writer{to: to, work: make(chan struct{}, 1)}
}

// send takes a copy of a frame. An error means that nothing is sent any more.
func (w *writer) send(f []byte) error {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	wake := len(w.pending) == 0
	w.pending = append(w.pending, f...)
	w.mu.Unlock()
	if wake {
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
	return nil
}

// sendPiece is send for a piece of a body, without a copy before that.
func (w *writer) sendPiece(id uint32, piece []byte, last bool) error {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return w.err
	}
	wake := len(w.pending) == 0
	w.pending = append(appendHeader(w.pending, kindData, last, id, len(piece)), piece...)
	w.mu.Unlock()
	if wake {
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
	return nil
}

// signal sends a frame without a payload.
func (w *writer) signal(k kind, id uint32) error {
	var space [headerSize]byte
	return w.send(appendHeader(space[:0], k, false, id, 0))
}

// run writes until close, or until the connection breaks.
func (w *writer) run() error {
	var out []byte
	for range w.work {
		// Others that are about to send come first, to be sent along.
		runtime.Gosched()
		w.mu.Lock()
		if w.err != nil {
			w.mu.Unlock()
			return w.err
		}
		if cap(out) > keptBuffer {
			out = nil
		}
		out, w.pending = w.pending, out[:0]
		w.mu.Unlock()
		if len(out) == 0 {
			continue
		}
		if _, err := w.to.Write(out); err != nil {
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
		w.pending = nil
		// run looks at err.
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
}

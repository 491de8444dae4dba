package multiplex

import (
	"errors"
	"io"
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

	mu sync.Mutex
	// pending is to be written next.
	pending []byte
	err     error
	// work wakes run.
	work chan struct{}
	// taken is closed when run takes what is pending; nil while nobody waits.
	taken chan struct{}
}

func newWriter(to io.Writer) *writer {
	return &writer{to: to, work: make(chan struct{}, 1)}
}

// await waits while too much is due. An error means that stop, or broken, was
// closed first.
func (w *writer) await(stop, broken <-chan struct{}) error {
	for {
		w.mu.Lock()
		if w.err != nil || len(w.pending) <= mostPending {
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
		case <-stop:
			return errStuck
		case <-broken:
		}
	}
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
	w.mu.Lock()
	stuck := len(w.pending) > mostPending+mostSignals
	w.mu.Unlock()
	if stuck {
		w.close(errStuck)
		return errStuck
	}
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
		if w.taken != nil {
			close(w.taken)
			w.taken = nil
		}
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

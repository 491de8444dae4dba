package supervisor

import (
	"context"
	"sync"
	"time"
)

// traffic counts the requests that a runner is answering, so that none is
// lost to its stop.
type traffic struct {
	mu     sync.Mutex
	count  int
	closed bool
	// idle is closed when the last request is over; nil while nobody waits.
	idle chan struct{}
}

// enter counts a request in; false means that the runner takes no more.
func (t *traffic) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.count++
	return true
}

// open says that the runner takes requests.
func (t *traffic) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.closed
}

// shut lets no request in any more if there is none in.
func (t *traffic) shut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count > 0 {
		return false
	}
	t.closed = true
	return true
}

// leave counts it out.
func (t *traffic) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
	if t.count == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// quiet lets no request in any more and waits for those that are in, no longer
// than patience.
func (t *traffic) quiet(ctx context.Context, patience time.Duration) {
	t.mu.Lock()
	t.closed = true
	if t.count == 0 {
		t.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	t.idle = idle
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

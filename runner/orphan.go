package runner

import (
	"sync"
	"time"
)

// firstContact is how long a runner waits for its first supervisor.
const firstContact = 30 * time.Second

// abandoned is how long a runner that was started ahead, and has no stream yet,
// outlives its supervisor.
const abandoned = 3 * time.Second

// orphanWatch calls expired when no supervisor has been attached for long
// enough. An open event stream is what attaches one.
type orphanWatch struct {
	mu       sync.Mutex
	attached int
	// timeout is zero when the runner waits for ever.
	timeout time.Duration
	// chosen says that the timeout is the supervisor's.
	chosen bool
	timer  *time.Timer
}

func newOrphanWatch(expired func()) *orphanWatch {
	return &orphanWatch{timeout: firstContact, timer: time.AfterFunc(firstContact, expired)}
}

// setTimeout takes the supervisor's own figure from its first call on.
func (w *orphanWatch) setTimeout(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timeout, w.chosen = d, true
	w.rearm()
}

func (w *orphanWatch) attach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attached++
	if !w.chosen {
		w.timeout = abandoned
	}
	w.rearm()
}

func (w *orphanWatch) detach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attached--
	w.rearm()
}

// rearm begins to wait anew, if there is something to wait for.
func (w *orphanWatch) rearm() {
	w.timer.Stop()
	if w.attached == 0 && w.timeout > 0 {
		w.timer.Reset(w.timeout)
	}
}

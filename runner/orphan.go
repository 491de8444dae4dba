package runner

import (
	"sync"
	"time"
)

// firstContact is how long a runner waits for its first supervisor.
const firstContact = 30 * time.Second

// orphanWatch calls expired when no supervisor has been attached for long
// enough. An open event stream is what attaches one.
type orphanWatch struct {
	mu       sync.Mutex
	attached int
	// timeout is zero when the runner waits for ever.
	timeout time.Duration
	timer   *time.Timer
}

func newOrphanWatch(expired func()) *orphanWatch {
	return &orphanWatch{timeout: firstContact, timer: time.AfterFunc(firstContact, expired)}
}

// setTimeout takes the supervisor's own figure from its first call on.
func (w *orphanWatch) setTimeout(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timeout = d
	w.rearm()
}

func (w *orphanWatch) attach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attached++
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

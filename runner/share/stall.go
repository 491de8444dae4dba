package share

import (
	"sync"
	"time"

	"penstock/rpc/sharepb"
)

// StallPatience is how long nothing may be settled, while as much is under way as
// may be, before the host is told.
const StallPatience = 10 * time.Second

// Stall has the host told of a pipe to which no more can be pushed, for as long as
// that is so: a taker may come, and take all, at any time.
type Stall struct {
	link *Link
	pipe string

	mu    sync.Mutex
	on    bool
	timer *time.Timer
}

// Stall makes one that is not on.
func (l *Link) Stall(pipe string) *Stall {
	s := &Stall{link: l, pipe: pipe}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(StallPatience, s.tell)
	s.timer.Stop()
	return s
}

// Set begins to wait anew, or ends it.
func (s *Stall) Set(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on = on; on {
		s.timer.Reset(StallPatience)
	} else {
		s.timer.Stop()
	}
}

func (s *Stall) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		s.link.stalled(s.pipe)
		s.timer.Reset(StallPatience)
	}
}

// stalled says that no more is pushed to a pipe before something is settled. A
// taker that has all of it and waits for more has an error from its Pull. It does
// not wait.
func (l *Link) stalled(pipe string) {
	l.mu.Lock()
	c := l.conn
	l.mu.Unlock()
	if c != nil {
		// It is short enough for a frame: the pipe's name has been in one.
		_ = c.send(&sharepb.Request{Kind: sharepb.Request_KIND_CANCEL, Label: pipe})
	}
}

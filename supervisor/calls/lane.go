package calls

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// lane is what waits to be done for one stream, in order. The lock of Calls
// guards it.
type lane struct {
	// waiting are in the order of their arrival.
	waiting []*entry
	// busy is how many are being done, and settling how many of those that were
	// done are not in the file yet.
	busy, settling int
	// serving says that a goroutine looks after it; wake tells that one to look.
	serving bool
	wake    chan struct{}
}

func (l *lane) push(e *entry) {
	at, _ := slices.BinarySearchFunc(l.waiting, e.seq, func(e *entry, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
	l.waiting = slices.Insert(l.waiting, at, e)
}

// remove takes an entry out, and says whether it was in.
func (l *lane) remove(e *entry) bool {
	at := slices.Index(l.waiting, e)
	if at < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, at, at+1)
	l.signal()
	return true
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due returns the first that may be done now, or else how long that takes.
func (l *lane) due(now time.Time) (*entry, time.Duration) {
	pause := time.Hour
	for _, e := range l.waiting {
		left := e.due.Sub(now)
		if left <= 0 {
			return e, 0
		}
		pause = min(pause, left)
	}
	return nil, pause
}

// wake has somebody look after a stream. The caller has the lock.
func (c *Calls) wake(s *stream) {
	if !c.started || c.quitting {
		return
	}
	for _, l := range []*lane{&s.calls, &s.callbacks} {
		l.signal()
		if !l.serving && len(l.waiting) > 0 {
			l.serving = true
			c.group.Go(func() { c.serve(s, l) })
		}
	}
}

// serve does what waits in a lane until nothing does.
func (c *Calls) serve(s *stream, l *lane) {
	for {
		if l == &s.calls {
			c.awaitStream(s)
		}
		e, pause, freed, over := c.pick(s, l)
		switch {
		case over:
			return
		case e != nil:
			c.group.Go(func() {
				if l == &s.calls {
					c.carryOut(e)
				} else {
					c.deliver(e)
					c.done(e, l, 0)
				}
			})
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-l.wake:
		case <-freed:
		case <-timer.C:
		case <-c.life.Done():
		}
		timer.Stop()
	}
}

// awaitPause keeps an unexpected error of a stream from being asked about for ever.
const awaitPause = time.Second

// awaitStream waits until the stream can be called. Where there is no such stream
// it fails the calls that wait.
func (c *Calls) awaitStream(s *stream) {
	for {
		err := c.streams.Await(c.life, s.id)
		switch {
		case err == nil, c.life.Err() != nil:
			// If it is the end, pick sees to that.
			return
		case errors.Is(err, ErrNoStream):
			c.mu.Lock()
			left := slices.Clone(s.calls.waiting)
			c.mu.Unlock()
			c.giveUp(left, gone(s.id))
			return
		}
		select {
		case <-time.After(awaitPause):
		case <-c.life.Done():
		}
	}
}

// pick takes the next one out of a lane. Where there is none to be done now it
// says when to look again; over means that nobody serves the lane any more.
func (c *Calls) pick(s *stream, l *lane) (e *entry, pause time.Duration, freed <-chan struct{}, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quitting || len(l.waiting) == 0 {
		l.serving = false
		c.tidy(s)
		return nil, 0, nil, true
	}
	most := c.cfg.Concurrency
	if l == &s.callbacks {
		most = c.cfg.Callbacks.Concurrency
	}
	if l.busy >= most || l.settling >= mostSettling {
		return nil, time.Hour, nil, false
	}
	e, pause = l.due(time.Now())
	if e == nil {
		return nil, pause, nil, false
	}
	if l == &s.calls {
		answer := c.answerRoom()
		if s.taken+answer > int64(c.cfg.StreamStorage) || c.taken+answer > int64(c.cfg.Storage) {
			return nil, time.Hour, c.freed, false
		}
		c.take(s, answer)
	}
	l.remove(e)
	l.busy++
	return e, 0, nil, false
}

// mostSettling bounds how many calls of a stream were answered and are not in the
// file yet. They share its syncs: were the next call to wait for them, it would be
// the disk that says how many are carried out.
const mostSettling = 128

// done makes way for the next one. answer is what the answer to a call takes: that
// much stays reserved until it is settled.
func (c *Calls) done(e *entry, l *lane, answer int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := e.stream
	l.busy--
	if l == &s.calls {
		l.settling++
		e.reserved += int64(answer)
		c.take(s, int64(answer)-c.answerRoom())
	}
	c.wake(s)
}

// settled gives back what is still reserved for an answer.
func (c *Calls) settled(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := e.stream
	s.calls.settling--
	c.take(s, -e.reserved)
	e.reserved = 0
	c.wake(s)
}

// pause is how long to wait after so many failures, at least 1.
func (b Backoff) pause(failures int) time.Duration {
	pause := b.Initial
	for range failures - 1 {
		if pause >= b.Max/2 {
			pause = b.Max
			break
		}
		pause *= 2
	}
	const jitter = 0.25
	return time.Duration(float64(pause) * (1 + jitter*(2*rand.Float64()-1)))
}

package events

import (
	"context"
	"io"
)

// Subscription is one reader's view of a hub. Next is for one goroutine at a
// time; Close is for any.
type Subscription struct {
	hub    *Hub
	stream string
	// wake holds a token when something has changed since the reader looked.
	wake chan struct{}

	// What follows is guarded by the hub's lock.

	// queue holds what the reader has yet to see, no more than the hub keeps.
	queue []*Event
	// lagged says that events before the queue were lost.
	lagged bool
	// ended says that nothing will be added.
	ended bool
}

// Next returns the next event and waits for it if need be. It returns
// ErrLagged once when events were lost, and goes on with the oldest that is
// left; io.EOF after Close of the subscription or, once all was read, of the
// hub; the context's error when that ends first.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Event{}, err
		}
		if e, ready, err := s.take(); ready {
			return e, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// take returns what Next may return without waiting, if anything.
func (s *Subscription) take() (e Event, ready bool, err error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	switch {
	case s.lagged:
		s.lagged = false
		return Event{}, true, ErrLagged
	case len(s.queue) > 0:
		e = *s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		return e, true, nil
	case s.ended:
		return Event{}, true, io.EOF
	}
	return Event{}, false, nil
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.queue, s.lagged, s.ended = nil, false, true
	s.rouse()
	if group := h.subscriptions[s.stream]; group != nil {
		delete(group, s)
		if len(group) == 0 {
			delete(h.subscriptions, s.stream)
		}
	}
}

// add queues an event. The caller holds the hub's lock.
func (s *Subscription) add(e *Event) {
	queue, full := appendBounded(s.queue, e, s.hub.keep)
	s.queue, s.lagged = queue, s.lagged || full
	s.rouse()
}

// rouse never waits: a token that is there already will do.
func (s *Subscription) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

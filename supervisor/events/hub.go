package events

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hub keeps the last events and hands them to subscriptions. All methods are
// safe for concurrent use.
type Hub struct {
	epoch string
	keep  int

	mu sync.Mutex
	// kept holds the last events, the newest last.
	kept []*Event
	// last is the number of the newest event, 0 before the first.
	last uint64
	// subscriptions are by stream, "" for those to all streams.
	subscriptions map[string]map[*Subscription]struct{}
	closed        bool
}

// NewHub returns a hub that remembers the last keep events, at least one.
func NewHub(keep int) *Hub {
	return &Hub{
		epoch:         strings.ToLower(rand.Text()[:12]),
		keep:          max(keep, 1),
		subscriptions: map[string]map[*Subscription]struct{}{},
	}
}

// Publish gives the event its ID, and the time when it has none, and hands it
// to the subscriptions to its stream. It never waits for a reader. Events get
// their numbers in the order of the calls. After Close it does nothing.
func (h *Hub) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.last++
	e.ID = h.epoch + "-" + strconv.FormatUint(h.last, 10)
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	h.kept, _ = appendBounded(h.kept, &e, h.keep)
	for s := range h.subscriptions[e.Stream] {
		s.add(&e)
	}
	if e.Stream == "" {
		return
	}
	for s := range h.subscriptions[""] {
		s.add(&e)
	}
}

// appendBounded appends to a queue and says whether its first element had to
// go for that.
func appendBounded(queue []*Event, e *Event, bound int) ([]*Event, bool) {
	full := len(queue) == bound
	if full {
		queue[0] = nil
		queue = queue[1:]
	}
	return append(queue, e), full
}

// Subscribe returns a subscription to one stream's events, or to all with an
// empty stream. With an empty after it begins with the next event, else with
// the one that followed the event of that ID, of whichever stream that was.
// When the hub cannot know what followed, the subscription begins with
// ErrLagged and all that is kept. The caller must Close it.
func (h *Hub) Subscribe(stream, after string) *Subscription {
	s := &Subscription{hub: h, stream: stream, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if after != "" {
		followed, known := h.following(after)
		s.lagged = !known
		for _, e := range followed {
			if stream == "" || stream == e.Stream {
				s.queue = append(s.queue, e)
			}
		}
	}
	if h.closed {
		s.ended = true
		return s
	}
	if h.subscriptions[stream] == nil {
		h.subscriptions[stream] = map[*Subscription]struct{}{}
	}
	h.subscriptions[stream][s] = struct{}{}
	return s
}

// following returns the kept events after the one of the ID, and whether these
// are all that there were.
func (h *Hub) following(id string) (events []*Event, complete bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(id, h.epoch+"-"), 10, 64)
	// The ID of an event that is gone will do while the next one is kept.
	gone := h.last - uint64(len(h.kept))
	if err != nil || id != fmt.Sprintf("%s-%d", h.epoch, n) || n == 0 || n < gone || n > h.last {
		return h.kept, false
	}
	return h.kept[n-gone:], true
}

// Close ends all subscriptions, once their readers have seen what was
// published before.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, group := range h.subscriptions {
		for s := range group {
			s.ended = true
			s.rouse()
		}
	}
	clear(h.subscriptions)
}

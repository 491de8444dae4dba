package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// eventFeed is a client of server-sent events.
type eventFeed struct {
	events chan sentEvent
	stop   func()
}

// sentEvent is one of them. Data is empty for one that is no transition.
type sentEvent struct {
	ID, Name string
	Data     struct {
		ID, Stream, From, State, Reason string
		Revision, PID                   int
		At                              time.Time
	}
}

// String is what tests compare: the stream and its state.
func (e sentEvent) String() string { return e.Data.Stream + " " + e.Data.State }

// openEvents subscribes to a path, from after the event with the id last.
func openEvents(t *testing.T, c *client, path, last string) *eventFeed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+path, nil)
	require.NoError(t, err)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	own := &http.Client{Transport: &http.Transport{}}
	res, err := own.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	f := &eventFeed{events: make(chan sentEvent, 1000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer res.Body.Close()
		f.read(res)
	}()
	f.stop = func() {
		cancel()
		<-ended
		own.CloseIdleConnections()
	}
	t.Cleanup(f.stop)
	return f
}

// read takes events until the connection ends.
func (f *eventFeed) read(res *http.Response) {
	defer close(f.events)
	var e sentEvent
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "":
			if e.Name != "" {
				f.events <- e
			}
			e = sentEvent{}
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			if json.Unmarshal([]byte(value), &e.Data) != nil {
				e.Name = "not JSON: " + value
			}
		}
	}
}

// next waits for events until one is want, and returns all of them.
func (f *eventFeed) next(t *testing.T, want string) (all []sentEvent) {
	t.Helper()
	timeout := time.After(changeTimeout)
	for {
		select {
		case e, more := <-f.events:
			require.True(t, more, "the events ended after %v, without %q", all, want)
			all = append(all, e)
			if e.String() == want {
				return all
			}
		case <-timeout:
			require.Fail(t, "no such event", "%q; there were %v", want, all)
		}
	}
}

func texts(all []sentEvent) []string {
	var out []string
	for _, e := range all {
		out = append(out, e.String())
	}
	return out
}

// TestStatusEvents: every transition is told once and in order, also to a
// client that was away for some of them.
func TestStatusEvents(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	feed := openEvents(t, r.client, "/events", "")
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	first := feed.next(t, "a running")
	assert.Equal(t, []string{"a running"}, texts(first), "a stream is there once it has started")
	last := first[len(first)-1]
	assert.Equal(t, "transition", last.Name)
	assert.Equal(t, "starting", last.Data.From)
	assert.Equal(t, 1, last.Data.Revision)
	assert.Equal(t, mustStatus(t, r.client, "a").PID, last.Data.PID)
	assert.WithinDuration(t, time.Now(), last.Data.At, 10*margin)
	assert.Equal(t, last.ID, last.Data.ID)

	// What happens while nobody listens is told to who comes back.
	feed.stop()
	r.expect(t, 200, "POST", "/streams/a/pause", "")
	r.expect(t, 200, "POST", "/streams/b", echo("b"))
	r.expect(t, 200, "POST", "/streams/a/resume", "")
	feed = openEvents(t, r.client, "/events", last.ID)
	missed := feed.next(t, "a running")
	r.expect(t, 200, "DELETE", "/streams/b", "")
	lived := feed.next(t, "b stopped")
	all := slices.Concat(missed, lived)
	assert.Equal(t, []string{
		"a stopping", "a paused", "b running", "a starting", "a running", "b stopping", "b stopped",
	}, texts(all))
	seen := map[string]bool{last.ID: true}
	for _, e := range all {
		assert.False(t, seen[e.ID], "event %s came twice", e.ID)
		seen[e.ID] = true
	}

	// Again and again from any event on: exactly what followed it.
	for i, e := range all[:len(all)-1] {
		again := openEvents(t, r.client, "/events", e.ID)
		assert.Equal(t, all[i+1:], again.next(t, "b stopped"), "after %s", e)
		again.stop()
	}
	own := openEvents(t, r.client, "/streams/a/events?last_event_id="+last.ID, "")
	assert.Equal(t, []string{"a stopping", "a paused", "a starting", "a running"}, texts(own.next(t, "a running")), "of one stream alone")

	// A death, with its reason.
	killed := mustStatus(t, r.client, "a").PID
	require.NoError(t, syscall.Kill(killed, syscall.SIGKILL))
	died := own.next(t, "a running")
	assert.Equal(t, []string{"a backoff", "a starting", "a running"}, texts(died))
	assert.Contains(t, died[0].Data.Reason, "signal 9")

	// The end of a stream is the end of its events, and of the supervisor that
	// of all.
	r.expect(t, 200, "DELETE", "/streams/a", "")
	own.next(t, "a stopped")
	awaitClosed(t, own)
	feed.next(t, "a stopped")
	r.stop(t)
	awaitClosed(t, feed)

	// What the next supervisor does not know it does not pretend to know.
	r.start(t)
	feed = openEvents(t, r.client, "/events", last.ID)
	select {
	case e := <-feed.events:
		assert.Equal(t, "lagged", e.Name)
	case <-time.After(changeTimeout):
		assert.Fail(t, "no event")
	}
	r.stop(t)
}

func awaitClosed(t *testing.T, f *eventFeed) {
	t.Helper()
	timeout := time.After(changeTimeout)
	for {
		select {
		case e, more := <-f.events:
			if !more {
				return
			}
			assert.Fail(t, "an event after the last", "%v", e)
		case <-timeout:
			require.Fail(t, "the events go on")
		}
	}
}

// TestStatusEventsOfManyClients: clients that do not read keep nobody waiting,
// and those that do miss nothing.
func TestStatusEventsOfManyClients(t *testing.T) {
	t.Parallel()
	const rounds, readers = 10, 20
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	var feeds []*eventFeed
	for range readers {
		feeds = append(feeds, openEvents(t, p.client, "/streams/a/events", ""))
	}
	for range readers {
		// It asks, and reads nothing.
		w := dialWire(t, p.client)
		w.send(t, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	var want []string
	for range rounds {
		p.expect(t, 200, "POST", "/streams/a/restart", "")
		want = append(want, "a stopping", "a starting", "a running")
	}
	p.expect(t, 200, "DELETE", "/streams/a", "")
	want = append(want, "a stopping", "a stopped")
	for i, feed := range feeds {
		assert.Equal(t, want, texts(feed.next(t, "a stopped")), fmt.Sprint("reader ", i))
	}
}

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
	"penstock/supervisor/events"
)

// follower reads an answer that goes on.
type follower struct {
	*wire
	answer *http.Response
	lines  *bufio.Reader
}

// follow begins to read an answer, whose head must be there at once.
func follow(t testing.TB, addr, target string, headers ...string) *follower {
	t.Helper()
	client := dial(t, addr)
	client.send(append([]string{"GET " + target + " HTTP/1.1", "Host: x"}, headers...), "")
	answer, err := http.ReadResponse(client.reader, &http.Request{Method: http.MethodGet})
	require.NoError(t, err)
	return &follower{client, answer, bufio.NewReader(answer.Body)}
}

func (f *follower) line() string {
	f.t.Helper()
	line, err := f.lines.ReadString('\n')
	require.NoError(f.t, err)
	return strings.TrimSuffix(line, "\n")
}

// event reads one event and returns its fields by their names.
func (f *follower) event() map[string]string {
	f.t.Helper()
	fields := map[string]string{}
	for line := f.line(); line != ""; line = f.line() {
		name, value, _ := strings.Cut(line, ": ")
		fields[name] = value
	}
	return fields
}

// transition reads an event that must be one, and its data.
func (f *follower) transition() events.Event {
	f.t.Helper()
	fields := f.event()
	require.Equal(f.t, "transition", fields["event"], fields)
	var e events.Event
	require.NoError(f.t, json.Unmarshal([]byte(fields["data"]), &e))
	require.Equal(f.t, e.ID, fields["id"])
	return e
}

// ends says that the answer is over, as one that is complete.
func (f *follower) ends() {
	f.t.Helper()
	rest, err := f.lines.ReadString(0)
	require.ErrorContains(f.t, err, "EOF")
	require.NotErrorIs(f.t, err, http.ErrBodyReadAfterClose)
	require.NotContains(f.t, err.Error(), "unexpected")
	require.Empty(f.t, rest)
}

// havingStreams has streams of these ids.
func havingStreams(t testing.TB, streams *recorder, ids ...string) {
	t.Helper()
	for _, id := range ids {
		require.NoError(t, streams.Create(t.Context(), id, parsed(t, "{x: 1}"), supervisor.Change{}))
	}
}

func TestEventsAreSentAsTheyHappen(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a", "b")
	addr := serve(t, testConfig(), streams)
	all, one := follow(t, addr, "/events"), follow(t, addr, "/streams/b/events")
	for _, f := range []*follower{all, one} {
		assert.Equal(t, http.StatusOK, f.answer.StatusCode)
		assert.Equal(t, "text/event-stream", f.answer.Header.Get("Content-Type"))
		assert.Equal(t, "no-cache", f.answer.Header.Get("Cache-Control"))
		assert.Equal(t, "no", f.answer.Header.Get("X-Accel-Buffering"))
	}

	for _, id := range []string{"a", "b"} {
		streams.hub.Publish(events.Event{Stream: id, At: then, From: "running", State: "backoff", Revision: 3, Reason: "panic:\nno"})
	}
	got := all.transition()
	assert.Equal(t, events.Event{
		ID: got.ID, Stream: "a", At: then, From: "running", State: "backoff", Revision: 3, Reason: "panic:\nno",
	}, got)
	assert.Equal(t, "b", all.transition().Stream)
	assert.Equal(t, "b", one.transition().Stream)
	for _, f := range []*follower{all, one} {
		require.NoError(t, f.Close())
	}
}

func TestEventsGoOnAfterTheLastOne(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a")
	addr := serve(t, testConfig(), streams)
	first := follow(t, addr, "/events")
	for _, state := range []string{"starting", "running", "finished"} {
		streams.hub.Publish(events.Event{Stream: "a", State: state})
	}
	seen := first.transition()
	require.NoError(t, first.Close())

	for _, again := range []*follower{
		follow(t, addr, "/events", "Last-Event-ID: "+seen.ID),
		follow(t, addr, "/streams/a/events?last_event_id="+seen.ID),
		follow(t, addr, "/events?last_event_id=nonsense", "Last-Event-ID: "+seen.ID),
	} {
		assert.Equal(t, "running", again.transition().State)
		assert.Equal(t, "finished", again.transition().State)
		require.NoError(t, again.Close())
	}

	for target, status := range map[string]string{"/events": "/streams/{id}/status", "/streams/a/events": "/streams/a/status"} {
		strange := follow(t, addr, target, "Last-Event-ID: of-another-server")
		lost := strange.event()
		assert.Equal(t, "lagged", lost["event"])
		assert.NotContains(t, lost, "id")
		var data struct{ Message string }
		require.NoError(t, json.Unmarshal([]byte(lost["data"]), &data))
		assert.Contains(t, data.Message, "events were lost: GET "+status)
		assert.Equal(t, "starting", strange.transition().State, "and goes on with what is kept")
		require.NoError(t, strange.Close())
	}
}

func TestEventsOfAStreamEndWithIt(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a", "b")
	addr := serve(t, testConfig(), streams)
	one, all := follow(t, addr, "/streams/a/events"), follow(t, addr, "/events")
	for _, e := range []events.Event{{Stream: "a", State: "stopping"}, {Stream: "a", State: "stopped"}, {Stream: "b", State: "running"}} {
		streams.hub.Publish(e)
	}
	assert.Equal(t, "stopping", one.transition().State)
	assert.Equal(t, "stopped", one.transition().State)
	one.ends()
	// The connection takes another request.
	one.pings()

	for _, want := range []string{"stopping", "stopped", "running"} {
		assert.Equal(t, want, all.transition().State)
	}
	require.NoError(t, all.Close())
}

func TestEventsAreNeverSilentForLong(t *testing.T) {
	hub := events.NewHub(1)
	next := eventPieces(hub.Subscribe("", ""), "", time.Millisecond)
	for range 2 {
		piece, err := next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, ":\n\n", string(piece), "a comment")
	}
	hub.Publish(events.Event{Stream: "a", State: "running"})
	piece, err := next(t.Context())
	require.NoError(t, err)
	assert.Contains(t, string(piece), `"stream":"a"`)
	hub.Close()
	_, err = next(t.Context())
	assert.ErrorIs(t, err, io.EOF)
}

// noFeeds awaits the end of every answer that goes on.
func noFeeds(t *testing.T) {
	t.Helper()
	await(t, func() bool { return !running("penstock/api.startFeed") && !watching() }, "the end of what was sent")
}

func TestFeedsEndWithTheirClient(t *testing.T) {
	streams := newRecorder()
	streams.logs = t.TempDir()
	havingStreams(t, streams, "a")
	addr := serve(t, testConfig(), streams)
	for _, target := range []string{"/events", "/streams/a/events", "/streams/a/logs?follow=true"} {
		client := follow(t, addr, target)
		await(t, func() bool { return running("penstock/api.startFeed") && watching() }, "the feed")
		require.NoError(t, client.Close())
		noFeeds(t)
	}
}

func TestFeedsEndWithTheServer(t *testing.T) {
	streams := newRecorder()
	streams.logs = t.TempDir()
	havingStreams(t, streams, "a")
	addr, server := serveUntil(t, testConfig(), streams)
	var clients []*follower
	for _, target := range []string{"/events", "/streams/a/events", "/streams/a/logs?follow=true"} {
		clients = append(clients, follow(t, addr, target))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.Shutdown(ctx))
	for _, client := range clients {
		client.ends()
	}
}

func TestFeedOfAClientThatDoesNotReadEndsWithTheServer(t *testing.T) {
	streams := newRecorder()
	streams.logs = t.TempDir()
	havingStreams(t, streams, "a")
	writeLog(t, streams, strings.Repeat(strings.Repeat("x", 1000)+"\n", 40<<10))
	addr, server := serveUntil(t, testConfig(), streams)
	client := dial(t, addr)
	require.NoError(t, client.SetReadBuffer(4096))
	client.send([]string{"GET /streams/a/logs?tail=-1&follow=true HTTP/1.1", "Host: x"}, "")
	await(t, func() bool { return running("penstock/api.startFeed") }, "the feed")
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.Shutdown(ctx))
	assert.Less(t, time.Since(began), patience/2)
}

func TestStreamsKeepPathsThatAreLikeRoutes(t *testing.T) {
	streams := behind(t, echoURI)
	streams.hub.Close()
	addr := serve(t, testConfig(), streams)
	for _, id := range []string{"events", "metrics", "status"} {
		streams.owner = id
		for _, path := range []string{"/" + id + "/post", "/" + id + "/ready", "/" + id + "/"} {
			assert.Equal(t, "stream got "+path, call(t, addr, "GET", path, "").text)
		}
	}
	// Without the ids before them, a stream's paths may be these.
	assert.Contains(t, call(t, addr, "GET", "/metrics", "").text, "penstock_streams 1")
	assert.Empty(t, call(t, addr, "GET", "/events", "").text)
	streams.paths = []string{"/events", "/metrics"}
	for _, target := range []string{"GET /events", "POST /events", "GET /metrics", "GET /benthos/metrics"} {
		method, path, _ := strings.Cut(target, " ")
		assert.Equal(t, "stream got "+strings.TrimPrefix(path, "/benthos"), call(t, addr, method, path, "").text, target)
	}
}

package api

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/events"
)

// writeLog appends to the log that every stream of the recorder has.
func writeLog(t testing.TB, streams *recorder, text string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(streams.logs, "stream.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

const (
	debugLine = `{"time":"2026-11-21T09:30:00Z","level":"DEBUG","msg":"one"}` + "\n"
	infoLine  = `{"time":"2026-11-21T09:30:01Z","level":"INFO","msg":"two"}` + "\n"
	errorLine = `{"time":"2026-11-21T09:30:02Z","level":"ERROR","msg":"three"}` + "\n"
)

// logging has the stream a with a log of three lines and one line of output.
func logging(t *testing.T) *recorder {
	t.Helper()
	streams := newRecorder()
	streams.logs = t.TempDir()
	havingStreams(t, streams, "a")
	writeLog(t, streams, debugLine+infoLine+errorLine)
	require.NoError(t, os.WriteFile(filepath.Join(streams.logs, "output.log"), []byte("printed\n"), 0o600))
	return streams
}

func TestLogs(t *testing.T) {
	addr := serve(t, testConfig(), logging(t))
	const ndjson = "application/x-ndjson"
	for _, c := range []struct {
		query, accept string
		ndjson        bool
		lines         []string
	}{
		{"", "", false, []string{"one", "two", "three"}},
		{"?format=ndjson", "", true, []string{"one", "two", "three"}},
		{"", ndjson, true, []string{"one", "two", "three"}},
		{"", "text/html, " + ndjson + ";q=0.9", true, []string{"one", "two", "three"}},
		{"", "*/*", false, []string{"one", "two", "three"}},
		{"?format=text", ndjson, false, []string{"one", "two", "three"}},
		{"?tail=2", "", false, []string{"two", "three"}},
		{"?tail=0", "", false, nil},
		{"?tail=-1&follow=false", "", false, []string{"one", "two", "three"}},
		{"?level=info", "", false, []string{"two", "three"}},
		{"?level=error&source=log", "", false, []string{"three"}},
		{"?source=output", "", false, []string{"printed"}},
	} {
		t.Run(c.query+" "+c.accept, func(t *testing.T) {
			got := call(t, addr, "GET", "/streams/a/logs"+c.query, "", "Accept: "+c.accept)
			require.Equal(t, http.StatusOK, got.StatusCode, got.text)
			want := "text/plain; charset=utf-8"
			if c.ndjson {
				want = ndjson
			}
			assert.Equal(t, want, got.Header.Get("Content-Type"))
			lines := strings.Split(strings.TrimSuffix(got.text, "\n"), "\n")
			if got.text == "" {
				lines = nil
			}
			require.Len(t, lines, len(c.lines), got.text)
			for i, line := range lines {
				assert.Contains(t, line, c.lines[i])
				assert.Equal(t, c.ndjson, strings.HasPrefix(line, "{"))
			}
		})
	}
}

func TestLogsNameABadParameter(t *testing.T) {
	addr := serve(t, testConfig(), logging(t))
	for query, want := range map[string][]string{
		"tail=x":                         {"tail", "number"},
		"tail=-2":                        {"tail", "-2"},
		"follow=yes":                     {"follow", "true or false"},
		"level=loud":                     {"level", "loud", "debug, info, warn or error"},
		"source=stdout":                  {"source", "stdout", "output"},
		"format=xml":                     {"format", "text or ndjson"},
		"replica=x":                      {"replica", "the number of a runner, from 1"},
		"replica=0":                      {"replica", "the number of a runner, from 1"},
		"replica=-1":                     {"replica", "the number of a runner, from 1"},
		"replica=1.5":                    {"replica", "the number of a runner, from 1"},
		"replica=9999999999999999999999": {"replica", "the number of a runner, from 1"},
		"source=output&level=error":      {"level", "output"},
	} {
		got := call(t, addr, "GET", "/streams/a/logs?"+query, "")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode, query)
		assert.True(t, strings.HasPrefix(got.text, "Error: the query parameter "+want[0]+" "), got.text)
		for _, word := range want {
			assert.Contains(t, got.text, word, query)
		}
	}
}

func TestLogsOfARunner(t *testing.T) {
	streams := logging(t)
	addr := serve(t, testConfig(), streams)
	for query, want := range map[string]int{"": 1, "?replica=": 1, "?replica=1": 1, "?replica=2&tail=1": 2} {
		got := call(t, addr, "GET", "/streams/a/logs"+query, "")
		assert.Equal(t, http.StatusOK, got.StatusCode, got.text)
		assert.Equal(t, want, streams.lived().logNumber, query)
	}
	got := call(t, addr, "GET", "/streams/a/logs?replica=3", "")
	assert.Equal(t, http.StatusBadRequest, got.StatusCode)
	assert.Contains(t, got.text, "the stream has no such runner")
}

// A log that is followed ends with its runner, or with the stream, and not with
// another runner.
func TestLogsOfARunnerAreFollowed(t *testing.T) {
	streams := logging(t)
	addr := serve(t, testConfig(), streams)
	stopped := func(number int) { streams.hub.Publish(events.Event{Stream: "a", Replica: number, State: "stopped"}) }
	first := follow(t, addr, "/streams/a/logs?follow=true&tail=1")
	second := follow(t, addr, "/streams/a/logs?follow=true&tail=1&replica=2")
	for _, client := range []*follower{first, second} {
		assert.Contains(t, client.line(), "three")
	}
	stopped(3)
	writeLog(t, streams, infoLine)
	assert.Contains(t, first.line(), "two")
	assert.Contains(t, second.line(), "two")
	stopped(2)
	second.ends()
	writeLog(t, streams, infoLine)
	assert.Contains(t, first.line(), "two")
	stopped(1)
	first.ends()
	noFeeds(t)
}

func TestLogsAreFollowed(t *testing.T) {
	streams := logging(t)
	addr := serve(t, testConfig(), streams)
	client := follow(t, addr, "/streams/a/logs?follow=true&tail=1&format=ndjson")
	assert.Contains(t, client.line(), "three")
	for range 3 {
		writeLog(t, streams, infoLine)
		assert.JSONEq(t, infoLine, client.line())
	}
	// What the stream says last is sent, and then it is over.
	writeLog(t, streams, errorLine)
	streams.hub.Publish(events.Event{Stream: "b", State: "stopped"})
	streams.hub.Publish(events.Event{Stream: "a", State: "stopped"})
	assert.JSONEq(t, errorLine, client.line())
	client.ends()
	client.pings()
	noFeeds(t)
}

func TestLogLevel(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a")
	addr := serve(t, testConfig(), streams)
	for body, want := range map[string]string{
		"debug": "debug", " warn\n": "warn", `{"level":"error"}`: "error", "{\"level\": \"info\"}\n": "info",
	} {
		got := call(t, addr, "PUT", "/streams/a/log-level", body)
		assert.Equal(t, http.StatusOK, got.StatusCode, got.text)
		assert.Empty(t, got.text)
		assert.Equal(t, want, streams.lived().level)
		assert.Equal(t, "log level a", streams.lived().did)
	}
	for _, body := range []string{
		"", "loud", "INFO", `"info"`, "{}", `{"level":"loud"}`, `{"level":1}`, `{"level":"info","x":1}`, `{"level":"info"} {}`, "{", "debug info",
	} {
		got := call(t, addr, "PUT", "/streams/a/log-level", body)
		assert.Equal(t, http.StatusBadRequest, got.StatusCode, body)
		assert.Contains(t, got.text, "debug, info, warn or error")
	}
	assert.Equal(t, http.StatusNotFound, call(t, addr, "PUT", "/streams/b/log-level", "info").StatusCode)
}

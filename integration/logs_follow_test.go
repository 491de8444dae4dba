package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// talkativeYAML logs what it is posted at every level, and prints it.
const talkativeYAML = `
input: {http_server: {path: /post}}
pipeline:
  processors:
    - log: {level: DEBUG, message: 'debug of ${! content() }'}
    - log: {level: INFO, message: 'info of ${! content() }', fields_mapping: 'root.colour = "blue"'}
    - log: {level: WARN, message: 'warn of ${! content() }'}
    - log: {level: ERROR, message: 'error of ${! content() }'}
output: {broker: {pattern: fan_out_sequential, outputs: [{stdout: {}}, {sync_response: {}}]}}
`

// logFeed is a client that follows a log.
type logFeed struct {
	lines chan string
	stop  func()
}

func openLog(t *testing.T, c *client, path, accept string) *logFeed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+path, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", accept)
	own := &http.Client{Transport: &http.Transport{}}
	res, err := own.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	f := &logFeed{lines: make(chan string, 10_000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(f.lines)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 2<<20)
		for lines.Scan() {
			f.lines <- lines.Text()
		}
	}()
	f.stop = func() {
		cancel()
		<-ended
		own.CloseIdleConnections()
	}
	t.Cleanup(f.stop)
	return f
}

// until reads lines until one contains a text, and returns all of them.
func (f *logFeed) until(t *testing.T, text string) (lines []string) {
	t.Helper()
	timeout := time.After(changeTimeout)
	for {
		select {
		case line, more := <-f.lines:
			require.True(t, more, "the log ended without %q: %v", text, lines)
			lines = append(lines, line)
			if strings.Contains(line, text) {
				return lines
			}
		case <-timeout:
			require.Fail(t, "no such line", "%q; there were %v", text, lines)
		}
	}
}

// TestLogsFollow: a log is sent as it grows, filtered by level, as text or
// NDJSON; its level changes without a restart, and stays changed.
func TestLogsFollow(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", talkativeYAML)
	pid := mustStatus(t, r.client, "a").PID
	post := func(text string) {
		t.Helper()
		assert.Equal(t, text, r.expect(t, 200, "POST", "/a/post", text).Text())
	}
	post("before")
	feeds := map[string]*logFeed{
		"text":   openLog(t, r.client, "/streams/a/logs?follow=true&tail=-1", "text/plain"),
		"warn":   openLog(t, r.client, "/streams/a/logs?follow=true&tail=-1&level=warn", "application/x-ndjson"),
		"new":    openLog(t, r.client, "/streams/a/logs?follow=true&tail=0&format=ndjson", ""),
		"output": openLog(t, r.client, "/streams/a/logs?follow=true&tail=-1&source=output", ""),
	}
	post("one")
	first := feeds["text"].until(t, "error of one")
	text := strings.Join(first, "\n")
	for _, want := range []string{"info of before", "warn of before", "error of before", "info of one", "colour=blue"} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "debug of", "the level is info")
	assert.Equal(t, []string{"before", "one"}, feeds["output"].until(t, "one"))

	// levels reads an NDJSON feed up to a line.
	levels := func(name, last string) (got []string) {
		t.Helper()
		for _, line := range feeds[name].until(t, last) {
			var entry struct{ Level, Msg, Stream string }
			require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
			assert.Equal(t, "a", entry.Stream, line)
			got = append(got, entry.Level+": "+entry.Msg)
		}
		return got
	}
	assert.Equal(t, []string{
		"WARN: warn of before", "ERROR: error of before", "WARN: warn of one", "ERROR: error of one",
	}, levels("warn", "error of one"))
	assert.Equal(t, []string{"INFO: info of one", "WARN: warn of one", "ERROR: error of one"}, levels("new", "error of one"))

	// Louder and quieter, by the same process.
	r.expect(t, 200, "PUT", "/streams/a/log-level", "debug")
	post("two")
	assert.Equal(t, []string{"DEBUG: debug of two", "INFO: info of two", "WARN: warn of two", "ERROR: error of two"},
		withoutEngine(levels("new", "error of two")))
	r.expect(t, 200, "PUT", "/streams/a/log-level", `{"level": "error"}`)
	post("three")
	assert.Equal(t, []string{"ERROR: error of three"}, withoutEngine(levels("new", "error of three")))
	r.expect(t, 400, "PUT", "/streams/a/log-level", "loud")
	s := mustStatus(t, r.client, "a")
	assert.Equal(t, "error", s.LogLevel)
	assert.Equal(t, pid, s.PID)

	// The level outlives the runner and the supervisor.
	r.expect(t, 200, "POST", "/streams/a/restart", "")
	post("four")
	assert.Equal(t, []string{"ERROR: error of four"}, withoutEngine(levels("new", "error of four")), "the log is followed from one runner to the next")
	r.stop(t)
	r.start(t)
	assert.Equal(t, "error", awaitState(t, r.client, "a", "running").LogLevel)
	post("five")
	var last []string
	await(t, changeTimeout, "the log", func() error {
		last = strings.Split(r.expect(t, 200, "GET", "/streams/a/logs?tail=2", "").Text(), "\n")
		return nil
	})
	require.Len(t, last, 2)
	assert.Contains(t, last[0], "error of four")
	assert.Contains(t, last[1], "error of five")

	// A log ends with its stream, for those who follow it as well.
	feed := openLog(t, r.client, "/streams/a/logs?follow=true", "")
	feed.until(t, "error of five")
	r.expect(t, 200, "DELETE", "/streams/a", "")
	await(t, changeTimeout, "the end of the log", func() error {
		select {
		case _, more := <-feed.lines:
			if !more {
				return nil
			}
		default:
		}
		return assert.AnError
	})
	r.expect(t, 404, "GET", "/streams/a/logs", "")
	r.stop(t)
}

// withoutEngine leaves out what the engine logs by itself.
func withoutEngine(lines []string) (own []string) {
	for _, line := range lines {
		if strings.Contains(line, " of ") {
			own = append(own, line)
		}
	}
	return own
}

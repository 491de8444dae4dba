package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// This file is about what happens to streams while no supervisor runs.

// runnerClient speaks to a runner itself, past its supervisor.
func runnerClient(t *testing.T, socket string) *client {
	t.Helper()
	c := newClient("http://runner")
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(c.close)
	return c
}

// TestAdoptionAfterADeath: a runner that dies while no supervisor runs is
// started again by the next one, which tells as much of its end as anybody can
// know.
func TestAdoptionAfterADeath(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		die    func(t *testing.T, pid int, runner *client)
		reason string
		code   int
		says   string
	}{
		"panic": {
			config: rangeYAML,
			die: func(t *testing.T, _ int, runner *client) {
				t.Helper()
				_, err := runner.ask(t.Context(), request{Method: "POST", Path: "/a/post", Body: `{"n":9000000000000000000}`})
				require.Error(t, err, "a runner that panics does not answer")
			},
			reason: "exited", code: 2, says: "panic: runtime error: makeslice: len out of range",
		},
		"killed": {
			config: rangeYAML,
			die: func(t *testing.T, pid int, _ *client) {
				t.Helper()
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			},
			reason: "lost", code: -1,
		},
		"told to end": {
			config: rangeYAML,
			die: func(t *testing.T, pid int, _ *client) {
				t.Helper()
				require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
			},
			reason: "exited", code: 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			r.start(t)
			r.expect(t, 200, "POST", "/streams/a", c.config)
			pid := mustStatus(t, r.client, "a").PID
			r.kill9(t)
			rec := r.runnerRecord(t, "a")
			died := time.Now()
			c.die(t, pid, runnerClient(t, rec["http_socket"].(string)))
			await(t, changeTimeout, "the runner's end", func() error { return ended(pid) })

			r.start(t)
			var s wholeStatus
			await(t, changeTimeout, "the next runner", func() (err error) {
				s, err = askStatus(t.Context(), r.client, "a")
				if err == nil && s.State != "running" {
					err = fmt.Errorf("it is %s", s)
				}
				return err
			})
			assert.NotEqual(t, pid, s.PID)
			require.NotNil(t, s.LastExit)
			t.Logf("last exit: %+v", *s.LastExit)
			assert.Equal(t, c.reason, s.LastExit.Reason)
			assert.Equal(t, c.code, s.LastExit.Code)
			assert.Contains(t, s.LastExit.Message, c.says)
			assert.LessOrEqual(t, len(s.LastExit.Message), 1024)
			if c.reason != "lost" {
				assert.WithinDuration(t, died, s.LastExit.At, 5*margin)
			}
			assert.Equal(t, "[0,1,2]", r.expect(t, 200, "POST", "/a/post", `{"n":3}`).Text())
			if c.says != "" {
				a := r.expect(t, 200, "GET", "/streams/a/logs?source=output&tail=-1", "")
				assert.Contains(t, a.Text(), c.says, "the panic is kept whole")
				assert.Contains(t, a.Text(), "goroutine ", "the panic is kept whole")
			}

			// What is known of it outlives a supervisor as well.
			r.kill9(t)
			r.start(t)
			again := awaitState(t, r.client, "a", "running")
			assert.Equal(t, s.PID, again.PID)
			assert.Equal(t, s.LastExit, again.LastExit)
			r.stop(t)
			assert.Empty(t, r.runners(), "processes that outlived their supervisor")
		})
	}
}

// heldSink takes messages only once it is let to.
type heldSink struct {
	*httptest.Server
	open     chan struct{}
	began    atomic.Int64
	accepted atomic.Int64
}

func newHeldSink(t *testing.T) *heldSink {
	t.Helper()
	s := &heldSink{open: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Cleanup(func() {
		select {
		case <-s.open:
		default:
			close(s.open)
		}
	})
	return s
}

// ServeHTTP implements http.Handler.
func (s *heldSink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	s.began.Add(1)
	select {
	case <-s.open:
		s.accepted.Add(1)
	case <-r.Context().Done():
	}
}

// awaitMessage waits until a message is under way.
func (s *heldSink) awaitMessage(t *testing.T) {
	t.Helper()
	await(t, changeTimeout, "a message at the sink", func() error {
		if s.began.Load() == 0 {
			return fmt.Errorf("there was none")
		}
		return nil
	})
}

// awaitAccepted waits until the sink has taken a number of messages.
func (s *heldSink) awaitAccepted(t *testing.T, want int64) {
	t.Helper()
	await(t, changeTimeout, "all messages", func() error {
		if n := s.accepted.Load(); n != want {
			return fmt.Errorf("%d of %d arrived", n, want)
		}
		return nil
	})
}

// TestAdoptionAfterTheEnd: a stream that comes to its end while no supervisor
// runs has finished, with its last statistics, and is not run again.
func TestAdoptionAfterTheEnd(t *testing.T) {
	t.Parallel()
	for name, dead := range map[string]bool{"the runner waits": false, "the runner is gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const messages = 3
			sink := newHeldSink(t)
			r := newRestartable(t)
			r.start(t)
			r.expect(t, 200, "POST", "/streams/short", fmt.Sprintf(`
input: {label: three, generate: {count: %d, interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: '%s', verb: POST, timeout: 1m}}
`, messages, sink.URL))
			sink.awaitMessage(t)
			pid := mustStatus(t, r.client, "short").PID
			r.kill9(t)
			rec := r.runnerRecord(t, "short")
			close(sink.open)
			sink.awaitAccepted(t, messages)
			await(t, changeTimeout, "the record of the stream's end", func() error {
				found, err := filepath.Glob(filepath.Join(r.folder(rec), "exit.json"))
				if err == nil && len(found) == 0 {
					err = fmt.Errorf("there is none")
				}
				return err
			})
			require.Error(t, ended(pid), "the runner waits for its supervisor")
			if dead {
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
				await(t, changeTimeout, "the runner's end", func() error { return ended(pid) })
			}

			for range 2 {
				r.start(t)
				s := awaitState(t, r.client, "short", "finished")
				assert.Zero(t, s.PID)
				assert.Zero(t, s.Restarts)
				if assert.NotNil(t, s.LastExit) {
					assert.Equal(t, "exited", s.LastExit.Reason)
				}
				await(t, changeTimeout, "the runner's end", func() error { return ended(pid) })
				var flat map[string]any
				r.getJSON(t, "/streams/short/stats?format=flat", &flat)
				assert.EqualValues(t, messages, flat[`input_received{label="three",path="root.input",stream="short"}`])
				assert.EqualValues(t, messages, flat[`output_sent{label="",path="root.output",stream="short"}`])
				assert.Equal(t, "OK", r.expect(t, 200, "GET", "/ready", "").Text())
				assert.Empty(t, r.runners())
				// The store has it, too.
				r.kill9(t)
			}
			assert.EqualValues(t, messages, sink.accepted.Load(), "it was not run again")
			r.start(t)
			r.expect(t, 200, "POST", "/streams/short/restart", "")
			sink.awaitAccepted(t, 2*messages)
			awaitState(t, r.client, "short", "finished")
			r.stop(t)
		})
	}
}

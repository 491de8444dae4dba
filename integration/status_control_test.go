package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wholeStatus is the answer of GET /streams/{id}/status.
type wholeStatus struct {
	ID            string    `json:"id"`
	Desired       string    `json:"desired"`
	State         string    `json:"state"`
	Since         time.Time `json:"since"`
	Reason        string    `json:"reason"`
	Revision      uint64    `json:"revision"`
	Restarts      uint64    `json:"restarts"`
	PID           int       `json:"pid"`
	Runner        string    `json:"runner"`
	RunnerVersion string    `json:"runner_version"`
	LogLevel      string    `json:"log_level"`
	Unanswered    string    `json:"unanswered"`
	Connections   []struct {
		Path, Label string
		Connected   bool
		Error       string
	} `json:"connections"`
	LastExit *struct {
		Reason  string    `json:"reason"`
		Code    int       `json:"code"`
		Signal  string    `json:"signal"`
		At      time.Time `json:"at"`
		Message string    `json:"message"`
	} `json:"last_exit"`
}

func (s wholeStatus) String() string {
	text, _ := json.Marshal(s)
	return string(text)
}

func askStatus(ctx context.Context, c *client, id string) (s wholeStatus, err error) {
	a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/streams/" + id + "/status"})
	if err != nil {
		return s, err
	}
	if a.Status != http.StatusOK {
		return s, fmt.Errorf("the status of %s: %s", id, a)
	}
	if err := json.Unmarshal(a.Body, &s); err != nil {
		return s, fmt.Errorf("the status of %s: %w: %s", id, err, a)
	}
	return s, nil
}

func mustStatus(t testing.TB, c *client, id string) wholeStatus {
	t.Helper()
	s, err := askStatus(t.Context(), c, id)
	require.NoError(t, err)
	return s
}

// awaitState waits until a stream is in a state, and returns its status then.
func awaitState(t testing.TB, c *client, id, state string) (s wholeStatus) {
	t.Helper()
	await(t, changeTimeout, id+" to be "+state, func() (err error) {
		if s, err = askStatus(t.Context(), c, id); err == nil && s.State != state {
			err = fmt.Errorf("it is %s", s)
		}
		return err
	})
	return s
}

// TestStatusPause: a paused stream has no process, over restarts of the
// supervisor too, until it is resumed.
func TestStatusPause(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	r.expect(t, 200, "POST", "/streams/other", echo("other"))
	other := mustStatus(t, r.client, "other").PID
	pid := mustStatus(t, r.client, "a").PID
	require.NotZero(t, pid)
	for range 2 {
		r.expect(t, 200, "POST", "/streams/a/pause", "")
		awaitGone(t, pid)
		s := mustStatus(t, r.client, "a")
		assert.Equal(t, "paused", s.Desired)
		assert.Equal(t, "paused", s.State)
		assert.Zero(t, s.PID)
		assert.Empty(t, s.Runner)
		assert.Empty(t, s.Connections)
		if assert.NotNil(t, s.LastExit) {
			assert.Equal(t, "exited", s.LastExit.Reason)
		}
	}
	a := r.expect(t, 503, "POST", "/a/post", "x")
	assert.Contains(t, a.Text(), "paused")
	assert.Equal(t, "OK", r.expect(t, 200, "GET", "/ready", "").Text(), "a pause is no fault")
	r.expect(t, 409, "POST", "/streams/a/restart", "")
	// What is changed meanwhile is checked, and runs later.
	r.expect(t, 400, "PUT", "/streams/a", unbuildableYAML)
	r.expect(t, 200, "PUT", "/streams/a", echo("changed"))
	s := mustStatus(t, r.client, "a")
	assert.Equal(t, "paused", s.State)
	assert.EqualValues(t, 2, s.Revision)
	assert.Len(t, r.runners(), 1)

	r.kill9(t)
	r.start(t)
	assert.Equal(t, other, awaitState(t, r.client, "other", "running").PID)
	assert.Equal(t, "paused", mustStatus(t, r.client, "a").State)
	r.stop(t)
	r.start(t)
	awaitEcho(t, r.client, "/other/post", "other")
	assert.Equal(t, "paused", mustStatus(t, r.client, "a").State)
	assert.Len(t, r.runners(), 1)

	r.expect(t, 200, "POST", "/streams/a/resume", "")
	s = awaitState(t, r.client, "a", "running")
	assert.Equal(t, "running", s.Desired)
	assert.Zero(t, s.Restarts, "neither a pause nor a stop is a failure")
	awaitEcho(t, r.client, "/a/post", "changed")
	r.expect(t, 200, "POST", "/streams/a/resume", "")
	assert.Equal(t, s.PID, mustStatus(t, r.client, "a").PID, "it was resumed already")
	for _, verb := range []string{"pause", "resume", "restart"} {
		r.expect(t, 404, "POST", "/streams/nobody/"+verb, "")
	}
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// TestStatusRestart: a restart is a new process with the same config, also of
// a stream that has finished or failed.
func TestStatusRestart(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	pid := mustStatus(t, p.client, "a").PID
	p.expect(t, 200, "POST", "/streams/a/restart", "")
	s := mustStatus(t, p.client, "a")
	assert.Equal(t, "running", s.State)
	assert.NotEqual(t, pid, s.PID)
	assert.Zero(t, s.Restarts)
	assert.EqualValues(t, 1, s.Revision)
	awaitGone(t, pid)
	awaitEcho(t, p.client, "/a/post", "a")

	p.expect(t, 200, "POST", "/streams/short", `
input: {generate: {count: 1, interval: "", mapping: 'root = "x"'}}
output: {drop: {}}
`)
	ended := awaitState(t, p.client, "short", "finished")
	p.expect(t, 200, "POST", "/streams/short/restart", "")
	await(t, changeTimeout, "it to finish again", func() error {
		now := mustStatus(t, p.client, "short")
		if now.State != "finished" || !now.Since.After(ended.Since) {
			return fmt.Errorf("it is %s", now)
		}
		return nil
	})

	p.expect(t, 200, "POST", "/streams/crashing", "runtime: {restart: {max_attempts: 2, backoff: {initial: 10ms}}}"+crashingYAML)
	failed := awaitState(t, p.client, "crashing", "failed")
	assert.EqualValues(t, 2, failed.Restarts)
	assert.Zero(t, failed.PID)
	if assert.NotNil(t, failed.LastExit) {
		assert.Equal(t, "exited", failed.LastExit.Reason)
		assert.Equal(t, 1, failed.LastExit.Code)
	}
	a := p.expect(t, 503, "GET", "/ready", "")
	assert.Contains(t, a.Text(), "crashing: it has failed")
	p.expect(t, 200, "PUT", "/streams/crashing", echo("mended"))
	awaitEcho(t, p.client, "/crashing/post", "mended")
	awaitReady(t, p.client)

	// The signal that ended a runner is named.
	killed := mustStatus(t, p.client, "a").PID
	require.NoError(t, syscall.Kill(killed, syscall.SIGSEGV))
	awaitPID(t, p.client, "a", killed)
	s = awaitState(t, p.client, "a", "running")
	assert.EqualValues(t, 1, s.Restarts)
	killed = s.PID
	require.NoError(t, syscall.Kill(killed, syscall.SIGKILL))
	awaitPID(t, p.client, "a", killed)
	s = awaitState(t, p.client, "a", "running")
	assert.EqualValues(t, 2, s.Restarts)
	if assert.NotNil(t, s.LastExit) {
		assert.Equal(t, "signaled", s.LastExit.Reason)
		assert.Equal(t, "SIGKILL", s.LastExit.Signal)
		assert.Equal(t, -1, s.LastExit.Code)
		assert.WithinDuration(t, time.Now(), s.LastExit.At, changeTimeout)
	}
}

// TestStatusConnections: what is not connected is named, with its path, its
// label and the reason.
func TestStatusConnections(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", fmt.Sprintf(`
input: {label: in, generate: {interval: 1h, mapping: 'root = "x"'}}
output: {label: out, socket: {network: tcp, address: '%s'}}
`, address))
	var s wholeStatus
	await(t, changeTimeout, "the refused connection", func() error {
		s = mustStatus(t, p.client, "a")
		if len(s.Connections) != 2 || s.Connections[1].Error == "" {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	assert.Equal(t, "running", s.State)
	for _, c := range s.Connections {
		switch c.Label {
		case "in":
			assert.True(t, c.Connected, "%+v", c)
		case "out":
			assert.False(t, c.Connected, "%+v", c)
			assert.Contains(t, c.Error, address)
			assert.Contains(t, c.Path, "output")
		default:
			assert.Fail(t, "an unknown connection", "%+v", c)
		}
	}
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	defer listener.Close()
	await(t, changeTimeout, "the connection", func() error {
		s = mustStatus(t, p.client, "a")
		for _, c := range s.Connections {
			if !c.Connected {
				return fmt.Errorf("%+v", c)
			}
		}
		return nil
	})
}

// TestStatusOfStopped: a runner that does not answer keeps nobody waiting for
// its stream's status, however long other questions may take.
func TestStatusOfStopped(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.rpc=1h")
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	var s wholeStatus
	await(t, changeTimeout, "its connections", func() error {
		if s = mustStatus(t, p.client, "a"); s.Unanswered != "" || len(s.Connections) != 2 {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	known := s.Connections
	freeze(t, s.PID)
	for range 3 {
		s = mustStatus(t, p.client, "a")
		assert.Equal(t, "running", s.State)
		assert.Contains(t, s.Unanswered, "its runner does not answer: the connections are those of "+time.Now().UTC().Format("2006-"))
		assert.Equal(t, known, s.Connections)
	}
	require.NoError(t, syscall.Kill(s.PID, syscall.SIGCONT))
	await(t, changeTimeout, "its answer", func() error {
		if s = mustStatus(t, p.client, "a"); s.Unanswered != "" {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
}

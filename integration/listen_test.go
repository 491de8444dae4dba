package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listening is echo with a listener of its own.
func listening(tag, address string) string {
	return fmt.Sprintf("runtime: {http: {listen: '%s'}}\n%s", address, echo(tag))
}

// freeAddress is one that nobody listens on just now, and that no connection is
// given by chance.
func freeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", lastingPort(t))
}

// newCaller is a client of an own listener that makes a connection for each
// call, so that none is a second attempt.
func newCaller(address string) *client {
	c := newClient("http://" + address)
	c.http.Transport.(*http.Transport).DisableKeepAlives = true
	return c
}

// nobodyAt tells whether nobody listens there.
func nobodyAt(t testing.TB, address string) bool {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: changeTimeout}).DialContext(t.Context(), "tcp", address)
	if err == nil {
		require.NoError(t, conn.Close())
		return false
	}
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	return true
}

// TestOwnListener: the endpoints of a stream answer at its own address, with
// their prefix and without it, on one connection too.
func TestOwnListener(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	address := freeAddress(t)
	p.expect(t, 200, "POST", "/streams/a", strings.Replace(listening("a", address), `content().string()'`, `meta("http_server_request_path") + ":" + content().string()'`, 1))
	own := newClient("http://" + address)
	defer own.close()
	for range 3 {
		assert.Equal(t, "a:/a/post:x", own.expect(t, 200, "POST", "/post", "x").Text())
		assert.Equal(t, "a:/a/post:y", own.expect(t, 200, "POST", "/a/post", "y").Text())
	}
	assert.Equal(t, "a:/a/post:z", p.expect(t, 200, "POST", "/a/post", "z").Text(), "the server's own address still answers")
	own.expect(t, 200, "GET", "/ready", "")
	own.expect(t, 404, "GET", "/streams", "")
	own.expect(t, 404, "POST", "/b/post", "")
	for _, method := range []string{"LISTEN", "LISTENING", "MULTIPLEX"} {
		assert.NotEqual(t, http.StatusSwitchingProtocols, own.call(t, method, "/", "").Status, method)
		assert.NotEqual(t, http.StatusSwitchingProtocols, p.call(t, method, "/a/post", "").Status, method)
	}
	assert.Contains(t, p.expect(t, 200, "GET", "/streams/a/status", "").Text(), fmt.Sprintf(`"listen":{"address":%q,"open":true}`, address))
	p.expect(t, 200, "DELETE", "/streams/a", "")
	assert.True(t, nobodyAt(t, address), "who is deleted frees its address")
}

// press calls an address without a pause from a few sides, each call on a
// connection of its own, until end is called, which returns how many there were.
func press(t *testing.T, address string) (end func() int64) {
	t.Helper()
	return pressWith(t, newCaller(address))
}

// pressers is how many sides press from.
const pressers = 4

// pressWith is press with the connections of a client.
func pressWith(t *testing.T, c *client) (end func() int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var done atomic.Int64
	for range pressers {
		calls.Go(func() {
			for ctx.Err() == nil {
				a, err := c.ask(t.Context(), request{Method: http.MethodPost, Path: "/post", Body: "x"})
				if !assert.NoError(t, err) || !assert.Equal(t, 200, a.Status, "%s", a) {
					return
				}
				done.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		calls.Wait()
		return done.Load()
	}
}

// TestOwnListenerOverChanges: whoever connects while a stream is changed or
// restarted waits, and is answered.
func TestOwnListenerOverChanges(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	address := freeAddress(t)
	p.expect(t, 200, "POST", "/streams/a", listening("0", address))
	end := press(t, address)
	for i := range 6 {
		p.expect(t, 200, "PUT", "/streams/a", listening(fmt.Sprint(i+1), address))
		assert.Equal(t, fmt.Sprint(i+1, ":x"), newCaller(address).expect(t, 200, "POST", "/post", "x").Text())
		p.expect(t, 400, "PUT", "/streams/a", listening("bad", address)+"nonsense: {}\n")
	}
	p.expect(t, 200, "POST", "/streams/a/restart", "")
	assert.Greater(t, end(), int64(10))
	assert.Zero(t, mustStatus(t, p.client, "a").Restarts)
}

// TestOwnListenerOverCrashes: whoever connects while there is no runner waits
// for the next one; and so under the supervisor that follows one that died.
func TestOwnListenerOverCrashes(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	address := freeAddress(t)
	r.expect(t, 200, "POST", "/streams/a", listening("a", address))
	crash := func(how string) {
		pid := mustStatus(t, r.client, "a").PID
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		awaitGone(t, pid)
		assert.Equal(t, "a:x", newCaller(address).expect(t, 200, "POST", "/post", "x").Text(), how)
		awaitState(t, r.client, "a", "running")
	}
	crash("first")
	crash("second")

	r.kill9(t)
	assert.Equal(t, "a:x", newCaller(address).expect(t, 200, "POST", "/post", "x").Text(), "without a supervisor")
	r.start(t)
	await(t, changeTimeout, "the socket to be given back", func() error {
		if a := r.expect(t, 200, "GET", "/streams/a/status", ""); !strings.Contains(a.Text(), `"open":true`) {
			return errors.New(a.Text())
		}
		return nil
	})
	crash("adopted")
	end := press(t, address)
	r.kill9(t)
	r.start(t)
	r.expect(t, 200, "PUT", "/streams/a", listening("a", address))
	assert.Positive(t, end())
}

// TestOwnListenerWakes: a connection wakes a stream that is idle and is
// answered, and what is under way on one keeps it from becoming idle.
func TestOwnListenerWakes(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	address := freeAddress(t)
	config := strings.Replace(listening("a", address), "runtime: {", "runtime: {idle_timeout: 300ms, ", 1)
	r.expect(t, 200, "POST", "/streams/a", config)
	for range 3 {
		awaitState(t, r.client, "a", "idle")
		assert.Equal(t, "a:x", newCaller(address).expect(t, 200, "POST", "/post", "x").Text())
	}
	restartBothWays(t, r, func(how string) {
		awaitState(t, r.client, "a", "idle")
		assert.Equal(t, "a:x", newCaller(address).expect(t, 200, "POST", "/post", "x").Text(), how)
	})

	// Half a request is one that is under way.
	awaitState(t, r.client, "a", "idle")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
	require.NoError(t, err)
	pid := awaitState(t, r.client, "a", "running").PID
	awaitCalls(t, r.client, "a", 1)
	r.expect(t, 200, "POST", "/streams/other", dozing("other"))
	for range 2 {
		awaitState(t, r.client, "other", "idle")
		r.expect(t, 200, "POST", "/other/post", "x")
	}
	assert.Equal(t, pid, mustStatus(t, r.client, "a").PID)
	_, err = io.WriteString(conn, "x")
	require.NoError(t, err)
	answer := make([]byte, 12)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 200", string(answer))
	awaitState(t, r.client, "a", "idle")
}

// TestOwnListenerAddresses: an address is a stream's as long as its config
// names it and it is to run, and nobody else's.
func TestOwnListenerAddresses(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	first, second := freeAddress(t), freeAddress(t)
	p.expect(t, 200, "POST", "/streams/a", listening("a", first))

	foreign, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", second)
	require.NoError(t, err)
	a := p.expect(t, 400, "PUT", "/streams/a", listening("a", second))
	assert.Contains(t, a.Text(), "another program listens on "+second)
	require.NoError(t, foreign.Close())
	a = p.expect(t, 400, "POST", "/streams/b", listening("b", first))
	assert.Contains(t, a.Text(), fmt.Sprintf(`stream "a" listens on %s`, first))
	p.expect(t, 404, "GET", "/streams/b", "")

	p.expect(t, 400, "PUT", "/streams/a", listening("a", second)+"nonsense: {}\n")
	assert.True(t, nobodyAt(t, second), "a change that fails gives the new address back")
	assert.Equal(t, "a:x", newCaller(first).expect(t, 200, "POST", "/post", "x").Text())
	p.expect(t, 200, "PUT", "/streams/a", listening("a", second))
	assert.True(t, nobodyAt(t, first))
	assert.Equal(t, "a:x", newCaller(second).expect(t, 200, "POST", "/post", "x").Text())

	p.expect(t, 200, "POST", "/streams/a/pause", "")
	assert.True(t, nobodyAt(t, second))
	p.expect(t, 200, "POST", "/streams/b", listening("b", second))
	a = p.expect(t, 400, "POST", "/streams/a/resume", "")
	assert.Contains(t, a.Text(), `stream "b" listens on`)
	p.expect(t, 200, "DELETE", "/streams/b", "")
	p.expect(t, 200, "POST", "/streams/a/resume", "")
	assert.Equal(t, "a:x", newCaller(second).expect(t, 200, "POST", "/post", "x").Text())
	p.expect(t, 200, "PUT", "/streams/a", echo("a"))
	assert.True(t, nobodyAt(t, second))

	// One that comes to its end, or fails, listens no more.
	p.expect(t, 200, "POST", "/streams/ends", fmt.Sprintf("runtime: {http: {listen: '%s'}}\ninput: {generate: {count: 1, interval: '', mapping: 'root = 1'}}\noutput: {drop: {}}\n", second))
	awaitState(t, p.client, "ends", "finished")
	assert.True(t, nobodyAt(t, second))
	p.expect(t, 200, "POST", "/streams/fails", strings.Replace(listening("a", first), "runtime: {", "runtime: {restart: {policy: never}, ", 1))
	require.NoError(t, syscall.Kill(mustStatus(t, p.client, "fails").PID, syscall.SIGKILL))
	awaitState(t, p.client, "fails", "failed")
	assert.True(t, nobodyAt(t, first))
}

// TestOwnListenerPolicy: the operator says where streams may listen.
func TestOwnListenerPolicy(t *testing.T) {
	t.Parallel()
	ask := func(p *penstock, listen string) string {
		return p.expect(t, 400, "POST", "/streams/x", listening("x", listen)).Text()
	}
	p := startPenstock(t)
	for _, listen := range []string{"127.0.0.1:80", "0.0.0.0:8080", "10.1.2.3:8080"} {
		assert.Contains(t, ask(p, listen), "field listen: "+listen+" is not allowed here: the server's http.stream_listen allows 127.0.0.0/8:1024-65535, [::1]:1024-65535", listen)
	}
	assert.Contains(t, ask(p, "127.0.0.1:0"), "expected a port of 1 to 65535")
	assert.Contains(t, ask(p, "example.com:8080"), "is no IP address")
	a := p.expect(t, 400, "POST", "/streams/x", "runtime: {http: {listen: '127.0.0.1:8080', max_in_flight: 1}}\n"+echo("x"))
	assert.Contains(t, a.Text(), "field max_in_flight: not beside listen")
	p = startPenstock(t, "--set", "http.stream_listen=[none]")
	assert.Contains(t, ask(p, "127.0.0.1:8080"), "http.stream_listen allows nothing")
	address := freeAddress(t)
	p = startPenstock(t, "--set", "http.stream_listen=['"+address+"']")
	assert.Contains(t, ask(p, "127.0.0.1:1"), "http.stream_listen allows "+address)
	p.expect(t, 200, "POST", "/streams/a", listening("a", strings.Replace(address, "127.0.0.1", "localhost", 1)))
	assert.Equal(t, "a:x", newCaller(address).expect(t, 200, "POST", "/post", "x").Text())
}

// TestOwnListenerMoves: one request moves an address from a stream to another,
// whether that goes or stays, and refuses what cannot be done in one step.
func TestOwnListenerMoves(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	first, second := freeAddress(t), freeAddress(t)
	set := func(status int, listen map[string]string) answer {
		streams := map[string]any{}
		for id, address := range listen {
			config := map[string]any{
				"input":    map[string]any{"http_server": map[string]any{"path": "/post"}},
				"pipeline": map[string]any{"processors": []any{map[string]any{"mapping": "root = '" + id + ":' + content().string()"}}},
				"output":   map[string]any{"sync_response": map[string]any{}},
			}
			if address != "" {
				config["runtime"] = map[string]any{"http": map[string]any{"listen": address}}
			}
			streams[id] = config
		}
		text, err := json.Marshal(streams)
		require.NoError(t, err)
		return p.expect(t, status, "POST", "/streams", strings.ReplaceAll(string(text), "'", `\"`))
	}
	answers := func(address string) string {
		return newCaller(address).expect(t, 200, "POST", "/post", "x").Text()
	}
	set(200, map[string]string{"a": first, "b": ""})
	assert.Equal(t, "a:x", answers(first))
	set(200, map[string]string{"a": "", "b": first})
	assert.Equal(t, "b:x", answers(first))
	set(200, map[string]string{"a": first, "b": second})
	assert.Equal(t, "a:x", answers(first))
	assert.Equal(t, "b:x", answers(second))
	refusal := set(400, map[string]string{"a": second, "b": first})
	assert.Contains(t, refusal.Text(), "listens on")
	assert.Equal(t, "a:x", answers(first), "nothing was changed")
	assert.Equal(t, "b:x", answers(second))
	set(200, map[string]string{"c": first})
	assert.Equal(t, "c:x", answers(first))
	assert.True(t, nobodyAt(t, second))
	set(200, map[string]string{})
	assert.True(t, nobodyAt(t, first))
}

// TestOwnListenerWakeFails: who connects to an idle stream that cannot be started
// waits for it, and the attempts are no more than after any failure.
func TestOwnListenerWakeFails(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	binary, err := os.ReadFile(r.Runner)
	require.NoError(t, err)
	r.Runner = filepath.Join(filepath.Dir(r.DataDir), "runner")
	require.NoError(t, os.WriteFile(r.Runner, binary, 0o700)) //nolint:gosec // It is executed.
	r.start(t)
	address := freeAddress(t)
	r.expect(t, 200, "POST", "/streams/a", strings.Replace(listening("a", address), "runtime: {", "runtime: {idle_timeout: 100ms, ", 1))
	awaitState(t, r.client, "a", "idle")
	require.NoError(t, os.Rename(r.Runner, r.Runner+".away"))
	answered := make(chan string, 1)
	go func() {
		defer close(answered)
		a, err := newCaller(address).ask(t.Context(), request{Method: http.MethodPost, Path: "/post", Body: "x"})
		if assert.NoError(t, err) {
			answered <- a.Text()
		}
	}()
	await(t, changeTimeout, "some attempts", func() error {
		if s := mustStatus(t, r.client, "a"); s.Restarts < 3 {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	assert.Less(t, mustStatus(t, r.client, "a").Restarts, uint64(8), "each waits longer than the one before")
	require.NoError(t, os.Rename(r.Runner+".away", r.Runner))
	assert.Equal(t, "a:x", <-answered)
}

// TestOwnListenerDetached: a server that lets go of its streams leaves those that
// run listening, and the next one keeps them so when they are changed.
func TestOwnListenerDetached(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t, "--on-exit", "detach")
	runs, sleeps := freeAddress(t), freeAddress(t)
	r.expect(t, 200, "POST", "/streams/runs", listening("a", runs))
	r.expect(t, 200, "POST", "/streams/sleeps", strings.Replace(listening("a", sleeps), "runtime: {", "runtime: {idle_timeout: 100ms, ", 1))
	awaitState(t, r.client, "sleeps", "idle")
	end := press(t, runs)
	r.stop(t)
	assert.True(t, nobodyAt(t, sleeps))
	r.start(t, "--on-exit", "detach")
	r.expect(t, 200, "PUT", "/streams/runs", listening("b", runs))
	assert.Positive(t, end())
	assert.Equal(t, "b:x", newCaller(runs).expect(t, 200, "POST", "/post", "x").Text())
	assert.Equal(t, "a:x", newCaller(sleeps).expect(t, 200, "POST", "/post", "x").Text())
}

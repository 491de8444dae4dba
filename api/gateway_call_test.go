package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc/multiplex"
	"penstock/supervisor/options"
)

// A stream's timeout is kept to the millisecond, also below the time after
// which a client is watched, and while the runner takes no connection.
func TestGatewayTimeout(t *testing.T) {
	ended := make(chan struct{}, 8)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		<-r.Context().Done()
		ended <- struct{}{}
	})
	streams.http = options.HTTP{Timeout: 30 * time.Millisecond}
	addr := serve(t, testConfig(), streams)
	for _, head := range [][]string{
		{"GET /foo/get HTTP/1.1", "Host: x"},
		{"POST /foo/post HTTP/1.1", "Host: x", "Content-Length: 5"},
	} {
		client := dial(t, addr)
		body := ""
		if len(head) > 2 {
			body = "hello"
		}
		began := time.Now()
		client.send(head, body)
		got := client.receive("GET")
		assert.Equal(t, http.StatusGatewayTimeout, got.StatusCode, got.text)
		assert.Contains(t, got.text, "within 30ms")
		assert.Less(t, time.Since(began), watchAfter)
		<-ended
		client.pings()
	}
	assert.False(t, streams.isHeld())

	streams.calls.Close()
	streams.calls = hanging(t)
	client := dial(t, addr)
	began := time.Now()
	client.send([]string{"GET /foo/get HTTP/1.1", "Host: x"}, "")
	assert.Equal(t, http.StatusGatewayTimeout, client.receive("GET").StatusCode)
	assert.Less(t, time.Since(began), time.Second)
}

// hanging is a runner that takes no connection, until the test's end.
func hanging(t *testing.T) *multiplex.Client {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return multiplex.NewClient(func(context.Context) (net.Conn, error) {
		<-over
		return nil, errors.New("it hangs")
	})
}

// A client that leaves while the runner takes no connection is not waited for.
func TestGatewayConnectsForNobody(t *testing.T) {
	streams := behind(t, nil)
	addr := serve(t, testConfig(), streams)
	streams.calls = hanging(t)
	client := dial(t, addr)
	client.send([]string{"GET /foo/get HTTP/1.1", "Host: x"}, "")
	await(t, streams.isHeld, "the call")
	require.NoError(t, client.Close())
	await(t, func() bool { return !streams.isHeld() }, "the end of the call")
}

// What no runner has received is sent again; what one may have is only if it may
// be carried out twice, and once.
func TestGatewaySendsAgain(t *testing.T) {
	for _, test := range []struct {
		head    []string
		status  int
		reached int32
	}{
		{[]string{"GET /foo/x HTTP/1.1", "Host: x"}, 502, 2},
		{[]string{"OPTIONS /foo/x HTTP/1.1", "Host: x"}, 502, 2},
		{[]string{"PUT /foo/x HTTP/1.1", "Host: x", "Content-Length: 0"}, 502, 1},
		{[]string{"DELETE /foo/x HTTP/1.1", "Host: x"}, 502, 1},
		{[]string{"PUT /foo/x HTTP/1.1", "Host: x", "Content-Length: 0", "Idempotency-Key: k"}, 502, 2},
		{[]string{"POST /foo/x HTTP/1.1", "Host: x", "Content-Length: 0"}, 502, 1},
		{[]string{"PATCH /foo/x HTTP/1.1", "Host: x", "Content-Length: 0"}, 502, 1},
		{[]string{"POST /foo/x HTTP/1.1", "Host: x", "Content-Length: 0", "Idempotency-Key: k"}, 502, 2},
	} {
		var streams *recorder
		var reached atomic.Int32
		streams = behind(t, func(_ http.ResponseWriter, r *http.Request) {
			reached.Add(1)
			streams.hangUp()
			<-r.Context().Done()
		})
		client := dial(t, serve(t, testConfig(), streams))
		client.send(test.head, "")
		got := client.receive("POST")
		assert.Equal(t, test.status, got.StatusCode, "%s: %s", test.head[0], got.text)
		assert.Contains(t, got.text, "was killed")
		assert.Equal(t, test.reached, reached.Load(), test.head[0])
		assert.False(t, streams.isHeld())
	}

	var dials atomic.Int32
	streams := behind(t, nil)
	streams.calls = multiplex.NewClient(func(context.Context) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("refused")
	})
	client := dial(t, serve(t, testConfig(), streams))
	client.send([]string{"POST /foo/x HTTP/1.1", "Host: x", "Content-Length: 0"}, "")
	assert.Equal(t, http.StatusServiceUnavailable, client.receive("POST").StatusCode)
	assert.EqualValues(t, sendAttempts, dials.Load())
}

// A stream's timeout bounds the way to another protocol as well, and not what
// follows.
func TestGatewayTunnelTimeout(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/foo/never" {
			<-r.Context().Done()
			return
		}
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	})
	streams.http = options.HTTP{Timeout: 100 * time.Millisecond}
	addr := serve(t, testConfig(), streams)
	client := dial(t, addr)
	client.send([]string{"GET /foo/never HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: x"}, "")
	got := client.receive("GET")
	assert.Equal(t, http.StatusGatewayTimeout, got.StatusCode, got.text)
	client.pings()

	client = dial(t, addr)
	client.send([]string{"GET /foo/ws HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: x"}, "")
	resp, err := http.ReadResponse(client.reader, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	for began := time.Now(); time.Since(began) < 3*streams.http.Timeout; {
		_, err := io.WriteString(client, "x")
		require.NoError(t, err)
		_, err = client.reader.ReadByte()
		require.NoError(t, err)
	}
	require.NoError(t, client.Close())
	await(t, func() bool { return !streams.isHeld() }, "the end of the tunnel")
}

// A connection whose earlier answers cannot be sent is closed by the server
// underneath before it becomes a tunnel. The runner's end of that is closed too.
func TestGatewayTunnelThatNeverBegins(t *testing.T) {
	asked, proceed, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-proceed
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			ended <- err
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, err = io.Copy(io.Discard, buffered)
		ended <- err
	})
	client := dial(t, serve(t, testConfig(), streams))
	// The first answer waits in the server for the second.
	_, err := io.WriteString(client, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"+
		"GET /foo/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	require.NoError(t, err)
	<-asked
	// What it has sent hides from those who look for it that it has gone.
	_, err = io.WriteString(client, "x")
	require.NoError(t, err)
	require.NoError(t, client.SetLinger(0))
	require.NoError(t, client.Close())
	close(proceed)
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "the runner's connection is kept")
	}
	await(t, func() bool { return !streams.isHeld() }, "the end of the call")
}

// A list of a thousand names is not looked for every header in.
func TestGatewayLongConnection(t *testing.T) {
	long := strings.Repeat("a,", maxConnection)
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", long)
		w.Header().Set("X-A", "b")
	})
	addr := serve(t, testConfig(), streams)
	got := call(t, addr, "GET", "/foo/x", "")
	assert.Equal(t, http.StatusBadGateway, got.StatusCode)
	assert.Empty(t, got.Header.Get("X-A"))
	client := dial(t, addr)
	client.send([]string{"GET /foo/x HTTP/1.1", "Host: x", "Connection: " + long}, "")
	assert.Equal(t, http.StatusBadRequest, client.receive("GET").StatusCode)
	client.closed()
}

// The host that a whole URL names is the one that is told.
func TestGatewayHostOfAWholeURL(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+" "+r.Header.Get("X-Forwarded-Host"))
	})
	client := dial(t, serve(t, testConfig(), streams))
	client.send([]string{"GET http://named.example/foo/x HTTP/1.1", "Host: other.example"}, "")
	assert.Equal(t, "named.example named.example", client.receive("GET").text)
	client.pings()
}

package api

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watching reports whether a client is watched at this moment.
func watching() bool { return running("penstock/api.closed(") }

// running reports whether some goroutine is in a function at this moment.
func running(function string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function)
}

func await(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

// pair is both ends of a connection.
func pair(t *testing.T) (server, client *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = dialed.Close() })
	accepted, err := listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = accepted.Close() })
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn)
}

func readBody() *requestBody {
	body := &requestBody{}
	body.eof.Store(true)
	return body
}

func TestWatchSeesTheClientGo(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"closed": func(c *net.TCPConn) { _ = c.Close() },
		"reset":  func(c *net.TCPConn) { _, _ = c.SetLinger(0), c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := pair(t)
			gone := make(chan struct{})
			watch := watchClient(server, readBody(), false, func() { close(gone) })
			defer watch.forget()
			await(t, watching, "the watch")
			leave(client)
			select {
			case <-gone:
			case <-time.After(patience):
				t.Fatal("the client's end was not seen")
			}
			await(t, func() bool { return !watching() }, "the end of the watch")
		})
	}
}

func TestWatchLeavesTheConnectionAsItWas(t *testing.T) {
	server, client := pair(t)
	var gone atomic.Bool
	watch := watchClient(server, readBody(), false, func() { gone.Store(true) })
	await(t, watching, "the watch")
	watch.forget()
	assert.False(t, watching())

	// The read waits, as there is no deadline any more, and misses nothing.
	read := make(chan string)
	go func() {
		text := make([]byte, 4)
		_, err := io.ReadFull(server, text)
		assert.NoError(t, err)
		read <- string(text)
	}()
	_, err := io.WriteString(client, "next")
	require.NoError(t, err)
	assert.Equal(t, "next", <-read)
	assert.False(t, gone.Load())
}

func TestWatchLeavesTheNextRequest(t *testing.T) {
	server, client := pair(t)
	watch := watchClient(server, readBody(), false, func() { t.Error("a client that sends is not gone") })
	_, err := io.WriteString(client, "next")
	require.NoError(t, err)
	watch.begin()
	<-watch.ended
	watch.forget()
	text := make([]byte, 4)
	_, err = io.ReadFull(server, text)
	require.NoError(t, err)
	assert.Equal(t, "next", string(text))
}

func TestWatchWaitsForTheBody(t *testing.T) {
	server, _ := pair(t)
	body := &requestBody{}
	watch := watchClient(server, body, false, func() {})
	watch.begin()
	assert.Nil(t, watch.ended, "the body is read from the same connection")
	body.eof.Store(true)
	await(t, watching, "the watch")
	watch.forget()

	watch = watchClient(server, body, false, func() {})
	watch.forget()
	watch.begin()
	assert.Nil(t, watch.ended, "it was forgotten")
}

func TestSlowRequestKeepsItsConnection(t *testing.T) {
	release := make(chan struct{})
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/foo/stream" {
			w.(http.Flusher).Flush()
		}
		<-release
		_, _ = w.Write(body)
	})
	client := dial(t, serve(t, testConfig(), streams))
	for _, path := range []string{"/foo/post", "/foo/stream", "/foo/post"} {
		client.send([]string{"POST " + path + " HTTP/1.1", "Host: x", "Content-Length: 5"}, "hello")
		await(t, watching, "the watch")
		release <- struct{}{}
		assert.Equal(t, "hello", client.receive("POST").text)
		await(t, func() bool { return !watching() }, "the end of the watch")
		client.pings()
	}
}

func TestRequestEndsWithItsClient(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		if r.URL.Path == "/foo/stream" {
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	addr := serve(t, testConfig(), streams)
	for _, path := range []string{"/foo/get", "/foo/stream"} {
		client := dial(t, addr)
		client.send([]string{"GET " + path + " HTTP/1.1", "Host: x"}, "")
		<-begun
		await(t, watching, "the watch")
		require.NoError(t, client.Close())
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the stream still serves a client that has gone: " + path)
		}
		await(t, func() bool { return !watching() }, "the end of the watch")
	}
}

package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replace makes the recorder's streams be replaced until the function returned
// is called.
func (r *recorder) replace() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replacing = make(chan struct{})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(r.replacing)
		r.replacing = nil
	}
}

func (r *recorder) isHeld() bool { return r.lived().held > 0 }

func TestGatewayWaitsForTheNextRunner(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	client := dial(t, serve(t, testConfig(), streams))
	done := streams.replace()
	client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", "Content-Length: 5"}, "hello")
	await(t, func() bool { return streams.lived().waiting == 1 }, "the wait")
	done()
	assert.Equal(t, "hello", client.receive("POST").text)
	assert.Equal(t, "function POST", streams.lived().did)
	assert.False(t, streams.isHeld())
	client.pings()
}

func TestGatewayDoesNotWaitForAClientThatHasGone(t *testing.T) {
	reached := make(chan string, 8)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) { reached <- r.Method })
	addr := serve(t, testConfig(), streams)
	done := streams.replace()
	for _, head := range [][]string{
		{"GET /foo/get HTTP/1.1", "Host: x"},
		{"POST /foo/post HTTP/1.1", "Host: x", "Content-Length: 5"},
	} {
		client := dial(t, addr)
		body := ""
		if len(head) > 2 {
			body = "hello"
		}
		client.send(head, body)
		await(t, func() bool { return streams.lived().waiting == 1 }, "the wait")
		require.NoError(t, client.Close())
		await(t, func() bool { return streams.lived().waiting == 0 }, "the end of the wait")
	}
	done()
	await(t, func() bool { return !watching() }, "the end of the watch")
	assert.Empty(t, reached)
	assert.False(t, streams.isHeld())
}

// The function is held for as long as the answer's body is sent.
func TestGatewayHoldsTheFunction(t *testing.T) {
	more := make(chan struct{})
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/foo/broken":
			panic(http.ErrAbortHandler)
		case "/foo/stream":
			_, _ = io.WriteString(w, "first\n")
			w.(http.Flusher).Flush()
			<-more
		}
		_, _ = io.WriteString(w, "last\n")
	})
	addr := serve(t, testConfig(), streams)
	client := follow(t, addr, "/foo/stream")
	assert.Equal(t, "first", client.line())
	assert.True(t, streams.isHeld())
	close(more)
	assert.Equal(t, "last", client.line())
	client.ends()
	await(t, func() bool { return !streams.isHeld() }, "the function's return")

	for target, status := range map[string]int{
		"GET /foo/get": 200, "HEAD /foo/get": 200, "POST /foo/post": 200, "POST /foo/broken": 502,
	} {
		var method, path string
		_, err := fmt.Sscan(target, &method, &path)
		require.NoError(t, err)
		assert.Equal(t, status, call(t, addr, method, path, "x").StatusCode, target)
		await(t, func() bool { return !streams.isHeld() }, "the function's return")
	}
}

func TestShutdownWaitsForWhatIsBeingAnswered(t *testing.T) {
	begun, more := make(chan struct{}, 1), make(chan struct{})
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-more
		_, _ = io.WriteString(w, "done")
	})
	addr, server := serveUntil(t, testConfig(), streams)
	client := dial(t, addr)
	client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", "Content-Length: 5"}, "hello")
	<-begun
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- server.Shutdown(ctx)
	}()
	<-server.life.Done()
	select {
	case err := <-ended:
		t.Fatal("a request was being answered", err)
	default:
	}
	close(more)
	assert.Equal(t, "done", client.receive("POST").text)
	require.NoError(t, <-ended)
}

func TestShutdownEndsWhatWaits(t *testing.T) {
	begun := make(chan struct{}, 1)
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/foo/ws" {
			conn, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			begun <- struct{}{}
			_, _ = io.Copy(io.Discard, buffered)
			return
		}
		if r.URL.Path == "/foo/stream" {
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
	})
	addr, server := serveUntil(t, testConfig(), streams)
	poll, stream, socket := dial(t, addr), dial(t, addr), dial(t, addr)
	poll.send([]string{"GET /foo/get HTTP/1.1", "Host: x"}, "")
	<-begun
	stream.send([]string{"GET /foo/stream HTTP/1.1", "Host: x"}, "")
	<-begun
	socket.send([]string{"GET /foo/ws HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: echo"}, "")
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.Shutdown(ctx))

	got := poll.receive("GET")
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	assert.Equal(t, "Error: the supervisor is shutting down\n", got.text)
	_, err := io.ReadAll(stream.reader)
	require.NoError(t, err)
	_, err = io.ReadAll(socket.reader)
	require.NoError(t, err)
	await(t, func() bool { return !streams.isHeld() }, "the functions' return")
}

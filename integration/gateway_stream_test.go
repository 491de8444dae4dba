package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const queueYAML = `
input: {http_server: {}}
buffer: {memory: {}}
output: {http_server: {timeout: 5s}}
`

// A client that leaves is noticed though there is nothing to send to it, so
// that the next message goes to the next client.
func TestGatewayNoticesClientsThatLeave(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	ways := map[string]func(*follower) func() error{
		"closes": func(f *follower) func() error { return f.Close },
		"resets": func(f *follower) func() error {
			return func() error { return errors.Join(f.SetLinger(0), f.Close()) }
		},
		"ends its side": func(f *follower) func() error { return f.CloseWrite },
	}
	for way, leave := range ways {
		for _, received := range []int{0, 1, 3} {
			what := fmt.Sprintf("a client that %s after %d messages", way, received)
			p.expect(t, http.StatusOK, http.MethodPost, "/streams/q", queueYAML)
			f := follow(t, p.client, "/q/get/stream")
			awaitCalls(t, p.client, "q", 1)
			for i := range received {
				p.expect(t, http.StatusOK, http.MethodPost, "/q/post", fmt.Sprint("before ", i))
				require.Equal(t, fmt.Sprint("before ", i), f.line(t))
			}
			hangUp(t, p.client, "q", leave(f))
			for i := range 2 {
				message := fmt.Sprint("after ", i)
				p.expect(t, http.StatusOK, http.MethodPost, "/q/post", message)
				require.Equal(t, message, p.expect(t, http.StatusOK, http.MethodGet, "/q/get", "").Text(), what)
			}
			p.expect(t, http.StatusOK, http.MethodDelete, "/streams/q?timeout=1s", "")
		}
	}
	assert.NotContains(t, readText(t, p.LogFile), "ERROR", "that a client leaves is no error of the server")
}

// What a stream sends arrives as it is produced, also if it goes on for long
// and its client has nothing to say.
func TestGatewayStreamsAsProduced(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/q", queueYAML)
	f := follow(t, p.client, "/q/get/stream")
	for i := range 50 {
		text := fmt.Sprintf("%d %s", i, strings.Repeat("x", i*i))
		p.expect(t, http.StatusOK, http.MethodPost, "/q/post", text)
		require.Equal(t, text, f.line(t))
	}
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/q", "")
}

// The websocket input answers each message on the socket that it came by.
func TestGatewayWebsocketEcho(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/w", `
input: {http_server: {ws_welcome_message: welcome}}
pipeline: {processors: [{mapping: root = content().uppercase()}]}
output: {sync_response: {}}
`)
	var messages, want []string
	for i := range 100 {
		message := fmt.Sprintf("message %d %s", i, strings.Repeat("y", i*100))
		messages, want = append(messages, message), append(want, strings.ToUpper(message))
	}
	got, err := conversation("/w/post/ws", messages...)(t.Context(), p.client)
	require.NoError(t, err)
	assert.Equal(t, "welcome, "+strings.Join(want, ", "), got)

	// Once its client has left, or said so, the socket is given back.
	before, err := openFiles(p.PID)
	require.NoError(t, err)
	for i := range 20 {
		conn, err := dial(t.Context(), p.client, "/w/post/ws")
		require.NoError(t, err)
		if i%2 == 0 {
			require.NoError(t, conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")))
			_, _, err = conn.ReadMessage()
			require.NoError(t, err, "the welcome comes first")
			_, _, err = conn.ReadMessage()
			assert.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
		}
		conn.Close()
	}
	await(t, 10*time.Second, "the sockets of clients that left to be closed", func() error {
		now, err := openFiles(p.PID)
		if err == nil && now > before+2 {
			err = fmt.Errorf("%d files are open, %d were", now, before)
		}
		return err
	})
}

func TestGatewayWebsocketOut(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/q", queueYAML)
	out, err := dial(t.Context(), p.client, "/q/get/ws")
	require.NoError(t, err)
	defer out.Close()
	in, err := dial(t.Context(), p.client, "/q/post/ws")
	require.NoError(t, err)
	defer in.Close()
	for i := range 100 {
		message := fmt.Sprintf("message %d", i)
		require.NoError(t, in.WriteMessage(websocket.BinaryMessage, []byte(message)))
		_, got, err := out.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, message, string(got))
	}
}

// Whatever a client has open to a stream ends with the stream, be that deleted
// or its process killed.
func TestGatewayEndsWithTheStream(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	for _, end := range []struct {
		name string
		do   func(id string)
	}{
		{"deleted", func(id string) { p.expect(t, http.StatusOK, http.MethodDelete, "/streams/"+id+"?timeout=2s", "") }},
		{"replaced", func(id string) { p.expect(t, http.StatusOK, http.MethodPut, "/streams/"+id+"?timeout=2s", echoYAML) }},
		{"killed", func(id string) { require.NoError(t, syscall.Kill(runnerOf(t, p.client, id), syscall.SIGKILL)) }},
	} {
		id := "s-" + end.name
		p.expect(t, http.StatusOK, http.MethodPost, "/streams/"+id, queueYAML)
		streaming := follow(t, p.client, "/"+id+"/get/stream")
		p.expect(t, http.StatusOK, http.MethodPost, "/"+id+"/post", "first")
		require.Equal(t, "first", streaming.line(t))
		in, err := dial(t.Context(), p.client, "/"+id+"/post/ws")
		require.NoError(t, err)
		out, err := dial(t.Context(), p.client, "/"+id+"/get/ws")
		require.NoError(t, err)

		began := time.Now()
		end.do(id)
		assert.Less(t, time.Since(began), 10*time.Second, end.name)
		for name, conn := range map[string]*websocket.Conn{"in": in, "out": out} {
			_, _, err := conn.ReadMessage()
			assert.Error(t, err, name)
			assert.False(t, isTimeout(err), "%s: the websocket %s is still open", end.name, name)
			conn.Close()
		}
		require.NoError(t, streaming.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err = io.ReadAll(streaming.body)
		assert.False(t, isTimeout(err), "%s: the stream is still open", end.name)
		if end.name == "killed" {
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "what broke off must not look complete")
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// At the server's end, clients that follow streams do not keep it waiting.
func TestGatewayShutdownWithClients(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.shutdown=5s")
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/q", queueYAML)
	f := follow(t, p.client, "/q/get/stream")
	p.expect(t, http.StatusOK, http.MethodPost, "/q/post", "first")
	require.Equal(t, "first", f.line(t))
	socket, err := dial(t.Context(), p.client, "/q/post/ws")
	require.NoError(t, err)
	defer socket.Close()
	idle := dialWire(t, p.client)
	idle.send(t, "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
	idle.mustAnswer(t, http.MethodGet)
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	pending := make(chan struct{})
	go func() {
		defer close(pending)
		// Answered or not, it has to end.
		_, _ = p.ask(ctx, request{Method: http.MethodGet, Path: "/q/get"})
	}()
	began := time.Now()
	p.stop(t)
	assert.Less(t, time.Since(began), 10*time.Second)
	<-pending
}

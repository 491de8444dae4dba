package api

import (
	"context"
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const crowded = "Error: the server has 2 connections open and takes no more: close some, or try again later\n"

// admitted reports whether the server takes one more connection.
func admitted(t *testing.T, addr string) bool {
	t.Helper()
	client := dial(t, addr)
	defer client.Close()
	client.send([]string{"GET /ping HTTP/1.1", "Host: x"}, "")
	answer, err := http.ReadResponse(client.reader, &http.Request{Method: http.MethodGet})
	require.NoError(t, err)
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func TestConnectionsAreBounded(t *testing.T) {
	b := never()
	b.connections = 2
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(io.Discard, buffered)
	})
	addr, functions, _ := serveBoth(t, testConfig(), streams, b)
	for name, addrs := range map[string][2]string{"main": {addr, functions}, "functions": {functions, addr}} {
		t.Run(name, func(t *testing.T) {
			idle, socket := dial(t, addrs[0]), dial(t, addrs[0])
			idle.pings()
			// One that is a websocket counts for as long as it is open.
			socket.send([]string{"GET /foo/ws HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: echo"}, "")
			line, err := socket.reader.ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, "101")

			client := dial(t, addrs[0])
			client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", "Content-Length: 5"}, "hello")
			got := client.receive("POST")
			assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
			assert.Equal(t, crowded, got.text)
			assert.Equal(t, "1", got.Header.Get("Retry-After"))
			assert.True(t, got.Close)
			client.closed()
			idle.pings()
			assert.True(t, admitted(t, addrs[1]), "the other listener has its own bound")

			require.NoError(t, socket.Close())
			await(t, func() bool { return admitted(t, addrs[0]) }, "room after the websocket's end")
			require.NoError(t, idle.Close())
			await(t, func() bool { return admitted(t, addrs[0]) }, "room after the client's end")
		})
	}
}

// The server outlasts a time without a free file.
func TestListenerOutlastsAFullTable(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	server, err := newServer(testConfig(), newRecorder(), zap.New(core), "", "", never())
	require.NoError(t, err)
	addr, err := server.Listen()
	require.NoError(t, err)
	// They wait to be accepted.
	clients := make([]*wire, 10)
	for i := range clients {
		clients[i] = dial(t, addr.String())
	}

	lowest, err := os.Open(os.DevNull)
	require.NoError(t, err)
	free := uint64(lowest.Fd())
	require.NoError(t, lowest.Close())
	var usual syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &usual))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: free + 2, Max: usual.Max}))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &usual)) })

	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	await(t, func() bool { return logged.Len() > 0 }, "a word of it in the log")
	entry := logged.All()[0]
	assert.Equal(t, "no connection can be taken for the moment", entry.Message)
	assert.Contains(t, entry.ContextMap()["error"], "too many open files")
	last := clients[len(clients)-1]
	for _, client := range clients[:len(clients)-1] {
		require.NoError(t, client.Close())
	}
	last.pings()
	assert.Equal(t, 1, logged.Len(), "the log is not filled")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.Shutdown(ctx))
	require.NoError(t, <-served)
}

func TestUsualBounds(t *testing.T) {
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	b := usualBounds()
	assert.Positive(t, b.connections)
	assert.LessOrEqual(t, b.connections, mostConnections)
	assert.LessOrEqual(t, uint64(b.connections)*shareOfFiles, max(files.Cur, shareOfFiles))
	for _, told := range []string{b.head.String(), b.body.String()} {
		assert.Contains(t, overdueText, told)
	}
	assert.NotContains(t, overdueText, "\n")
}

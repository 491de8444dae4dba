package runner

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"penstock/rpc"
	"penstock/rpc/handover"
)

// slowEcho answers a POST to /post after as many milliseconds as it is told.
const slowEcho = `
input: {http_server: {path: /post}}
pipeline: {threads: 4, processors: [{sleep: {duration: '${! content() }ms'}}]}
output: {sync_response: {}}
`

// ownSocket is a listening socket as a supervisor has it, and its address.
func ownSocket(t *testing.T) (fd int, address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	raw, err := l.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd, l.Addr().String()
}

func give(t *testing.T, socket string, fd int) error {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer conn.Close()
	return handover.Give(t.Context(), conn, fd)
}

// post calls an own listener on a connection of its own.
func post(address, body string) (*http.Response, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := c.Post("http://"+address+"/post", "text/plain", strings.NewReader(body))
	if err == nil {
		err = resp.Body.Close()
	}
	return resp, err
}

// TestOwnListenerServesOnceItRuns: who connects before that waits, there is one
// socket at most, and a stop answers what was accepted and refuses nobody.
func TestOwnListenerServesOnceItRuns(t *testing.T) {
	ctx := context.Background()
	p := start(t)
	prepared := p.prepare(t, slowEcho)
	fd, address := ownSocket(t)
	require.NoError(t, give(t, prepared.HTTPSocket, fd))
	require.ErrorIs(t, give(t, prepared.HTTPSocket, fd), handover.ErrRefused)

	answered := make(chan error, 1)
	early := func() {
		_, err := post(address, "1")
		answered <- err
	}
	go early()
	ready, err := p.Ready(ctx)
	require.NoError(t, err)
	assert.Nil(t, ready.Own)
	select {
	case err := <-answered:
		require.Fail(t, "it was answered before Run", "%v", err)
	default:
	}
	require.NoError(t, p.Run(ctx))
	require.NoError(t, <-answered)

	own := func() *rpc.OwnListener {
		ready, err := p.Ready(ctx)
		require.NoError(t, err)
		require.NotNil(t, ready.Own)
		return ready.Own
	}
	assert.Eventually(t, func() bool { return own().Quiet > 0 && own().InFlight == 0 }, 10*time.Second, time.Millisecond)
	slow := make(chan int, 1)
	go func() {
		resp, err := post(address, "400")
		if assert.NoError(t, err) {
			slow <- resp.StatusCode
		}
		close(slow)
	}()
	assert.Eventually(t, func() bool { return own().InFlight == 1 && own().Quiet == 0 }, 10*time.Second, time.Millisecond)
	drained, err := p.Stop(ctx, 10*time.Second)
	require.NoError(t, err)
	assert.True(t, drained)
	assert.Equal(t, http.StatusOK, <-slow)
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err, "the socket is the supervisor's still")
	assert.NoError(t, conn.Close())
}

// TestOwnListenerPartsWithKeptConnections: a client that calls on and on over one
// connection is told with its last answer that it is the last.
func TestOwnListenerPartsWithKeptConnections(t *testing.T) {
	ctx := t.Context()
	p := start(t)
	prepared := p.prepare(t, slowEcho)
	fd, address := ownSocket(t)
	require.NoError(t, give(t, prepared.HTTPSocket, fd))
	require.NoError(t, p.Run(ctx))
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	answers := bufio.NewReader(conn)
	ask := func() (last bool) {
		_, err := io.WriteString(conn, "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1")
		require.NoError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err, "a request that was sent on a connection which was to be kept")
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		return resp.Close
	}
	require.False(t, ask())
	stopped := make(chan error, 1)
	go func() {
		_, err := p.Stop(ctx, 10*time.Second)
		stopped <- err
	}()
	for !ask() {
		// It is idle for most of the time, as it is with a client that has other
		// things to do as well.
		time.Sleep(20 * time.Millisecond)
	}
	_, err = answers.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-stopped)
}

// TestSocketIsTheSupervisors: nobody else is lent it.
func TestSocketIsTheSupervisors(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user")
	}
	p := start(t)
	prepared := p.prepare(t, slowEcho)
	require.NoError(t, p.Run(t.Context()))
	fd, address := ownSocket(t)
	require.NoError(t, give(t, prepared.HTTPSocket, fd))
	for _, path := range []string{filepath.Dir(p.dir), p.dir, prepared.HTTPSocket} {
		require.NoError(t, unix.Chmod(path, 0o777))
	}
	stranger, err := dialAsNobody(prepared.HTTPSocket)
	require.NoError(t, err)
	defer stranger.Close()
	_, err = handover.Take(t.Context(), stranger)
	require.Error(t, err)
	require.NotErrorIs(t, err, handover.ErrRefused)

	caller, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer caller.Close()
	_, err = handover.Take(t.Context(), caller)
	require.Error(t, err, "over TCP")

	conn, err := net.Dial("unix", prepared.HTTPSocket)
	require.NoError(t, err)
	defer conn.Close()
	back, err := handover.Take(t.Context(), conn)
	require.NoError(t, err)
	require.NoError(t, unix.Close(back))
}

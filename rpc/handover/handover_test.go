package handover_test

import (
	"context"
	"errors"
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

	"penstock/rpc/handover"
)

// holder is one that takes a single socket.
type holder struct{ fd int }

func (h *holder) Hold(fd int) error {
	if h.fd >= 0 {
		_ = unix.Close(fd)
		return errors.New("there is one")
	}
	h.fd = fd
	return nil
}

func (h *holder) Join(fd int, _ string) error { return h.Hold(fd) }

func (h *holder) Lend(use func(fd int) error) error {
	if h.fd < 0 {
		return errors.New("there is none")
	}
	return use(h.fd)
}

// serve is an HTTP server on a unix socket that serves a holder.
func serve(t *testing.T, h http.Handler) (dial func() net.Conn) {
	t.Helper()
	// Not t.TempDir: its path may be too long for a socket.
	dir, err := os.MkdirTemp("", "handover-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return func() net.Conn {
		conn, err := net.Dial("unix", listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

var notFound = http.NotFoundHandler()

// descriptor is a file's own, for as long as the test.
func descriptor(t *testing.T, of interface{ File() (*os.File, error) }) int {
	t.Helper()
	file, err := of.File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	raw, err := file.SyscallConn()
	require.NoError(t, err)
	var number int
	require.NoError(t, raw.Control(func(fd uintptr) { number = int(fd) }))
	return number
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestGivenAndTaken(t *testing.T) {
	h := &holder{fd: -1}
	dial := serve(t, handover.Handler(h, notFound))
	_, err := handover.Take(t.Context(), dial())
	require.ErrorIs(t, err, handover.ErrRefused)
	assert.ErrorContains(t, err, "there is none")

	listener := listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
	require.NoError(t, handover.Give(t.Context(), dial(), descriptor(t, listener)))
	err = handover.Give(t.Context(), dial(), descriptor(t, listener))
	require.ErrorIs(t, err, handover.ErrRefused)
	assert.ErrorContains(t, err, "there is one")

	back, err := handover.Take(t.Context(), dial())
	require.NoError(t, err)
	defer func() { _ = unix.Close(back) }()
	at, err := handover.Address(back)
	require.NoError(t, err)
	assert.Equal(t, listener.Addr().String(), at.String())
	flags, err := unix.FcntlInt(uintptr(back), unix.F_GETFD, 0)
	require.NoError(t, err)
	assert.NotZero(t, flags&unix.FD_CLOEXEC, "other programs do not inherit it")
	require.NoError(t, unix.Close(h.fd))
}

// TestOnlyListeningSockets: what is no TCP socket that listens is not taken,
// from neither side.
func TestJoined(t *testing.T) {
	h := &holder{fd: -1}
	dial := serve(t, handover.Handler(h, notFound))
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, handover.Join(t.Context(), dial(), ends[0], "name"))
	require.NoError(t, unix.Close(ends[0]))
	_, err = unix.Write(h.fd, []byte("across"))
	require.NoError(t, err)
	text := make([]byte, 16)
	n, err := unix.Read(ends[1], text)
	require.NoError(t, err)
	assert.Equal(t, "across", string(text[:n]))
	require.NoError(t, errors.Join(unix.Close(h.fd), unix.Close(ends[1])))

	listener := listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
	connected, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer connected.Close()
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	for name, fd := range map[string]int{
		"listener": descriptor(t, listener), "tcp": descriptor(t, connected.(*net.TCPConn)), "file": int(file.Fd()),
		"unix listener": descriptor(t, listen(t, "unix", filepath.Join(t.TempDir(), "s")).(*net.UnixListener)),
	} {
		h := &holder{fd: -1}
		dial := serve(t, handover.Handler(h, notFound))
		assert.ErrorIs(t, handover.Join(t.Context(), dial(), fd, "name"), handover.ErrRefused, name)
		assert.Negative(t, h.fd, name)
	}
	assert.ErrorIs(t, handover.Join(t.Context(), serve(t, notFound)(), descriptor(t, listener), "name"), handover.ErrUnsupported)
}

func TestOnlyListeningSockets(t *testing.T) {
	listener := listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
	connected, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer connected.Close()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer packets.Close()
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	ended := listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
	endedFD := descriptor(t, ended)
	require.NoError(t, unix.Shutdown(endedFD, unix.SHUT_RD))
	for name, fd := range map[string]int{
		"file": int(file.Fd()), "connection": descriptor(t, connected.(*net.TCPConn)), "packets": descriptor(t, packets.(*net.UDPConn)),
		"unix": descriptor(t, listen(t, "unix", filepath.Join(t.TempDir(), "s")).(*net.UnixListener)), "ended": endedFD,
	} {
		t.Run(name, func(t *testing.T) {
			h := &holder{fd: -1}
			dial := serve(t, handover.Handler(h, notFound))
			assert.ErrorIs(t, handover.Give(t.Context(), dial(), fd), handover.ErrRefused)
			assert.Negative(t, h.fd)
			h.fd = fd
			_, err := handover.Take(t.Context(), dial())
			assert.Error(t, err)
		})
	}
}

// TestSeveralDescriptors: a runner that gives more than it is asked for gives
// nothing, and leaves nothing open.
func TestSeveralDescriptors(t *testing.T) {
	fd := descriptor(t, listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener))
	for _, count := range []int{2, 64} {
		dial := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if !assert.NoError(t, err) {
				return
			}
			defer conn.Close()
			_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: penstock-handover/1\r\n\r\n")
			assert.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			assert.NoError(t, err)
			fds := make([]int, count)
			for i := range fds {
				fds[i] = fd
			}
			_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte{'.'}, unix.UnixRights(fds...), nil)
			assert.NoError(t, err)
		}))
		before := openFiles(t)
		conn := dial()
		_, err := handover.Take(t.Context(), conn)
		assert.ErrorContains(t, err, "descriptors", "%d", count)
		require.NoError(t, conn.Close())
		assert.Eventually(t, func() bool { return openFiles(t) <= before }, 10*time.Second, 10*time.Millisecond, "%d", count)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(entries)
}

// TestWhoDoesNotAnswer: a runner that is too old says so, and one that hangs is
// not waited for.
func TestWhoDoesNotAnswer(t *testing.T) {
	fd := descriptor(t, listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener))
	old := serve(t, notFound)
	assert.ErrorIs(t, handover.Give(t.Context(), old(), fd), handover.ErrUnsupported)
	_, err := handover.Take(t.Context(), old())
	assert.ErrorIs(t, err, handover.ErrUnsupported)

	hung := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, handover.Give(ctx, hung(), fd), context.DeadlineExceeded)
	_, err = handover.Take(ctx, hung())
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

// A runner whose answer does not end is not listened to for as long as there is
// time.
func TestWhoDoesNotEndItsAnswer(t *testing.T) {
	fd := descriptor(t, listen(t, "tcp4", "127.0.0.1:0").(*net.TCPListener))
	for name, text := range map[string]string{
		"a line":  "HTTP/1.1 101 " + strings.Repeat("x", 8<<20),
		"headers": "HTTP/1.1 101 Switching Protocols\r\n" + strings.Repeat("X: y\r\n", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			written := make(chan error, 1)
			conn := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					_, err = io.WriteString(conn, text)
					_ = conn.Close()
				}
				written <- err
			}))()
			assert.ErrorIs(t, handover.Give(t.Context(), conn, fd), io.ErrUnexpectedEOF)
			_ = conn.Close()
			assert.Error(t, <-written, "all of it was read")
		})
	}
}

package multiplex

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// usualPiece is how much a handler or a client of the tests hands over at once.
const usualPiece = 64 << 10

// patience bounds every wait; a test that needs it has failed.
const patience = time.Minute

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// runner serves a handler as a runner does, on a unix socket, and returns a
// client of it.
func runner(t testing.TB, handler http.Handler) *Client {
	t.Helper()
	server := &http.Server{Handler: Handler(handler, handler)}
	return clientOf(t, func(l net.Listener) { _ = server.Serve(l) })
}

// clientOf is a client of what serves the listener, until that is closed.
func clientOf(t testing.TB, serve func(net.Listener)) *Client {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(l)
	}()
	c := NewClient(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", l.Addr().String())
	})
	t.Cleanup(func() {
		c.Close()
		l.Close()
		<-served
	})
	return c
}

// call is a request of a test.
type call struct {
	method, uri string
	header      [][2]string
	// body is all that is sent with its length, unless stream is set, which is
	// sent with the length given.
	body   []byte
	stream io.Reader
	length int64
	// first is how much of the body goes with the head; negative for all.
	first int
}

// reply is what came of it.
type reply struct {
	Head
	header http.Header
	body   []byte
	// outcome is that of Await, and err that of reading the answer.
	outcome Outcome
	err     error
}

// outgoing is the request as the gateway makes it, and what is left of its body.
func (c call) outgoing() (*Outgoing, io.Reader) {
	body, length := c.stream, c.length
	if body == nil {
		body, length = bytes.NewReader(c.body), int64(len(c.body))
	}
	o := NewOutgoing(nil, &RequestHead{
		Method: []byte(c.method), URI: []byte(c.uri), Host: []byte("host.example"), RemoteAddr: "192.0.2.1:5", ContentLength: length,
	})
	for _, h := range c.header {
		o.HeaderString(h[0], h[1])
	}
	if c.stream == nil && (c.first < 0 || c.first >= len(c.body)) {
		copy(o.Room(len(c.body)), c.body)
		o.Filled(len(c.body))
		return &o, nil
	}
	room := o.Room(c.first)
	n, err := io.ReadFull(body, room)
	if err != nil {
		panic(err)
	}
	o.Filled(n)
	return &o, body
}

// begin sends a call, and what is left of its body beside its answer.
func begin(t testing.TB, c *Client, of call) (call *Call, end func()) {
	o, rest := of.outgoing()
	call, err := c.Start(t.Context(), o, rest == nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	uploaded := make(chan struct{})
	go func() {
		defer close(uploaded)
		if rest != nil {
			_ = call.WriteBody(ctx, rest)
		}
	}()
	return call, func() {
		cancel()
		<-uploaded
		call.End()
	}
}

// ask sends a call and reads its answer to the end.
func ask(t testing.TB, c *Client, of call) reply {
	t.Helper()
	call, end := begin(t, c, of)
	defer end()
	return read(call)
}

// read waits for the answer and reads it.
func read(call *Call) reply {
	var r reply
	late := time.NewTimer(patience)
	defer late.Stop()
	r.outcome = call.Await(nil, late.C)
	switch r.outcome {
	case Answered:
	case Lost:
		r.err = call.Why()
		return r
	default:
		r.err = errors.New("it was not answered in time")
		return r
	}
	var whole bool
	var piece []byte
	r.Head, piece, whole, r.err = call.Head()
	if r.err != nil {
		return r
	}
	r.header = http.Header{}
	for name, value := range r.Head.Headers {
		r.header.Add(string(name), string(value))
	}
	if whole {
		r.body = bytes.Clone(piece)
		return r
	}
	r.body, r.err = io.ReadAll(call)
	return r
}

// await waits for a condition.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, time.Millisecond, what)
}

// within fails a test that would wait for ever.
func within[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		require.FailNow(t, "it took too long", what)
	}
	return v
}

// same fails without printing megabytes.
func same(t testing.TB, want, got []byte, what string) {
	t.Helper()
	assert.True(t, bytes.Equal(want, got), "%s: %d bytes, want %d", what, len(got), len(want))
}

// frameOf is a frame, byte by byte.
func frameOf(k, flags byte, id uint32, payload []byte) []byte {
	out := []byte{k, flags, 0, 0}
	out = binary.LittleEndian.AppendUint32(out, id)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(payload)))
	return append(out, payload...)
}

// answerOf is the payload of an answer's head.
func answerOf(status uint64, length int64, piece string, headers ...string) []byte {
	head := binary.AppendUvarint(nil, status)
	head = binary.AppendVarint(head, length)
	for _, text := range headers {
		head = appendField(head, text)
	}
	return headed(head, piece)
}

// headed puts the length of a head before it and a piece behind.
func headed(head []byte, piece string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
	return append(append(out, head...), piece...)
}

// accept takes a connection and upgrades it as a runner does.
func accept(l net.Listener) (net.Conn, *bufio.Reader, error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(conn)
	if _, err := http.ReadRequest(r); err != nil {
		conn.Close()
		return nil, nil, err
	}
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
	return conn, r, err
}

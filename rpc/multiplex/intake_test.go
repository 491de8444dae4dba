package multiplex

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	upgrading "penstock/rpc/upgrade"
)

// What is read slowly has more than a piece under way while the process has some
// to spare, and only if it is known how much will come. All of it arrives, and what
// was spared is given back.
func TestPiecesAhead(t *testing.T) {
	body := noise(8 * MaxPiece)
	client := runner(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.(http.Flusher).Flush()
		_, _ = w.Write(body)
	}))
	begun := func(path string) (*Call, []byte) {
		call, end := begin(t, client, call{method: "GET", uri: path})
		t.Cleanup(end)
		require.Equal(t, Answered, call.Await(nil, nil))
		_, _, _, err := call.Head()
		require.NoError(t, err)
		first := make([]byte, 1)
		_, err = io.ReadFull(call, first)
		require.NoError(t, err)
		return call, first
	}
	unknown, first := begun("/unknown")
	assert.Zero(t, spare.Load(), "it may come for hours")
	slow, firsts := []*Call{unknown}, [][]byte{first}
	for range mostSpare {
		known, first := begun("/known")
		slow, firsts = append(slow, known), append(firsts, first)
	}
	assert.EqualValues(t, mostSpare, spare.Load())
	for i, call := range slow {
		rest, err := io.ReadAll(call)
		require.NoError(t, err)
		same(t, body, append(firsts[i], rest...), "in the end")
		call.intake.end()
	}
	assert.Zero(t, spare.Load())
}

// Whatever a runner announces, a piece is asked for: nobody else would.
func TestPiecesOfAnyLength(t *testing.T) {
	out := newWriter(nil)
	for left, want := range map[int64]int32{
		math.MinInt64: 1, -1: 1, 0: 1, 1: 1, MaxPiece: 1, MaxPiece + 1: 2, 2 * MaxPiece: 2, 2*MaxPiece + 1: 3,
		math.MaxInt64 - MaxPiece + 1: mostAhead, math.MaxInt64 - MaxPiece + 2: mostAhead, math.MaxInt64: mostAhead,
	} {
		var in intake
		require.NoError(t, in.ask(out, 1, mostAhead, left))
		assert.Equal(t, want, in.due.Load(), "%d bytes", left)
		in.end()
	}
	assert.Zero(t, spare.Load())
}

// What a handler writes at once is not kept a second time while it waits.
func TestLongWriteIsNotKeptTwice(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := make([]byte, 16*flushAt)
	a := &answer{header: http.Header{}, length: -1, call: &served{
		ctx: ctx, conn: &serverConn{out: newWriter(nil)}, request: &http.Request{Method: http.MethodGet},
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := a.Write(body)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, context.Canceled)
	a.end(true)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*flushAt), "bytes taken for %d", len(body))
}

// Runners and supervisors that know of one piece at a time go on.
func TestOnePieceAtATime(t *testing.T) {
	body := noise(5 * MaxPiece)
	check := func(t *testing.T, client *Client) {
		for _, length := range []int64{int64(len(body)), -1} {
			got := ask(t, client, call{method: "POST", uri: "/", stream: bytes.NewReader(body), length: length})
			require.NoError(t, got.err)
			same(t, body, got.body, "there and back")
		}
		assert.Zero(t, spare.Load())
	}
	t.Run("runner", func(t *testing.T) {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, buffered, ok := upgrading.Accept(w, r, protocol, nil)
			if assert.True(t, ok) {
				defer conn.Close()
				serve(conn, buffered, 1, http.HandlerFunc(mirror))
			}
		})}
		check(t, clientOf(t, func(l net.Listener) { _ = server.Serve(l) }))
	})
	t.Run("supervisor", func(t *testing.T) {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		require.NoError(t, err)
		served := make(chan error, 1)
		server := &http.Server{Handler: Handler(http.HandlerFunc(mirror), http.NotFoundHandler())}
		go func() { served <- server.Serve(l) }()
		conn, err := net.Dial("unix", l.Addr().String())
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		_, err = upgrading.Ask(conn, r, upgradeMethod, protocol, nil)
		require.NoError(t, err)
		client := NewClient(func(context.Context) (net.Conn, error) { return nil, errors.New("there is a connection") })
		client.conn = newClientConn(conn, r, 1, idleTime)
		check(t, client)
		client.Close()
		l.Close()
		assert.Error(t, within(t, served, "the end"))
	})
}

// What goes beyond what was asked for ends the connection, also to one that may be
// asked for several pieces.
func TestHostileRunnerSendsMore(t *testing.T) {
	piece, credit := frameOf(2, 0, 1, []byte("x")), frameOf(3, 0, 1, nil)
	for name, text := range map[string][]byte{
		"a credit too many": bytes.Repeat(credit, mostAhead+1),
		"a piece too many":  append(frameOf(1, 0, 1, answerOf(200, -1, "x")), piece...),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go func() {
				var space [headerSize]byte
				if f, err := readFrame(theirs, &space); err == nil {
					f.release()
					_, _ = theirs.Write(text)
				}
			}()
			conn := newClientConn(ours, bufio.NewReader(ours), mostAhead, idleTime)
			o, _ := call{method: "POST", uri: "/", stream: new(pausing), length: -1}.outgoing()
			call, err := conn.start(o, false)
			require.NoError(t, err)
			within(t, conn.broken, "the end")
			assert.ErrorIs(t, conn.err, errProtocol)
			call.End()
		})
	}
}

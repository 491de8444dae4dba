package multiplex

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostile is a runner that answers the first frame of every connection with
// these bytes. closed gets what the supervisor sends before it closes the
// connection.
func hostile(t testing.TB, text []byte) (client *Client, closed <-chan []byte) {
	t.Helper()
	rest := make(chan []byte, 8)
	return clientOf(t, func(l net.Listener) {
		for {
			conn, r, err := accept(l)
			if err != nil {
				return
			}
			var space [headerSize]byte
			if f, err := readFrame(r, &space); err == nil {
				f.release()
				_, _ = conn.Write(text)
				if bytes.Equal(text, brokenOff) {
					_ = conn.(*net.UnixConn).CloseWrite()
				}
				got, _ := io.ReadAll(r)
				rest <- got
			}
			conn.Close()
		}
	}), rest
}

// brokenOff is a frame that ends with its connection.
var brokenOff = frameOf(1, 0, 1, answerOf(200, -1, "hello"))[:20]

// TestHostileRunner sends what no runner of ours does. The connection is closed,
// and the call has an error and not what the runner wanted.
func TestHostileRunner(t *testing.T) {
	fine := func(piece string) []byte { return frameOf(1, 0, 1, answerOf(200, -1, piece)) }
	oversized := binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0, 1, 0, 0, 0}, maxPayload+1)
	for name, text := range map[string][]byte{
		"no frame":                            []byte("HTTP/1.1 200 OK\r\n\r\n"),
		"frame of kind 0":                     frameOf(0, 0, 1, nil),
		"frame of kind 5":                     frameOf(5, 0, 1, nil),
		"unknown flag":                        frameOf(1, 2, 1, answerOf(200, 0, "")),
		"bytes that are not zero":             append([]byte{1, 1, 1, 0}, frameOf(1, 1, 1, answerOf(200, 0, ""))[4:]...),
		"oversized head":                      oversized,
		"oversized piece":                     frameOf(2, 0, 1, make([]byte, MaxPiece+1)),
		"4 GiB":                               append(oversized[:8:8], 255, 255, 255, 255),
		"empty piece":                         append(fine(""), frameOf(2, 0, 1, nil)...),
		"credit with a payload":               frameOf(3, 0, 1, []byte("x")),
		"cancel with a payload":               frameOf(4, 0, 1, []byte("x")),
		"answer to what was not asked":        frameOf(1, 1, 2, answerOf(200, 0, "")),
		"credit for what was not asked":       frameOf(3, 0, 7, nil),
		"second credit":                       append(frameOf(3, 0, 1, nil), frameOf(3, 0, 1, nil)...),
		"piece without a head":                frameOf(2, 1, 1, []byte("x")),
		"second head":                         append(fine("x"), frameOf(1, 1, 1, answerOf(200, -1, ""))...),
		"many pieces unasked":                 bytes.Repeat(frameOf(2, 0, 1, []byte("x")), 10),
		"head without a length":               frameOf(1, 1, 1, []byte("abc")),
		"head longer than its frame":          frameOf(1, 1, 1, []byte("\xff\xff\xff\x7fx")),
		"head longer than any":                frameOf(1, 1, 1, binary.LittleEndian.AppendUint32(nil, maxHead+1)),
		"piece in a head larger than any":     frameOf(1, 1, 1, answerOf(200, -1, string(make([]byte, MaxPiece+1)))),
		"empty head":                          frameOf(1, 1, 1, headed(nil, "")),
		"truncated status":                    frameOf(1, 1, 1, headed([]byte{0xff}, "")),
		"endless status":                      frameOf(1, 1, 1, headed(bytes.Repeat([]byte{0xff}, 12), "")),
		"truncated length":                    frameOf(1, 1, 1, headed([]byte{0xc8, 1, 0xff}, "")),
		"status 0":                            frameOf(1, 1, 1, answerOf(0, 0, "")),
		"status 101":                          frameOf(1, 1, 1, answerOf(101, 0, "")),
		"status 199":                          frameOf(1, 1, 1, answerOf(199, 0, "")),
		"status 1000":                         frameOf(1, 1, 1, answerOf(1000, 0, "")),
		"status 99999":                        frameOf(1, 1, 1, answerOf(99999, 0, "")),
		"status beyond any":                   frameOf(1, 1, 1, answerOf(1<<63, 0, "")),
		"line end in a name":                  frameOf(1, 1, 1, answerOf(200, 0, "", "X\r\nSet-Cookie", "a")),
		"line end in a value":                 frameOf(1, 1, 1, answerOf(200, 0, "", "X", "a\r\nSet-Cookie: b")),
		"line feed in a value":                frameOf(1, 1, 1, answerOf(200, 0, "", "X", "a\nSet-Cookie: b")),
		"NUL in a value":                      frameOf(1, 1, 1, answerOf(200, 0, "", "X", "a\x00")),
		"blank in a name":                     frameOf(1, 1, 1, answerOf(200, 0, "", "Content-Length ", "5")),
		"colon in a name":                     frameOf(1, 1, 1, answerOf(200, 0, "", "X:", "5")),
		"letters beyond ASCII in a name":      frameOf(1, 1, 1, answerOf(200, 0, "", "Ä", "5")),
		"empty name":                          frameOf(1, 1, 1, answerOf(200, 0, "", "", "5")),
		"name without a value":                frameOf(1, 1, 1, answerOf(200, 0, "", "X")),
		"field longer than the head":          frameOf(1, 1, 1, headed(append(answerOf(200, 0, "")[4:], 0x7f, 'x'), "")),
		"field longer than memory":            frameOf(1, 1, 1, headed(append(answerOf(200, 0, "")[4:], bytes.Repeat([]byte{0xff}, 9)...), "")),
		"piece longer than announced":         frameOf(1, 1, 1, answerOf(200, 3, "hello")),
		"further piece longer than announced": append(frameOf(1, 0, 1, answerOf(200, 3, "he")), frameOf(2, 1, 1, []byte("llo"))...),
		"shorter than announced":              append(frameOf(1, 0, 1, answerOf(200, 8, "he")), frameOf(2, 1, 1, []byte("llo"))...),
		"breaks off within a frame":           brokenOff,
	} {
		t.Run(name, func(t *testing.T) {
			client, closed := hostile(t, text)
			call, end := begin(t, client, call{method: "POST", uri: "/", stream: new(pausing), length: -1})
			got := read(call)
			require.Error(t, got.err)
			assert.NotContains(t, got.header, "Set-Cookie")
			end()
			within(t, closed, "the connection to be closed")
		})
	}
}

// pausing is a body that does not come.
type pausing struct{}

func (*pausing) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

// What breaks the rules for one call does not for those on the next connection.
func TestHostileRunnerIsAskedAgain(t *testing.T) {
	client, closed := hostile(t, frameOf(1, 1, 1, answerOf(101, 0, "")))
	for range 3 {
		assert.ErrorIs(t, ask(t, client, call{method: "GET", uri: "/"}).err, errProtocol)
		within(t, closed, "the end")
	}
}

// A runner that answers what is over, without end, is not listened to without
// end.
func TestHostileRunnerRepeatsItself(t *testing.T) {
	client, closed := hostile(t, append(frameOf(1, 1, 1, answerOf(200, 0, "")), bytes.Repeat(frameOf(4, 0, 1, nil), 1000)...))
	require.NoError(t, ask(t, client, call{method: "GET", uri: "/"}).err)
	within(t, closed, "the end")
}

// unread is a runner that reads nothing.
func unread(t *testing.T) *Client {
	t.Helper()
	ended := make(chan struct{})
	client := clientOf(t, func(l net.Listener) {
		conn, _, err := accept(l)
		if err != nil {
			return
		}
		defer conn.Close()
		<-ended
	})
	t.Cleanup(func() { close(ended) })
	return client
}

// due is how much waits to be written.
func due(c *Client) int {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	conn.out.mu.Lock()
	defer conn.out.mu.Unlock()
	return conn.out.next.size()
}

// For a runner that does not read, some is kept; then calls wait, for as long as
// they like.
func TestRunnerThatDoesNotRead(t *testing.T) {
	client := unread(t)
	body, began := noise(usualPiece), 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		o, _ := call{method: "POST", uri: "/", body: body, first: -1}.outgoing()
		call, err := client.Start(ctx, o, true)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			break
		}
		call.End()
		began++
		require.Less(t, began, 10*mostPending/usualPiece, "nothing bounds what is kept")
	}
	assert.Less(t, due(client), mostPending+mostSignals)
	// Who waits is told of the end.
	out := client.conn.out
	out.mu.Lock()
	out.taken = nil
	out.mu.Unlock()
	waits := make(chan error, 1)
	go func() {
		_, err := start(context.Background(), client)
		waits <- err
	}()
	await(t, "the wait", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.taken != nil
	})
	client.conn.fail(errProtocol)
	assert.Error(t, within(t, waits, "the wait"))
}

// A runner that takes pieces of a body, as it says, and does not read them.
func TestRunnerThatOnlySaysItReads(t *testing.T) {
	client := unread(t)
	o, _ := call{method: "POST", uri: "/", stream: strings.NewReader(""), length: -1}.outgoing()
	call, err := client.Start(t.Context(), o, false)
	require.NoError(t, err)
	defer call.End()
	endless := &zeros{}
	ctx, cancel := context.WithCancel(t.Context())
	uploaded := make(chan error, 1)
	go func() { uploaded <- call.WriteBody(ctx, endless) }()
	const most = 4 * mostPending
	for endless.read.Load() < most {
		// As fast as each is used, so that there are never two.
		select {
		case call.credit <- struct{}{}:
			continue
		case <-time.After(200 * time.Millisecond):
		}
		break
	}
	assert.Less(t, endless.read.Load(), int64(most), "nothing bounds what is read for it")
	assert.Less(t, due(client), mostPending+mostSignals)
	cancel()
	assert.Error(t, within(t, uploaded, "the upload"))
}

type zeros struct{ read atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	z.read.Add(int64(len(p)))
	return len(p), nil
}

// A runner that has credits sent, and does not read them, is given up.
func TestRunnerThatReadsNoCredits(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	w := newWriter(ours)
	w.next.small = make([]byte, mostPending)
	ended := make(chan error, 1)
	go func() { ended <- w.run() }()
	signals := 0
	var err error
	for ; err == nil; signals++ {
		require.Less(t, signals, 2*mostSignals/headerSize, "nothing bounds what is kept")
		err = w.signal(kindCredit, 1)
	}
	assert.ErrorIs(t, err, errStuck)
	ours.Close()
	assert.Error(t, within(t, ended, "the writer"))
}

// What a supervisor of another build might send ends the connection, and the
// runner lives.
func TestServerRefuses(t *testing.T) {
	request := func(fields ...string) []byte {
		var head []byte
		for _, f := range fields {
			head = appendField(head, f)
		}
		return frameOf(1, 1, 1, headed(binary.AppendVarint(head, 0), ""))
	}
	waiting := request("POST", "/", "h", "a")
	waiting[1] = 0
	waiting = waiting[:len(waiting):len(waiting)]
	for name, text := range map[string][]byte{
		"no frame":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"empty head":           frameOf(1, 1, 1, headed(nil, "")),
		"half a head":          frameOf(1, 1, 1, headed(appendField(nil, "GET"), "")),
		"target that is none":  request("GET", "%zz", "h", "a"),
		"head without a value": frameOf(1, 1, 1, headed(appendField(request("GET", "/", "h", "a")[headerSize+4:], "X"), "")),
		"exchange begun twice": append(waiting, waiting...),
		"second credit":        append(waiting, bytes.Repeat(frameOf(3, 0, 1, nil), 2)...),
		"second piece":         append(waiting, bytes.Repeat(frameOf(2, 0, 1, []byte("x")), 2)...),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			served := make(chan struct{})
			go func() {
				defer close(served)
				serve(theirs, bufio.NewReader(theirs), 1, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			}()
			go func() { _, _ = ours.Write(text) }()
			_, err := io.Copy(io.Discard, ours)
			require.NoError(t, err)
			within(t, served, "the end")
			ours.Close()
		})
	}
}

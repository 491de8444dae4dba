package multiplex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// noise is bytes that no two sizes share.
func noise(size int) []byte {
	out := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(out)
	return out
}

var sizes = []int{0, 1, usualPiece - 1, usualPiece, usualPiece + 1, MaxPiece - 1, MaxPiece, MaxPiece + 1, flushAt, flushAt + 1, 5 << 20}

// mirror answers with the request's body, which it reads first.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
	_, _ = w.Write(body)
}

// pass answers as the body comes.
func pass(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusAccepted)
	if _, err := io.Copy(w, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// Bodies of every size arrive whole, both ways and many at a time, with a
// length that is known and without.
func TestBodies(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/mirror", mirror)
	mux.HandleFunc("/pass", pass)
	client := runner(t, mux)
	var group sync.WaitGroup
	for _, size := range sizes {
		body := noise(size)
		for _, first := range []int{-1, 0, 1, usualPiece} {
			if first > size || first < 0 && size > MaxPiece {
				continue
			}
			for _, path := range []string{"/mirror", "/pass"} {
				what := fmt.Sprintf("%s of %d bytes, %d with the head", path, size, first)
				group.Go(func() {
					for range 2 {
						got := ask(t, client, call{method: "POST", uri: path, body: body, first: first})
						if assert.NoError(t, got.err, what) {
							same(t, body, got.body, what)
						}
						if first < 0 {
							continue
						}
						got = ask(t, client, call{method: "POST", uri: path, stream: bytes.NewReader(body), length: -1, first: first})
						if assert.NoError(t, got.err, what) {
							same(t, body, got.body, what)
						}
					}
				})
			}
		}
	}
	group.Wait()
	assert.Empty(t, client.conn.calls)
}

// A request reads as Go's server has it.
func TestRequest(t *testing.T) {
	seen := make(chan *http.Request, 1)
	client := runner(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		seen <- r
	}))
	got := ask(t, client, call{method: "PATCH", uri: "/a%20b/c?d=e;f&g", body: []byte("hi"), first: -1, header: [][2]string{
		{"content-type", "text/x"}, {"X-Two", "one"}, {"x-two", "two"}, {"Empty", ""},
	}})
	require.NoError(t, got.err)
	r := <-seen
	assert.Equal(t, "PATCH", r.Method)
	assert.Equal(t, "/a b/c", r.URL.Path)
	assert.Equal(t, "d=e;f&g", r.URL.RawQuery)
	assert.Equal(t, "/a%20b/c?d=e;f&g", r.RequestURI)
	assert.Equal(t, "host.example", r.Host)
	assert.Equal(t, "192.0.2.1:5", r.RemoteAddr)
	assert.EqualValues(t, 2, r.ContentLength)
	assert.Equal(t, http.Header{"Content-Type": {"text/x"}, "X-Two": {"one", "two"}, "Empty": {""}}, r.Header)

	require.NoError(t, ask(t, client, call{method: "POST", uri: "/", stream: strings.NewReader("hi"), length: -1}).err)
	r = <-seen
	assert.EqualValues(t, -1, r.ContentLength)
	assert.Equal(t, []string{"chunked"}, r.TransferEncoding)

	require.NoError(t, ask(t, client, call{method: "GET", uri: "http://other.example/x"}).err)
	assert.Equal(t, "other.example", (<-seen).Host, "a whole URL names the host")
}

// What is read slowly, or not at all, holds nobody else up, and no more than
// its pieces are kept of it.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	large := noise(64 << 20)
	var sent sync.Map
	client := runner(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			_, _ = io.WriteString(w, "small")
			return
		}
		for i := 0; i < len(large); i += usualPiece {
			if _, err := w.Write(large[i : i+usualPiece]); err != nil {
				return
			}
			sent.Store(r.URL.Path, i+usualPiece)
		}
	}))
	slow, end := begin(t, client, call{method: "GET", uri: "/large"})
	defer end()
	require.Equal(t, Answered, slow.Await(nil, nil))
	_, _, whole, err := slow.Head()
	require.NoError(t, err)
	require.False(t, whole)
	for range 200 {
		got := ask(t, client, call{method: "GET", uri: "/small"})
		require.NoError(t, got.err)
		require.Equal(t, "small", string(got.body))
	}
	n, _ := sent.Load("/large")
	assert.LessOrEqual(t, n, flushAt+4*MaxPiece, "what the handler got rid of without a reader")
	body, err := io.ReadAll(slow)
	require.NoError(t, err)
	same(t, large, body, "once it is read")
}

// A handler that reads slowly gets no more than it asks for, and others are
// answered.
func TestSlowHandlerHoldsUpNobody(t *testing.T) {
	proceed := make(chan struct{})
	client := runner(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-proceed
		}
		mirror(w, r)
	}))
	body := noise(4 << 20)
	source := &counted{Reader: bytes.NewReader(body)}
	slow, end := begin(t, client, call{method: "POST", uri: "/slow", stream: source, length: int64(len(body)), first: 1})
	defer end()
	for range 100 {
		require.NoError(t, ask(t, client, call{method: "POST", uri: "/quick", body: noise(100), first: -1}).err)
	}
	assert.LessOrEqual(t, source.count(), 1+MaxPiece, "what was read of the client before the handler wanted any")
	close(proceed)
	got := read(slow)
	require.NoError(t, got.err)
	same(t, body, got.body, "once it is read")
}

// counted counts what is read.
type counted struct {
	io.Reader
	mu sync.Mutex
	n  int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	return n, err
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// A caller that gives up cancels its handler's context, whatever that is at.
func TestEndCancelsTheHandler(t *testing.T) {
	over := make(chan error, 1)
	at := make(chan struct{}, 1)
	client := runner(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at <- struct{}{}
		var err error
		switch r.URL.Path {
		case "/waits":
			<-r.Context().Done()
			err = r.Context().Err()
		case "/reads":
			_, err = io.ReadAll(r.Body)
		case "/writes":
			for err == nil {
				_, err = w.Write(noise(usualPiece))
			}
		}
		over <- err
	}))
	for path, want := range map[string]error{"/waits": context.Canceled, "/reads": io.ErrUnexpectedEOF, "/writes": context.Canceled} {
		never, hang := io.Pipe()
		_, end := begin(t, client, call{method: "POST", uri: path, stream: never, length: -1})
		within(t, at, path)
		hang.Close() // The body's end is not to be what ends it.
		end()
		if err := within(t, over, path); path != "/reads" {
			assert.ErrorIs(t, err, want, path)
		}
	}
	assert.NoError(t, ask(t, client, call{method: "GET", uri: "/none"}).err, "the connection lives on")
	assert.NoError(t, within(t, over, "the last"))
}

// Abort ends both sides, and a handler that goes on reading does the connection
// no harm.
func TestAbort(t *testing.T) {
	reads := make(chan error, 8)
	client := runner(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fine" {
			return
		}
		for range cap(reads) {
			_, err := r.Body.Read(make([]byte, 10))
			reads <- err
		}
	}))
	o, _ := call{method: "POST", uri: "/aborted", stream: strings.NewReader(""), length: 1000}.outgoing()
	aborted, err := client.Start(t.Context(), o, false)
	require.NoError(t, err)
	fault := errors.New("the client broke off")
	assert.ErrorIs(t, aborted.WriteBody(t.Context(), failing{fault}), fault)
	aborted.Abort()
	for range cap(reads) {
		assert.ErrorIs(t, within(t, reads, "a read"), io.ErrUnexpectedEOF)
	}
	require.Equal(t, Answered, aborted.Await(nil, nil))
	_, _, _, err = aborted.Head()
	assert.ErrorIs(t, err, ErrAborted)
	before := client.conn
	assert.NoError(t, ask(t, client, call{method: "GET", uri: "/fine"}).err)
	assert.True(t, before == client.conn, "the connection was broken by the handler that read on")
	aborted.End()
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Await tells apart why it ended, and may be called again after a tick.
func TestAwait(t *testing.T) {
	proceed := make(chan struct{})
	client := runner(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-proceed }))
	waits, end := begin(t, client, call{method: "GET", uri: "/"})
	defer end()
	tick := make(chan time.Time, 1)
	tick <- time.Time{}
	assert.Equal(t, Ticked, waits.Await(nil, tick))
	stop := make(chan struct{})
	close(stop)
	assert.Equal(t, Stopped, waits.Await(stop, nil))
	close(proceed)
	assert.Equal(t, Answered, waits.Await(nil, nil))
}

// Once nobody wants the answer, Read says so, also one that waits.
func TestStopReading(t *testing.T) {
	client := runner(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	open, end := begin(t, client, call{method: "GET", uri: "/"})
	defer end()
	require.Equal(t, Answered, open.Await(nil, nil))
	_, _, _, err := open.Head()
	require.NoError(t, err)
	stop := make(chan struct{})
	open.StopReading(stop)
	time.AfterFunc(10*time.Millisecond, func() { close(stop) })
	_, err = open.Read(make([]byte, 1))
	assert.ErrorIs(t, err, errStopped)
}

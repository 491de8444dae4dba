package multiplex

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start is Start of a GET for a test's own goroutine.
func start(ctx context.Context, c *Client) (*Call, error) {
	o, _ := call{method: "GET", uri: "/"}.outgoing()
	return c.Start(ctx, o, true)
}

// pipes is a client whose connections are net.Pipes to a handler. made counts
// them.
func pipes(t *testing.T, handler http.Handler) (c *Client, made *atomic.Int32) {
	t.Helper()
	conns := make(chan net.Conn)
	made = new(atomic.Int32)
	server := &http.Server{Handler: Handler(handler, handler)}
	l := &pipeListener{conns: conns, closed: make(chan struct{})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	c = NewClient(func(ctx context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case conns <- theirs:
			made.Add(1)
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	t.Cleanup(func() {
		c.Close()
		server.Close()
		<-served
	})
	return c, made
}

type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// All calls share one connection, also those that begin at the same time.
func TestOneConnection(t *testing.T) {
	client, made := pipes(t, http.HandlerFunc(mirror))
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			got := ask(t, client, call{method: "POST", uri: "/", body: []byte("hello"), first: -1})
			assert.NoError(t, got.err)
			assert.Equal(t, "hello", string(got.body))
		})
	}
	group.Wait()
	assert.EqualValues(t, 1, made.Load())
}

// A connection that nothing is sent on is given up and made again; one with a
// call under way is not.
func TestIdleConnection(t *testing.T) {
	proceed := make(chan struct{})
	client, made := pipes(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			<-proceed
		}
	}))
	client.idle = 20 * time.Millisecond
	long, end := begin(t, client, call{method: "POST", uri: "/"})
	first := client.conn
	tick := time.NewTimer(5 * client.idle)
	defer tick.Stop()
	require.Equal(t, Ticked, long.Await(nil, tick.C), "it was lost while a call was under way")
	close(proceed)
	require.Equal(t, Answered, long.Await(nil, nil))
	end()
	within(t, first.broken, "the end of an idle connection")
	assert.ErrorIs(t, first.err, errIdle)
	// The next call has another.
	require.NoError(t, ask(t, client, call{method: "GET", uri: "/"}).err)
	assert.EqualValues(t, 2, made.Load())
}

// A connection that has used up its numbers makes way for another, and keeps
// the calls that it has.
func TestNumbersAreUsedOnce(t *testing.T) {
	proceed := make(chan struct{})
	client, made := pipes(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			<-proceed
		}
	}))
	long, end := begin(t, client, call{method: "POST", uri: "/"})
	worn := client.conn
	worn.mu.Lock()
	worn.nextID = math.MaxUint32 - 2
	worn.mu.Unlock()
	for range 5 {
		require.NoError(t, ask(t, client, call{method: "GET", uri: "/"}).err)
	}
	assert.EqualValues(t, 2, made.Load())
	assert.True(t, worn.usable())
	close(proceed)
	require.Equal(t, Answered, long.Await(nil, nil))
	end()
	within(t, worn.broken, "the end of the connection that is worn")
}

// Close lets calls under way finish and none begin.
func TestClose(t *testing.T) {
	proceed := make(chan struct{})
	client, _ := pipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-proceed
		mirror(w, r)
	}))
	long, end := begin(t, client, call{method: "POST", uri: "/", body: noise(1 << 20), first: 1})
	conn := client.conn
	client.Close()
	_, err := start(t.Context(), client)
	assert.ErrorIs(t, err, errClosed)
	close(proceed)
	got := read(long)
	require.NoError(t, got.err)
	same(t, noise(1<<20), got.body, "what was under way")
	end()
	within(t, conn.broken, "the end of the connection")

	unused := NewClient(nil)
	unused.Close()
	_, err = start(t.Context(), unused)
	assert.ErrorIs(t, err, errClosed)
}

// A connection that breaks ends its calls, with and without an answer begun, and
// their handlers; the next call has another one.
func TestLost(t *testing.T) {
	over := make(chan struct{}, 8)
	client, made := pipes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/quick":
			return
		case "/begun":
			_, _ = w.Write(noise(10))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		over <- struct{}{}
	}))
	silent, endSilent := begin(t, client, call{method: "GET", uri: "/silent"})
	sending, endSending := begin(t, client, call{method: "POST", uri: "/sends", body: noise(1 << 20), first: 1})
	begun, endBegun := begin(t, client, call{method: "GET", uri: "/begun"})
	require.Equal(t, Answered, begun.Await(nil, nil))
	_, _, _, err := begun.Head()
	require.NoError(t, err)
	_ = client.conn.inner.Close()
	for range 3 {
		within(t, over, "the end of the handlers")
	}
	require.Equal(t, Lost, silent.Await(nil, nil))
	require.Equal(t, Lost, sending.Await(nil, nil))
	assert.ErrorIs(t, silent.Why(), ErrLost)
	body, err := io.ReadAll(begun)
	assert.ErrorIs(t, err, ErrLost)
	same(t, noise(10), body, "what came before")
	for _, end := range []func(){endSilent, endSending, endBegun} {
		end()
	}
	require.NoError(t, ask(t, client, call{method: "GET", uri: "/quick"}).err)
	assert.EqualValues(t, 2, made.Load())
}

// An answer that is complete before the connection breaks is one.
func TestAnsweredBeforeItBroke(t *testing.T) {
	client := clientOf(t, func(l net.Listener) {
		conn, r, err := accept(l)
		if err != nil {
			return
		}
		defer conn.Close()
		var space [headerSize]byte
		if _, err := readFrame(r, &space); err == nil {
			_, _ = conn.Write(frameOf(1, 1, 1, answerOf(200, 2, "hi")))
		}
	})
	call, err := start(t.Context(), client)
	require.NoError(t, err)
	defer call.End()
	within(t, call.conn.broken, "the end")
	got := read(call)
	require.NoError(t, got.err)
	assert.Equal(t, "hi", string(got.body))
}

func TestDialFails(t *testing.T) {
	fault := errors.New("nobody listens")
	client := NewClient(func(context.Context) (net.Conn, error) { return nil, fault })
	_, err := start(t.Context(), client)
	assert.ErrorIs(t, err, fault)
}

// A wait for a connection ends with its caller's context and with nobody
// else's.
func TestDialHangs(t *testing.T) {
	answer, ended := make(chan error), make(chan struct{})
	client := NewClient(func(ctx context.Context) (net.Conn, error) {
		defer close(ended)
		select {
		case err := <-answer:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	patient := make(chan error, 1)
	go func() {
		_, err := start(context.Background(), client)
		patient <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := start(ctx, client)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	fault := errors.New("it is refused after all")
	answer <- fault
	assert.ErrorIs(t, within(t, patient, "the other's wait"), fault)
	within(t, ended, "the dial")
}

// What does not multiplex is told from what does, whatever it answers, and not
// for ever.
func TestUpgradeIsAnsweredOtherwise(t *testing.T) {
	plain := clientOf(t, func(l net.Listener) {
		_ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	})
	_, err := start(t.Context(), plain)
	assert.ErrorIs(t, err, ErrUnsupported)
	for name, text := range map[string]string{
		"no HTTP":            "hello\r\n\r\n",
		"another protocol":   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		"nothing":            "",
		"an endless body":    "HTTP/1.1 200 OK\r\n\r\n" + string(make([]byte, 1<<20)),
		"an endless line":    "HTTP/1.1 101 " + string(make([]byte, 1<<20)),
		"endless headers":    "HTTP/1.1 101 Switching Protocols\r\nX: " + string(noise(1<<20)),
		"a length that lies": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
	} {
		wrote := make(chan int, 1)
		client := clientOf(t, func(l net.Listener) {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			buffer := make([]byte, 1<<10)
			_, _ = conn.Read(buffer)
			// The socket's own buffer takes some of what nobody reads.
			n := 0
			for err == nil && n < 64<<20 && len(text) > 1<<10 {
				var some int
				some, err = io.WriteString(conn, text)
				n += some
			}
			if n == 0 {
				_, _ = io.WriteString(conn, text)
			}
			wrote <- n
		})
		_, err := start(t.Context(), client)
		require.Error(t, err, name)
		assert.Less(t, within(t, wrote, name), 4<<20, "%s: what was taken of it", name)
	}
}

// Who stops reading an answer and tries once more has asked for one piece: a
// second credit for it would end the connection, and all calls on it.
func TestStoppedReaderAsksOnce(t *testing.T) {
	kinds := make(chan kind, 16)
	client := clientOf(t, func(l net.Listener) {
		conn, r, err := accept(l)
		if err != nil {
			return
		}
		defer conn.Close()
		var space [headerSize]byte
		for {
			f, err := readFrame(r, &space)
			if err != nil {
				return
			}
			f.release()
			if f.kind == kindHead {
				_, _ = conn.Write(frameOf(1, 0, 1, answerOf(200, -1, "x")))
			}
			kinds <- f.kind
		}
	})
	call, end := begin(t, client, call{method: "GET", uri: "/"})
	require.Equal(t, Answered, call.Await(nil, nil))
	_, _, whole, err := call.Head()
	require.NoError(t, err)
	require.False(t, whole)
	stop := make(chan struct{})
	close(stop)
	call.StopReading(stop)
	piece := make([]byte, 8)
	n, err := call.Read(piece)
	require.NoError(t, err)
	assert.Equal(t, "x", string(piece[:n]))
	for range 3 {
		_, err = call.Read(piece)
		require.ErrorIs(t, err, errStopped)
	}
	end()
	for _, want := range []kind{kindHead, kindCredit, kindCancel} {
		assert.Equal(t, want, within(t, kinds, "a frame"))
	}
}

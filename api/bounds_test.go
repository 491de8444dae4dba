package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soon are bounds that a test need not wait long for.
func soon() bounds {
	return bounds{head: 400 * time.Millisecond, body: 400 * time.Millisecond, idle: 400 * time.Millisecond, connections: 100}
}

// never are bounds that no test reaches.
func never() bounds {
	return bounds{head: time.Hour, body: time.Hour, idle: time.Hour, connections: 100}
}

// dribble sends a text again and again, with pauses in which nothing happens,
// until the connection takes no more.
func (w *wire) dribble(text string, pause time.Duration) (stopped chan struct{}) {
	stopped = make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}()
	return stopped
}

// overdue says that the server gives the request up, and when: no sooner than
// after bound.
func (w *wire) overdue(method string, began time.Time, bound time.Duration) {
	w.t.Helper()
	got := w.receive(method)
	assert.GreaterOrEqual(w.t, time.Since(began), bound)
	assert.Equal(w.t, http.StatusRequestTimeout, got.StatusCode)
	assert.Equal(w.t, overdueText+"\n", got.text)
	assert.True(w.t, got.Close)
	w.closed()
}

func TestHeadersThatDribble(t *testing.T) {
	b := never()
	b.head = soon().head
	addr, functions, _ := serveBoth(t, testConfig(), newRecorder(), b)
	for name, addr := range map[string]string{"main": addr, "functions": functions} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			client := dial(t, addr)
			_, err := io.WriteString(client, "GET /ping HTTP/1.1\r\n")
			require.NoError(t, err)
			stopped := client.dribble("X: y\r\n", b.head/10)
			client.overdue("GET", began, b.head)
			require.NoError(t, client.Close())
			<-stopped
		})
	}
	t.Run("a later request", func(t *testing.T) {
		client := dial(t, addr)
		client.pings()
		time.Sleep(2 * b.head) // That long it was idle, which is another bound.
		client.pings()
		began := time.Now()
		_, err := io.WriteString(client, "GET /ping HTTP/1.1\r\n")
		require.NoError(t, err)
		client.overdue("GET", began, b.head)
	})
}

func TestConnectionThatSaysNothing(t *testing.T) {
	b := never()
	b.head = soon().head
	addr, _ := serveWithin(t, testConfig(), newRecorder(), b)
	began := time.Now()
	client := dial(t, addr)
	client.closed()
	assert.GreaterOrEqual(t, time.Since(began), b.head)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	b := never()
	b.idle = soon().idle
	addr, _ := serveWithin(t, testConfig(), newRecorder(), b)
	client := dial(t, addr)
	client.pings()
	began := time.Now()
	client.pings()
	client.closed()
	assert.GreaterOrEqual(t, time.Since(began), b.idle)
}

func TestBodyThatStalls(t *testing.T) {
	b := never()
	b.body = soon().body
	cut := make(chan error, 100)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		cut <- err
	})
	addr, functions, _ := serveBoth(t, testConfig(), streams, b)
	for _, target := range []struct{ name, addr, path string }{
		{"API", addr, "/streams/a"}, {"gateway", addr, "/foo/post"}, {"functions", functions, "/foo/post"},
	} {
		cases := map[string]struct{ header, body string }{
			"before the first byte":     {"Content-Length: 1000", ""},
			"after some":                {"Content-Length: 1000", "{input:"},
			"before the only one":       {"Content-Length: 1", ""},
			"before the first chunk":    {"Transfer-Encoding: chunked", ""},
			"after the size of a chunk": {"Transfer-Encoding: chunked", "7\r\n{input:\r\n7\r\n"},
			"before the last chunk":     {"Transfer-Encoding: chunked", "7\r\n{input:\r\n"},
		}
		if target.name == "functions" {
			cases = map[string]struct{ header, body string }{"after some": cases["after some"]}
		}
		for name, c := range cases {
			t.Run(target.name+" "+name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				client := dial(t, target.addr)
				client.send([]string{"POST " + target.path + " HTTP/1.1", "Host: x", c.header}, c.body)
				client.overdue("POST", began, b.body)
				// What is short reaches no handler before it is whole.
				if strings.HasPrefix(target.path, "/foo/") && c.body != "" && strings.HasPrefix(c.header, "Transfer") {
					require.Error(t, <-cut, "to the stream, half a message is none")
				}
			})
		}
	}
	t.Cleanup(func() {
		assert.Empty(t, streams.List())
		assert.Empty(t, cut)
	})
}

// A body that takes its time is not cut off, however long it takes in all.
func TestBodyThatIsSlow(t *testing.T) {
	b := soon()
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	addr, functions, _ := serveBoth(t, testConfig(), streams, b)
	text := []byte("{input: {}}")
	for _, target := range []struct{ name, addr, path, want string }{
		{"API", addr, "/streams/a", ""}, {"gateway", addr, "/foo/post", string(text)}, {"functions", functions, "/foo/post", string(text)},
	} {
		for name, header := range map[string]string{"of known length": fmt.Sprint("Content-Length: ", len(text)), "chunked": "Transfer-Encoding: chunked"} {
			t.Run(target.name+" "+name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				client := dial(t, target.addr)
				client.send([]string{"POST " + target.path + " HTTP/1.1", "Host: x", header}, "")
				for c := range bytes.SplitSeq(text, nil) {
					time.Sleep(b.body / 8)
					if name == "chunked" {
						c = fmt.Appendf(nil, "1\r\n%s\r\n", c)
					}
					_, err := client.Write(c)
					require.NoError(t, err)
				}
				if name == "chunked" {
					_, err := io.WriteString(client, "0\r\n\r\n")
					require.NoError(t, err)
				}
				got := client.receive("POST")
				assert.Equal(t, http.StatusOK, got.StatusCode, got.text)
				assert.Equal(t, target.want, got.text)
				assert.Greater(t, time.Since(began), b.body)
				client.pings()
			})
		}
	}
}

// What has come may be answered as slowly as it likes, and its client is
// watched all the time.
func TestBoundsAreNotOfAnswers(t *testing.T) {
	b := soon()
	long := b.body * 3 / 2
	gone := map[string]chan struct{}{"main": make(chan struct{}, 1), "functions": make(chan struct{}, 1)}
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/foo/ws":
			conn, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(conn, buffered)
			return
		case "/foo/watched":
			<-r.Context().Done()
			gone[r.URL.RawQuery] <- struct{}{}
			return
		case "/foo/stream":
			w.(http.Flusher).Flush()
		}
		time.Sleep(long)
		_, _ = io.WriteString(w, "done")
	})
	addr, functions, _ := serveBoth(t, testConfig(), streams, b)
	for name, addr := range map[string]string{"main": addr, "functions": functions} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"/foo/get", "/foo/stream"} {
				client := dial(t, addr)
				client.send([]string{"GET " + path + " HTTP/1.1", "Host: x"}, "")
				assert.Equal(t, "done", client.receive("GET").text, path)
				client.send([]string{"POST " + path + " HTTP/1.1", "Host: x", "Content-Length: 5"}, "hello")
				assert.Equal(t, "done", client.receive("POST").text, path)
				client.pings()
			}

			socket := dial(t, addr)
			socket.send([]string{"GET /foo/ws HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: echo"}, "")
			answer, err := http.ReadResponse(socket.reader, &http.Request{Method: http.MethodGet})
			require.NoError(t, err)
			defer answer.Body.Close()
			require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
			time.Sleep(long)
			_, err = io.WriteString(socket, "still there")
			require.NoError(t, err)
			text := make([]byte, len("still there"))
			_, err = io.ReadFull(socket.reader, text)
			require.NoError(t, err)
			assert.Equal(t, "still there", string(text))
			require.NoError(t, socket.CloseWrite())
			socket.closed()

			for _, head := range [][]string{
				{"GET /foo/watched?" + name + " HTTP/1.1", "Host: x"},
				{"POST /foo/watched?" + name + " HTTP/1.1", "Host: x", "Content-Length: 5"},
			} {
				client := dial(t, addr)
				client.send(head, strings.Repeat("hello", len(head)-2))
				time.Sleep(long)
				assert.Empty(t, gone[name])
				require.NoError(t, client.Close())
				select {
				case <-gone[name]:
				case <-time.After(patience):
					t.Fatal("the stream still serves a client that has gone: " + head[0])
				}
			}
		})
	}
}

package api

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
)

// chunked is body in chunks of the size, and its end.
func chunked(body string, size int) string {
	var b strings.Builder
	for len(body) > 0 {
		part := body[:min(size, len(body))]
		body = body[len(part):]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	return b.String() + "0\r\n\r\n"
}

// configOf is a config that is size bytes long.
func configOf(size int) string { return "{" + strings.Repeat(" ", size-2) + "}" }

func TestBodyLimit(t *testing.T) {
	const limit = 1000
	cfg := testConfig()
	cfg.MaxBodyBytes = limit
	addr := serve(t, cfg, newRecorder())
	for _, target := range []string{"POST /streams", "POST /streams/a", "PUT /streams/a", "PATCH /streams/a", "POST /resources/cache/a"} {
		for _, c := range []struct{ size, status int }{{limit, 200}, {limit + 1, 413}, {50 * limit, 413}} {
			for name, length := range map[string]string{"of known length": fmt.Sprint("Content-Length: ", c.size), "chunked": "Transfer-Encoding: chunked"} {
				t.Run(fmt.Sprintf("%s %d %s", target, c.size, name), func(t *testing.T) {
					body := configOf(c.size)
					if name == "chunked" {
						body = chunked(body, 300)
					}
					client := dial(t, addr)
					client.send([]string{target + " HTTP/1.1", "Host: x", length}, body)
					got := client.receive("POST")
					assert.Equal(t, c.status, got.StatusCode)
					if c.status == 413 {
						assert.Equal(t, "Error: the body is larger than 1000 bytes, the server's http.max_body_bytes\n", got.text)
					}
					// So little is read to its end, so that the connection goes on.
					client.pings()
				})
			}
		}
	}
}

func TestBodyThatLiesAboutItsLength(t *testing.T) {
	streams := newRecorder()
	addr := serve(t, testConfig(), streams)
	head := []string{"POST /streams/a HTTP/1.1", "Host: x"}

	t.Run("longer than said", func(t *testing.T) {
		client := dial(t, addr)
		client.send(append(head, "Content-Length: 2"), "{}, input: {}}\r\n\r\n")
		assert.Equal(t, http.StatusOK, client.receive("POST").StatusCode)
		doc, err := streams.find(streams.streams, "a")
		require.NoError(t, err)
		assert.Equal(t, "{}", string(doc.Text()))
		// The rest is no request.
		got := client.receive("GET")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode)
		client.closed()
	})
	t.Run("shorter than said", func(t *testing.T) {
		client := dial(t, addr)
		client.send(append(head, "Content-Length: 200"), "{}")
		require.NoError(t, client.CloseWrite())
		got := client.receive("POST")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode)
		assert.Contains(t, got.text, "unexpected EOF")
		client.closed()
	})
	t.Run("longer than is read at once, shorter than said", func(t *testing.T) {
		client := dial(t, addr)
		client.send([]string{"POST /streams/cut HTTP/1.1", "Host: x", "Content-Length: 30000"}, "a: 1\n"+strings.Repeat("# more\n", 2000))
		require.NoError(t, client.CloseWrite())
		got := client.receive("POST")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode)
		_, err := streams.Get("cut")
		require.ErrorIs(t, err, supervisor.ErrNotFound)
		client.closed()
	})
	t.Run("chunks that are none", func(t *testing.T) {
		client := dial(t, addr)
		client.send(append(head, "Transfer-Encoding: chunked"), "zz\r\n{}\r\n0\r\n\r\n")
		got := client.receive("POST")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode)
		assert.Contains(t, got.text, "reading the body: ")
		client.closed()
	})
	t.Run("both ways", func(t *testing.T) {
		client := dial(t, addr)
		client.send(append(head, "Content-Length: 3", "Transfer-Encoding: chunked"), chunked("{x: 1}", 4))
		assert.Equal(t, http.StatusBadRequest, client.receive("POST").StatusCode)
		client.closed()
	})
	t.Run("two lengths", func(t *testing.T) {
		client := dial(t, addr)
		client.send(append(head, "Content-Length: 2", "content-length: 40"), "{}"+strings.Repeat(" ", 38))
		assert.Equal(t, http.StatusBadRequest, client.receive("POST").StatusCode)
		client.closed()
	})
	t.Run("headers that are none", func(t *testing.T) {
		client := dial(t, addr)
		client.send(append(head, "Authorization: Bearer secret", "Content-Length: x"), "")
		got := client.receive("GET")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode)
		assert.NotContains(t, got.text, "secret")
	})
	for _, length := range []string{"-1", "x", "99999999999999999999", "0x10"} {
		t.Run("Content-Length: "+length, func(t *testing.T) {
			client := dial(t, addr)
			client.send(append(head, "Content-Length: "+length), "{}")
			got := client.receive("POST")
			assert.Equal(t, http.StatusBadRequest, got.StatusCode)
			assert.Equal(t, 1, strings.Count(got.text, "\n"), got.text)
			client.closed()
		})
	}
}

// What is left of a body is not to be taken for a request.
func TestUnreadBody(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	addr := serve(t, testConfig(), streams)
	const request = "POST /streams/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	long := strings.Repeat(request, 2*spareBytes/len(request))
	bodies := map[string]struct{ header, body string }{
		"short":        {fmt.Sprint("Content-Length: ", len(request)), request},
		"long":         {fmt.Sprint("Content-Length: ", len(long)), long},
		"long chunked": {"Transfer-Encoding: chunked", chunked(long, 4096)},
		"never sent":   {"Content-Length: 8000000", long},
	}
	for _, c := range []struct {
		target string
		status int
	}{
		{"POST /nothing", 404},
		{"DELETE /streams/a", 404},
		{"OPTIONS /streams", 400},
		{"POST /foo/post", 418},
	} {
		for name, sent := range bodies {
			t.Run(c.target+" "+name, func(t *testing.T) {
				client := dial(t, addr)
				written := make(chan struct{})
				go func() {
					defer close(written)
					// The server may close before all of it was sent.
					_, _ = io.WriteString(client, c.target+" HTTP/1.1\r\nHost: x\r\n"+sent.header+"\r\n\r\n"+sent.body)
				}()
				got := client.receive("POST")
				assert.Equal(t, c.status, got.StatusCode)
				// The connection goes on only where all of the body was read.
				if name == "never sent" || got.Close {
					assert.True(t, got.Close)
					client.closed()
				} else {
					client.pings()
				}
				<-written
			})
		}
	}
	assert.Empty(t, streams.List())
}

// deadlines knows the read deadline of a connection.
type deadlines struct {
	net.Conn
	read time.Time
}

func (c *deadlines) SetReadDeadline(at time.Time) error {
	c.read = at
	return c.Conn.SetReadDeadline(at)
}

func TestBodyThatIsTakenBackLeavesNoDeadline(t *testing.T) {
	server, _ := pair(t)
	conn := &deadlines{Conn: server}
	u := &upload{body: &requestBody{source: strings.NewReader("x"), left: -1, conn: conn}, cancel: func() {}, done: make(chan struct{})}
	close(u.done)
	u.end()
	assert.Zero(t, conn.read, "the client may be watched for longer")
}

// A body may be on its way still when its request has failed already.
func TestBodyOfAFailedRequestIsTakenBack(t *testing.T) {
	begun := make(chan struct{})
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 10))
		close(begun)
		<-r.Context().Done()
	})
	client := dial(t, serve(t, testConfig(), streams))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(client, "POST /foo/post HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n"+strings.Repeat("x", 2*spareBytes))
	}()
	<-begun
	streams.hangUp()
	got := client.receive("POST")
	assert.Equal(t, http.StatusBadGateway, got.StatusCode)
	assert.Contains(t, got.text, `while it was answering, the runner of stream "foo" was killed`)
	assert.True(t, got.Close)
	<-written
	client.closed()
	assert.False(t, streams.isHeld())
}

// What is there of a body goes to the runner at once, not after its first byte.
func TestBodyThatIsThereIsReadAtOnce(t *testing.T) {
	reads := make(chan string, 1)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		text := make([]byte, 100)
		n, _ := r.Body.Read(text)
		reads <- string(text[:n])
		_, err := r.Body.Read(text)
		assert.ErrorIs(t, err, io.EOF)
	})
	client := dial(t, serve(t, testConfig(), streams))
	for _, body := range []string{"hello", "x"} {
		client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", fmt.Sprint("Content-Length: ", len(body))}, body)
		assert.Equal(t, http.StatusOK, client.receive("POST").StatusCode)
		assert.Equal(t, body, <-reads)
	}
	client.pings()
}

package api

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
)

func TestGatewayPassesTheRequestOn(t *testing.T) {
	got := make(chan *http.Request, 1)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) { got <- r })
	client := dial(t, serve(t, testConfig(), streams))
	client.send([]string{
		"GET /foo/a%2Fb//c?q=%20&q=2 HTTP/1.1",
		"Host: streams.example:81",
		"Connection: keep-alive, X-Private, , x-other-private",
		"Connection: " + supervisor.RemoteAddrHeader,
		"Keep-Alive: timeout=5",
		"Proxy-Authenticate: Basic",
		"Proxy-Authorization: Basic x",
		"Proxy-Connection: close",
		"TE: trailers",
		"Trailer: X-Public",
		"Upgrade: h2c",
		"X-Private: 1",
		"X-Other-Private: 2",
		"X-Public: a",
		"x-public: b",
		"Cookie: c=1; d=2",
		supervisor.RemoteAddrHeader + ": 6.6.6.6:6",
		strings.ToLower(supervisor.RemoteAddrHeader) + ": 7.7.7.7:7",
		"User-Agent: tester",
	}, "")
	assert.Equal(t, http.StatusOK, client.receive("GET").StatusCode)

	r := <-got
	assert.Equal(t, "/foo/a%2Fb//c?q=%20&q=2", r.RequestURI)
	assert.Equal(t, "streams.example:81", r.Host)
	forwarded := http.Header{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"streams.example:81"}, "X-Forwarded-Proto": {"http"}}
	want := forwarded.Clone()
	want["X-Public"], want["Cookie"], want["User-Agent"] = []string{"a", "b"}, []string{"c=1; d=2"}, []string{"tester"}
	assert.Equal(t, want, r.Header)
	assert.Equal(t, client.LocalAddr().String(), r.RemoteAddr)

	// What was not sent is not made up.
	client.send([]string{"POST /foo/post HTTP/1.1", "Host: x", "Content-Length: 2"}, "{}")
	assert.Equal(t, http.StatusOK, client.receive("POST").StatusCode)
	r = <-got
	forwarded["X-Forwarded-Host"], forwarded["Content-Length"] = []string{"x"}, []string{"2"}
	assert.Equal(t, forwarded, r.Header)
	assert.Equal(t, int64(2), r.ContentLength)
}

func TestGatewayPassesBodiesOn(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	cfg := testConfig()
	cfg.MaxBodyBytes = 10
	addr := serve(t, cfg, streams)
	// Larger than what the server underneath takes at once, and than the API.
	body := strings.Repeat("0123456789abcdef", 5<<16)
	for name, c := range map[string]struct{ header, body, length, want string }{
		"none":         {"X: y", "", "0", ""},
		"empty":        {"Content-Length: 0", "", "0", ""},
		"empty chunks": {"Transfer-Encoding: chunked", "0\r\n\r\n", "-1", ""},
		"small":        {"Content-Length: 5", "hello", "5", "hello"},
		"large":        {fmt.Sprint("Content-Length: ", len(body)), body, fmt.Sprint(len(body)), body},
		"chunked":      {"Transfer-Encoding: chunked", chunked(body, 1000), "-1", body},
	} {
		t.Run(name, func(t *testing.T) {
			client := dial(t, addr)
			written := make(chan error, 1)
			go func() {
				_, err := io.WriteString(client, "POST /foo/post HTTP/1.1\r\nHost: x\r\n"+c.header+"\r\n\r\n"+c.body)
				written <- err
			}()
			got := client.receive("POST")
			require.NoError(t, <-written)
			assert.Equal(t, http.StatusOK, got.StatusCode)
			assert.Equal(t, c.length, got.Header.Get("X-Length"))
			assert.True(t, c.want == got.text, "%d bytes instead of %d", len(got.text), len(c.want))
			client.pings()
		})
	}
}

func TestGatewayPassesTheAnswerOn(t *testing.T) {
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Connection": "X-Private", "X-Private": "1", "Keep-Alive": "timeout=5", "X-Public": "a", "Content-Type": "",
		} {
			w.Header().Set(name, value)
		}
		w.Header()["Content-Type"] = nil
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		switch r.URL.Path {
		case "/foo/none":
			w.WriteHeader(http.StatusNoContent)
		case "/foo/chunks":
			_, _ = io.WriteString(w, "te")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "xt")
		default:
			w.Header().Set("Content-Length", "4")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "text")
		}
	})
	addr := serve(t, testConfig(), streams)
	for _, c := range []struct {
		target string
		status int
		length int64
		text   string
	}{
		{"GET /foo/text", 418, 4, "text"},
		{"HEAD /foo/text", 418, 4, ""},
		{"GET /foo/chunks", 200, -1, "text"},
		{"GET /foo/none", 204, 0, ""},
	} {
		t.Run(c.target, func(t *testing.T) {
			client := dial(t, addr)
			client.send([]string{c.target + " HTTP/1.1", "Host: x"}, "")
			method, _, _ := strings.Cut(c.target, " ")
			got := client.receive(method)
			assert.Equal(t, c.status, got.StatusCode)
			assert.Equal(t, c.length, got.ContentLength)
			assert.Equal(t, c.text, got.text)
			assert.Equal(t, []string{"a"}, got.Header["X-Public"])
			assert.Equal(t, []string{"a=1", "b=2"}, got.Header["Set-Cookie"])
			assert.Len(t, got.Header["Date"], 1)
			for _, name := range []string{"X-Private", "Keep-Alive", "Content-Type"} {
				assert.NotContains(t, got.Header, name)
			}
			client.pings()
		})
	}
}

func TestGatewayKeepsUpgrades(t *testing.T) {
	got := make(chan http.Header, 1)
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Public: a\r\n\r\nhello ")
		_, _ = io.Copy(conn, buffered)
	})
	client := dial(t, serve(t, testConfig(), streams))
	client.send([]string{"GET /foo/ws HTTP/1.1", "Host: x", "Connection: keep-alive, Upgrade, X-Private", "Upgrade: echo", "X-Private: 1"}, "")
	answer, err := http.ReadResponse(client.reader, &http.Request{Method: http.MethodGet})
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	assert.Equal(t, "echo", answer.Header.Get("Upgrade"))
	assert.Equal(t, "Upgrade", answer.Header.Get("Connection"))
	assert.Equal(t, "a", answer.Header.Get("X-Public"))

	headers := <-got
	assert.Equal(t, "Upgrade", headers.Get("Connection"))
	assert.Equal(t, "echo", headers.Get("Upgrade"))
	assert.NotContains(t, headers, "X-Private")

	_, err = io.WriteString(client, "from the client")
	require.NoError(t, err)
	text := make([]byte, len("hello from the client"))
	_, err = io.ReadFull(client.reader, text)
	require.NoError(t, err)
	assert.Equal(t, "hello from the client", string(text))
	require.NoError(t, client.CloseWrite())
	client.closed()
}

func TestGatewayWithoutARunner(t *testing.T) {
	streams := behind(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	addr := serve(t, testConfig(), streams)

	got := call(t, addr, "POST", "/foo/post", "{}")
	assert.Equal(t, http.StatusBadGateway, got.StatusCode, "one that gives up while it answers")
	assert.Contains(t, got.text, `stream "foo" gave up while it was answering: logs?source=output says why`)
	assert.Equal(t, 1, strings.Count(got.text, "\n"))

	streams.failWith(fmt.Errorf("%w: it is starting", supervisor.ErrUnavailable))
	got = call(t, addr, "GET", "/foo/post", "")
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	assert.Equal(t, "Error: unavailable: it is starting\n", got.text)
	got = call(t, addr, "GET", "/foo/ready", "")
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	assert.JSONEq(t, `{"error": "unavailable: it is starting", "statuses": []}`, got.text)
}

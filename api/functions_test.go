package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
)

const nothingHere = "404 page not found\n"

// overIPv6 is the same port on ::1.
func overIPv6(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return net.JoinHostPort("::1", port)
}

// hasIPv6 reports whether the machine has a ::1.
func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func TestFunctionsAreOnLoopbackOnly(t *testing.T) {
	_, addr, server := serveBoth(t, testConfig(), newRecorder(), usualBounds())
	assert.Equal(t, "pong", call(t, addr, "GET", "/ping", "").text)
	want := 2
	if hasIPv6() {
		want++
		assert.Equal(t, "pong", call(t, overIPv6(t, addr), "GET", "/ping", "").text)
	}
	require.Len(t, server.listeners, want)
	for _, l := range server.listeners {
		assert.True(t, l.Addr().(*net.TCPAddr).IP.IsLoopback(), l.Addr())
	}
}

// spellings are other ways to write a path of the API.
func spellings(path string) []string {
	encoded := ""
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		encoded += "/%" + strings.ToUpper(hexOf(segment[0])) + segment[1:]
	}
	return []string{
		path, path + "?chilled=true", path + "/", path + "//", "/" + path, "/." + path, "/x/.." + path, path + "/.", path + "/x",
		path + "%2F", "/%2F" + path[1:], path + "%00", path + ";x", encoded, strings.ToLower(encoded),
		strings.ToUpper(path), strings.ReplaceAll(path[1:], "/", "%2F"), "/" + strings.ReplaceAll(path[1:], "/", "%2F"),
		"/%252F" + path[1:], `\` + path[1:], "http://x" + path, "http://x/benthos" + path,
	}
}

func hexOf(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// Nothing of the API can be reached where the streams' own endpoints are.
func TestFunctionsHaveNoAPI(t *testing.T) {
	streams := behind(t, echoURI)
	having(t, streams)
	_, addr, _ := serveBoth(t, testConfig(), streams, usualBounds())
	for _, r := range new(Server).apiRoutes() {
		if r.path == "/ping" || r.who == forCallers {
			continue
		}
		path := filled(upstreamPath(r.path))
		for _, prefix := range []string{"", "/benthos", "/benthos/benthos"} {
			for _, spelling := range spellings(path) {
				target := spelling
				if strings.HasPrefix(spelling, "/") {
					target = prefix + spelling
				}
				for _, method := range []string{"GET", "POST", "DELETE"} {
					client := dial(t, addr)
					client.send([]string{method + " " + target + " HTTP/1.1", "Host: x", "Content-Length: 2", "Connection: close"}, "{}")
					got := client.receive(method)
					// What is no path at all is no request.
					assert.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest}, got.StatusCode, "%s %s", method, target)
					if got.StatusCode == http.StatusNotFound {
						assert.Equal(t, nothingHere, got.text, "%s %s", method, target)
					}
				}
			}
		}
		for _, method := range verbs {
			got := call(t, addr, method, path, "{}")
			assert.Equal(t, http.StatusNotFound, got.StatusCode, "%s %s", method, path)
		}
	}
	assert.Empty(t, streams.lived().did)
	assert.Len(t, streams.List(), 1)
}

// A stream that is called as the API is has the endpoints that it has beside
// the API, and no others.
func TestFunctionsOfAStreamThatIsCalledLikeTheAPI(t *testing.T) {
	for _, owner := range []string{"streams", "resources", "ready", "version", "endpoints", "metrics", "events"} {
		t.Run(owner, func(t *testing.T) {
			streams := behind(t, echoURI)
			streams.owner = owner
			havingStreams(t, streams, owner)
			main, functions, _ := serveBoth(t, testConfig(), streams, usualBounds())
			for _, r := range new(Server).apiRoutes() {
				if r.path == "/ping" || r.who == forCallers {
					continue
				}
				path := filled(upstreamPath(r.path))
				got := call(t, functions, "POST", path, "{}")
				assert.Equal(t, http.StatusNotFound, got.StatusCode, path)
				assert.Equal(t, nothingHere, got.text, path)
			}
			for _, path := range []string{"/" + owner + "/a/b/c/d", "/benthos/" + owner + "/a/b/c/d", "/" + owner + "/", "/%" + hexOf(owner[0]) + owner[1:] + "/post"} {
				want := call(t, main, "POST", path, "{}")
				got := call(t, functions, "POST", path, "{}")
				assert.Equal(t, want.StatusCode, got.StatusCode, path)
				assert.Equal(t, want.text, got.text, path)
				assert.Contains(t, got.text, "stream got", path)
			}
		})
	}
}

// Without prefixes a stream may have these two paths.
func TestFunctionsLeaveToStreamsWhatTheAPIDoes(t *testing.T) {
	streams := behind(t, echoURI)
	streams.paths = []string{"/events", "/metrics", "/streams"}
	main, functions, _ := serveBoth(t, testConfig(), streams, usualBounds())
	for _, addr := range []string{main, functions} {
		assert.Equal(t, "stream got /events", call(t, addr, "GET", "/events", "").text)
		assert.Equal(t, "stream got /metrics", call(t, addr, "GET", "/benthos/metrics", "").text)
	}
	assert.Equal(t, nothingHere, call(t, functions, "GET", "/streams", "").text)
}

func TestFunctionsPassEverythingOn(t *testing.T) {
	more, callers := make(chan struct{}), make(chan []string, 8)
	streams := behind(t, func(w http.ResponseWriter, r *http.Request) {
		callers <- append(r.Header.Values(supervisor.RemoteAddrHeader), r.RemoteAddr)
		switch r.URL.Path {
		case "/foo/stream":
			_, _ = io.WriteString(w, "first\n")
			w.(http.Flusher).Flush()
			<-more
			_, _ = io.WriteString(w, "last\n")
		case "/foo/ws":
			conn, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(conn, buffered)
		default:
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, r.RequestURI+" "+string(body))
		}
	})
	_, addr, _ := serveBoth(t, testConfig(), streams, usualBounds())

	client := dial(t, addr)
	body := strings.Repeat("0123456789abcdef", 1<<14)
	for target, want := range map[string]string{"/foo/a%2Fb?q=%20": "/foo/a%2Fb?q=%20", "/benthos/foo/post": "/foo/post"} {
		client.send([]string{
			"POST " + target + " HTTP/1.1", "Host: x", "Transfer-Encoding: chunked",
			supervisor.RemoteAddrHeader + ": 6.6.6.6:6",
		}, chunked(body, 5000))
		got := client.receive("POST")
		assert.Equal(t, http.StatusOK, got.StatusCode)
		assert.True(t, got.text == want+" "+body, "%d bytes", len(got.text))
		// It is the caller's own address, whatever the caller says.
		assert.Equal(t, []string{client.LocalAddr().String()}, <-callers)
		client.pings()
	}

	follower := follow(t, addr, "/benthos/foo/stream")
	assert.Equal(t, "first", follower.line())
	close(more)
	assert.Equal(t, "last", follower.line())
	follower.ends()

	socket := dial(t, addr)
	socket.send([]string{"GET /foo/ws HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: echo"}, "")
	answer, err := http.ReadResponse(socket.reader, &http.Request{Method: http.MethodGet})
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	_, err = io.WriteString(socket, "echo")
	require.NoError(t, err)
	text := make([]byte, 4)
	_, err = io.ReadFull(socket.reader, text)
	require.NoError(t, err)
	assert.Equal(t, "echo", string(text))
	require.NoError(t, socket.CloseWrite())
	socket.closed()
	await(t, func() bool { return !streams.isHeld() }, "the functions' return")
}

func TestFunctionsEndWithTheirClient(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	_, addr, _ := serveBoth(t, testConfig(), streams, usualBounds())
	client := dial(t, addr)
	client.send([]string{"GET /foo/get HTTP/1.1", "Host: x"}, "")
	<-begun
	require.NoError(t, client.Close())
	<-ended
	await(t, func() bool { return !streams.isHeld() }, "the function's return")
}

func TestShutdownEndsBothListeners(t *testing.T) {
	begun := make(chan struct{}, 1)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})
	main, functions, server := serveBoth(t, testConfig(), streams, usualBounds())
	client := dial(t, functions)
	client.send([]string{"GET /foo/get HTTP/1.1", "Host: x"}, "")
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, server.Shutdown(ctx))
	got := client.receive("GET")
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	for _, addr := range []string{main, functions} {
		_, err := net.Dial("tcp", addr)
		assert.Error(t, err, addr)
	}
}

// A server that never served leaves no address taken.
func TestShutdownBeforeServe(t *testing.T) {
	server, err := newServer(testConfig(), newRecorder(), nil, "", "", usualBounds())
	require.NoError(t, err)
	addr, err := server.Listen()
	require.NoError(t, err)
	_, err = server.ListenFunctions()
	require.NoError(t, err)
	require.NoError(t, server.Shutdown(t.Context()))
	for _, l := range server.listeners {
		_, err = net.Dial("tcp", l.Addr().String())
		require.Error(t, err)
	}
	again, err := net.Listen("tcp", addr.String())
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

func TestFunctionsToken(t *testing.T) {
	reached := make(chan http.Header, 100)
	streams := behind(t, func(_ http.ResponseWriter, r *http.Request) { reached <- r.Header.Clone() })
	having(t, streams)
	streams.hub.Close()
	cfg := testConfig()
	cfg.Auth.TokenFile = tokenFile(t, "s3cret\n")
	cfg.Auth.FunctionsTokenFile = tokenFile(t, "f0r-calls\n")
	main, functions, _ := serveBoth(t, cfg, streams, usualBounds())

	const operator, caller = "Authorization: Bearer s3cret", "Authorization: Bearer f0r-calls"
	for _, addr := range []string{main, functions} {
		for _, path := range []string{"/foo/post", "/benthos/foo/post"} {
			for _, token := range []string{operator, caller} {
				assert.Equal(t, http.StatusOK, call(t, addr, "POST", path, "{}", token).StatusCode, path)
				assert.NotContains(t, <-reached, "Authorization", "it is no stream's business")
			}
			for _, wrong := range [][]string{nil, {caller + "x"}, {"Authorization: Bearer f0r-call"}, {"Authorization: Basic f0r-calls"}, {"Authorization: f0r-calls"}} {
				got := call(t, addr, "POST", path, "{}", wrong...)
				assert.Equal(t, http.StatusUnauthorized, got.StatusCode, "%s with %q", path, wrong)
				assert.Equal(t, "Bearer", got.Header.Get("WWW-Authenticate"))
			}
		}
		assert.Equal(t, "pong", call(t, addr, "GET", "/ping", "").text)
		assert.Equal(t, http.StatusNotFound, call(t, addr, "GET", "/nothing", "", caller).StatusCode)
	}
	assert.Empty(t, reached)

	// The API is the operator's, however a path of it is written.
	for _, r := range new(Server).apiRoutes() {
		if r.path == "/ping" || r.who == forCallers {
			continue
		}
		path := filled(upstreamPath(r.path))
		for _, target := range []string{path, "/benthos" + path} {
			for _, method := range verbs {
				got := call(t, main, method, target, "{}", caller)
				assert.Equal(t, http.StatusUnauthorized, got.StatusCode, "%s %s", method, target)
				if method != http.MethodHead {
					assert.Equal(t, "Error: send the bearer token of this server in the Authorization header: this one opens the streams' own endpoints only\n", got.text)
				}
				assert.Equal(t, "Bearer", got.Header.Get("WWW-Authenticate"))
				assert.Equal(t, http.StatusNotFound, call(t, functions, method, target, "{}", operator).StatusCode, "%s %s", method, target)
			}
		}
		for _, spelling := range spellings(path) {
			if _, err := url.ParseRequestURI(spelling); err != nil {
				continue
			}
			client := dial(t, main)
			client.send([]string{"GET " + spelling + " HTTP/1.1", "Host: x", caller, "Connection: close"}, "")
			assert.Contains(t, []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusBadRequest}, client.receive("GET").StatusCode, spelling)
		}
	}
	assert.Equal(t, "function POST", streams.lived().did, "calls were all that was done")
	assert.Len(t, streams.List(), 1)
	assert.Equal(t, http.StatusOK, call(t, main, "GET", "/streams", "", operator).StatusCode)

	// A stream that takes a path of the API over answers its callers.
	streams.paths = []string{"/metrics"}
	assert.Equal(t, http.StatusOK, call(t, main, "GET", "/metrics", "", caller).StatusCode)
	assert.NotContains(t, <-reached, "Authorization")
}

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// smuggled is a request that stands inside of the body of another one. It may
// be read from any of its first bytes, and must not be by the server.
const smuggled = "POST /victim/post HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nsmuggled"

// victim has a stream on which nothing may arrive but what is posted to it. It
// returns a check of that.
func victim(t *testing.T, p *penstock) (untouched func(t *testing.T, after string)) {
	t.Helper()
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/victim", `
input: {http_server: {}}
buffer: {memory: {}}
output: {http_server: {timeout: 5s}}
`)
	return func(t *testing.T, after string) {
		t.Helper()
		p.expect(t, http.StatusOK, http.MethodPost, "/victim/post", after)
		// What else has arrived is told once, and does not fail later checks.
		for {
			got := p.expect(t, http.StatusOK, http.MethodGet, "/victim/get", "").Text()
			if got == after {
				return
			}
			assert.Fail(t, "a message that nobody posted reached the stream", "%q", got)
		}
	}
}

// TestGatewayKeepsConnections answers early, before the body was read, in
// every way there is. Either the connection is good for the next request or it
// is closed; no byte of a body is ever taken for a request.
func TestGatewayKeepsConnections(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	untouched := victim(t, p)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/echo", echoYAML)
	for _, call := range []struct {
		line   string
		status int
	}{
		{"POST /nope", 404},
		{"POST /nope/post", 404},
		{"POST /echo/nope", 404},
		{"PUT /echo/post", 405},
		{"PURGE /echo/post", 405},
		{"POST /ping", 200},
		{"POST /version", 200},
		{"PUT /ping", 200},
		{"PATCH /streams", 400},
		{"GET /streams", 200},
		{"DELETE /streams/nope", 404},
		{"PUT /streams/nope", 400},
		{"POST /streams/echo", 400},
		{"POST /streams/.hidden", 400},
		{"POST /streams/new", 400},
		{"PUT /resources/cache/x", 400},
		{"POST /resources/nope/x", 400},
		{"GET /resources/cache/x", 404},
		{"GET /streams/echo/stats", 200},
		{"POST /benthos/nope", 404},
		{"POST /echo/post", 200},
		{"POST /echo/%zz", 400},
	} {
		for _, size := range []int{100, 100_000, 1_000_000} {
			for _, framing := range []string{"sized", "chunked", "announced"} {
				t.Run(fmt.Sprintf("%s with %d bytes %s", call.line, size, framing), func(t *testing.T) {
					body := strings.Repeat(smuggled, size/len(smuggled)+1)
					w := dialWire(t, p.client)
					request := call.line + " HTTP/1.1\r\nHost: a\r\n"
					switch framing {
					case "chunked":
						body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
						request += "Transfer-Encoding: chunked\r\n\r\n"
					case "announced":
						request += fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
					default:
						request += fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
					}
					request += body + "GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
					go func() {
						// A server that closes the connection does not take it all.
						_, _ = w.Write([]byte(request))
					}()
					method, _, _ := strings.Cut(call.line, " ")
					a, err := w.answer(method)
					if err == nil && a.Status == http.StatusContinue {
						a, err = w.answer(method)
					}
					require.NoError(t, err, "the answer must reach the client")
					assert.Equal(t, call.status, a.Status, "%s", a)
					if next, err := w.answer(http.MethodGet); err == nil {
						assert.True(t, next.Text() == "pong", "%s", next)
					}
					rest, err := w.rest()
					assert.NoError(t, err, "the connection must be closed")
					assert.Empty(t, string(rest))
				})
			}
		}
		untouched(t, "after "+call.line)
	}
}

// A body that nobody wants is refused with an answer that its client gets to
// read while it is sending.
func TestGatewayAnswersBeforeLargeBodies(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/echo", echoYAML)
	body := strings.Repeat("0123456789abcdef", 5<<16)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/streams/large", 413},
		{http.MethodPost, "/streams", 413},
		{http.MethodPut, "/streams/echo", 413},
		{http.MethodPatch, "/streams/echo", 413},
		{http.MethodPost, "/resources/cache/large", 413},
		{http.MethodPost, "/nope", 404},
		{http.MethodPost, "/nope/post", 404},
		{http.MethodPost, "/echo/nope", 404},
		{http.MethodPut, "/echo/post", 405},
	} {
		for range 3 {
			a, err := p.ask(t.Context(), request{Method: test.method, Path: test.path, Body: body})
			if assert.NoError(t, err, "%s %s", test.method, test.path) {
				assert.Equal(t, test.status, a.Status, "%s %s: %s", test.method, test.path, a)
			}
		}
		a, err := chunked(test.path, body)(t.Context(), p.client)
		if test.method == http.MethodPost && assert.NoError(t, err, "chunked to %s", test.path) {
			assert.Contains(t, a, fmt.Sprint(test.status), "chunked to %s", test.path)
		}
	}
	p.expect(t, http.StatusOK, http.MethodPost, "/echo/post", "still there")
}

// TestGatewayRefusesAmbiguousRequests sends what two servers may understand
// differently, or what breaks off. Nothing of it reaches a stream.
func TestGatewayRefusesAmbiguousRequests(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	untouched := victim(t, p)
	refusals := []int{http.StatusBadRequest, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported}
	const line = "POST /victim/post HTTP/1.1\n"
	for _, test := range []struct{ name, head, body string }{
		{"length and chunks", line + "Host: a\nContent-Length: 5\nTransfer-Encoding: chunked\n", "0\r\n\r\n"},
		{"chunks and length", line + "Host: a\nTransfer-Encoding: chunked\nContent-Length: 5\n", "0\r\n\r\n"},
		{"two lengths", line + "Host: a\nContent-Length: 5\nContent-Length: 6\n", "hello!"},
		{"two lengths in one", line + "Host: a\nContent-Length: 5, 6\n", "hello!"},
		{"negative length", line + "Host: a\nContent-Length: -1\n", "hello"},
		{"signed length", line + "Host: a\nContent-Length: +5\n", "hello"},
		{"length in hex", line + "Host: a\nContent-Length: 0x5\n", "hello"},
		{"empty length", line + "Host: a\nContent-Length:\n", "hello"},
		{"length with a blank", line + "Host: a\nContent-Length: 5 5\n", "hello"},
		{"length beyond any", line + "Host: a\nContent-Length: 99999999999999999999\n", "hello"},
		{"blank before the colon", line + "Host: a\nContent-Length : 5\n", "hello"},
		{"blank before the coding's colon", line + "Host: a\nTransfer-Encoding : chunked\n", "0\r\n\r\n"},
		{"unknown coding", line + "Host: a\nTransfer-Encoding: xchunked\n", "0\r\n\r\n"},
		{"coding before chunks", line + "Host: a\nTransfer-Encoding: gzip, chunked\n", "0\r\n\r\n"},
		{"chunks before a coding", line + "Host: a\nTransfer-Encoding: chunked, identity\n", "0\r\n\r\n"},
		{"two codings", line + "Host: a\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n", "0\r\n\r\n"},
		{"folded header", line + "Host: a\nX-A: b\n Content-Length: 5\nTransfer-Encoding:\n chunked\n", "0\r\n\r\n"},
		{"header without a colon", line + "Host: a\nnonsense\nContent-Length: 5\n", "hello"},
		{"header without a name", line + "Host: a\n: x\nContent-Length: 5\n", "hello"},
		{"no host", line + "Content-Length: 5\n", "hello"},
		{"two hosts", line + "Host: a\nHost: b\nContent-Length: 5\n", "hello"},
		{"unknown protocol", "POST /victim/post HTTP/3.7\nHost: a\nContent-Length: 5\n", "hello"},
		{"no protocol", "POST /victim/post\nHost: a\nContent-Length: 5\n", "hello"},
		{"NUL in a header", line + "Host: a\nX-A: a\x00b\nContent-Length: 5\n", "hello"},
		{"bare CR in a header", line + "Host: a\nX-A: a\rContent-Length: 7\nContent-Length: 5\n", "hello"},
		{"blank within a name", line + "Host: a\nX A: b\nContent-Length: 5\n", "hello"},
		{"control in a name", line + "Host: a\nX\x01A: b\nContent-Length: 5\n", "hello"},
		{"bracket in a name", line + "Host: a\nX(A): b\nContent-Length: 5\n", "hello"},
		{"letter beyond ASCII in a name", line + "Host: a\nÄ: b\nContent-Length: 5\n", "hello"},
		{"control in a header", line + "Host: a\nX-A: a\x01b\nContent-Length: 5\n", "hello"},
		{"DEL in a header", line + "Host: a\nX-A: a\x7fb\nContent-Length: 5\n", "hello"},
		{"folded by a tab", line + "Host: a\nX-A: b\n\tc\nContent-Length: 5\n", "hello"},
		{"the same length twice", line + "Host: a\nContent-Length: 5\nContent-Length: 5\n", "hello"},
		{"chunks in the old protocol", "POST /victim/post HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n", "5\r\nhello\r\n0\r\n\r\n"},
		{"chunks and length in the old protocol", "POST /victim/post HTTP/1.0\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n", "0\r\n\r\n"},
		{"chunk size of letters", line + "Host: a\nTransfer-Encoding: chunked\n", "xyz\r\nhello\r\n0\r\n\r\n"},
		{"negative chunk size", line + "Host: a\nTransfer-Encoding: chunked\n", "-5\r\nhello\r\n0\r\n\r\n"},
		{"signed chunk size", line + "Host: a\nTransfer-Encoding: chunked\n", "+5\r\nhello\r\n0\r\n\r\n"},
		{"prefixed chunk size", line + "Host: a\nTransfer-Encoding: chunked\n", "0x5\r\nhello\r\n0\r\n\r\n"},
		{"chunk size beyond any", line + "Host: a\nTransfer-Encoding: chunked\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
		{"empty chunk size", line + "Host: a\nTransfer-Encoding: chunked\n", "\r\nhello\r\n0\r\n\r\n"},
		{"chunk longer than its size", line + "Host: a\nTransfer-Encoding: chunked\n", "3\r\nhello\r\n0\r\n\r\n"},
		{"chunk shorter than its size", line + "Host: a\nTransfer-Encoding: chunked\n", "7\r\nhello\r\n0\r\n\r\n"},
		{"chunk size ended by LF", line + "Host: a\nTransfer-Encoding: chunked\n", "5\nhello\r\n0\r\n\r\n"},
		{"chunk ended by LF", line + "Host: a\nTransfer-Encoding: chunked\n", "5\r\nhello\n0\r\n\r\n"},
		{"chunk ended by nothing", line + "Host: a\nTransfer-Encoding: chunked\n", "5\r\nhello0\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := dialWire(t, p.client)
			w.send(t, crlf(test.head+"\n")+test.body+smuggled+smuggled)
			a, err := w.answer(http.MethodPost)
			if assert.NoError(t, err, "an answer must tell the client") {
				assert.Contains(t, refusals, a.Status, "%s", a)
			}
			rest, err := w.rest()
			assert.NoError(t, err, "the connection must be closed")
			assert.Empty(t, string(rest))
			untouched(t, test.name)
		})
	}
	for _, test := range []struct{ name, text string }{
		{"body that breaks off", line + "Host: a\nContent-Length: 1000\n\nhello"},
		{"body that never begins", line + "Host: a\nContent-Length: 1000\n\n"},
		{"chunk that breaks off", line + "Host: a\nTransfer-Encoding: chunked\n\n50\nhello"},
		{"chunks that break off", line + "Host: a\nTransfer-Encoding: chunked\n\n5\nhello\n"},
		{"chunks without the last line", line + "Host: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n"},
		{"announced body that breaks off", line + "Host: a\nExpect: 100-continue\nContent-Length: 1000\n\nhello"},
		{"head that breaks off", line + "Host: a\nContent-Len"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := dialWire(t, p.client)
			w.send(t, crlf(test.text))
			require.NoError(t, w.CloseWrite())
			rest, err := w.rest()
			require.NoError(t, err, "the connection must be closed")
			assert.NotContains(t, string(rest), "HTTP/1.1 200")
			untouched(t, test.name)
		})
	}
}

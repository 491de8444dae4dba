package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tellYAML answers a request with all that the stream knows about it.
const tellYAML = `
input:
  http_server:
    path: /item/{key}
    allowed_verbs: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]
pipeline:
  processors:
    - mapping: |
        root.meta = metadata()
        root.body = content().string()
output:
  sync_response: {}
`

// TestGatewayTellsAllOfARequest sends the same bytes to a stream behind the
// gateway and to one that upstream serves itself. What the streams are told,
// and what the clients are answered, is the same but for the headers that are
// about one connection only.
func TestGatewayTellsAllOfARequest(t *testing.T) {
	t.Parallel()
	ref, pen := startReference(t).client, startPenstock(t).client
	for _, c := range []*client{ref, pen} {
		c.expect(t, http.StatusOK, http.MethodPost, "/streams/tell", tellYAML)
		await(t, soonTimeout, "the stream's endpoint", func() error {
			a, err := c.ask(t.Context(), request{Method: http.MethodGet, Path: "/tell/item/x"})
			if err == nil && a.Status != http.StatusOK {
				err = fmt.Errorf("answered %s", a)
			}
			return err
		})
	}
	for _, test := range []struct{ name, head, body string }{
		{"nothing but the line", "GET /tell/item/x HTTP/1.1\nHost: a\n", ""},
		{"user agent", "GET /tell/item/x HTTP/1.1\nHost: a\nUser-Agent: Mozilla/5.0 (X11; Łódź)\n", ""},
		{"query", "POST /tell/item/x?a=1&a=2&b=%20x+y%2B&c&d==&%C3%A4=%C3%B6&e=http://f/?g HTTP/1.1\nHost: a\nContent-Length: 2\n", "hi"},
		{"semicolons in the query", "GET /tell/item/x?a=1;b=2&c=3 HTTP/1.1\nHost: a\n", ""},
		{"query that cannot be decoded", "GET /tell/item/x?a=%zz&b=2 HTTP/1.1\nHost: a\n", ""},
		{"empty query", "GET /tell/item/x? HTTP/1.1\nHost: a\n", ""},
		{"cookies", "GET /tell/item/x HTTP/1.1\nHost: a\nCookie: a=1; b=\"two words\"; a=3; c==; d\n", ""},
		{"cookies without blanks", "GET /tell/item/x HTTP/1.1\nHost: a\nCookie: a=1;b=2\n", ""},
		{"two lines of cookies", "GET /tell/item/x HTTP/1.1\nHost: a\nCookie: a=1\nCookie: b=2\n", ""},
		{"header twice", "GET /tell/item/x HTTP/1.1\nHost: a\nX-A: one\nx-a: two\n", ""},
		{"odd case", "GET /tell/item/x HTTP/1.1\nhOST: a\nx-OdD-cAsE: vAlUe\nETAG: x\nx_under_score: y\nDNT: 1\n", ""},
		{"white space around values", "GET /tell/item/x HTTP/1.1\nHost: a\nX-A:\t one  two \t\nX-Empty:\n", ""},
		{"values beyond ASCII", "GET /tell/item/x HTTP/1.1\nHost: a\nX-A: ząb\n", ""},
		{"forwarded", "GET /tell/item/x HTTP/1.1\nHost: a\nX-Forwarded-For: 192.0.2.1, 192.0.2.2\nForwarded: for=192.0.2.1\nX-Real-IP: 192.0.2.3\nVia: 1.1 proxy\n", ""},
		{"authorization", "GET /tell/item/x HTTP/1.1\nHost: a\nAuthorization: Basic YTpi\n", ""},
		{"all sorts", "POST /tell/item/x HTTP/1.1\nHost: a\nAccept: */*\nAccept-Encoding: gzip, br\nAccept-Language: de\nReferer: http://b/\nOrigin: http://b\nRange: bytes=0-1\nIf-None-Match: \"x\"\nCache-Control: no-cache\nPragma: no-cache\nDate: Mon, 01 Jan 2024 00:00:00 GMT\nServer: me\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nContent-Type: text/weird; charset=x\nContent-Encoding: identity\nContent-Length: 2\n", "hi"},
		{"chunked", "POST /tell/item/x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n", "2\r\nhi\r\n3;ext=1\r\n yo\r\n0\r\n\r\n"},
		{"chunked with a trailer", "POST /tell/item/x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: X-T\n", "2\r\nhi\r\n0\r\nX-T: later\r\n\r\n"},
		{"announced", "PUT /tell/item/x HTTP/1.1\nHost: a\nContent-Length: 2\n", "hi"},
		{"form", "PATCH /tell/item/x?a=1 HTTP/1.1\nHost: a\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 7\n", "a=2&b=3"},
		{"multipart", "POST /tell/item/x HTTP/1.1\nHost: a\nContent-Type: multipart/form-data; boundary=q\nContent-Length: 61\n",
			"--q\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nhello\r\n--q--"},
		{"GET with a body", "GET /tell/item/x HTTP/1.1\nHost: a\nContent-Length: 2\n", "hi"},
		{"DELETE with a body", "DELETE /tell/item/x HTTP/1.1\nHost: a\nContent-Length: 2\n", "hi"},
		{"HEAD", "HEAD /tell/item/x HTTP/1.1\nHost: a\n", ""},
		{"OPTIONS", "OPTIONS /tell/item/x HTTP/1.1\nHost: a\nAccess-Control-Request-Method: POST\n", ""},
		{"a verb of its own", "PURGE /tell/item/x HTTP/1.1\nHost: a\n", ""},
		{"a verb that is not allowed", "TRACE /tell/item/x HTTP/1.1\nHost: a\n", ""},
		{"escaped blank and plus", "GET /tell/item/a%20b+c%2Bd HTTP/1.1\nHost: a\n", ""},
		{"escaped and bare UTF-8", "GET /tell/item/%C3%A4ö HTTP/1.1\nHost: a\n", ""},
		{"escaped slash", "GET /tell/item/a%2Fb HTTP/1.1\nHost: a\n", ""},
		{"escaped percent", "GET /tell/item/100%25 HTTP/1.1\nHost: a\n", ""},
		{"escapes in lower case", "GET /tell/item/%c3%a4%7e~ HTTP/1.1\nHost: a\n", ""},
		{"needless escapes", "GET /tell/%69tem/%41 HTTP/1.1\nHost: a\n", ""},
		{"punctuation", "GET /tell/item/a:b;c=d,e@f!$&'()*[]| HTTP/1.1\nHost: a\n", ""},
		{"escape that is none", "GET /tell/item/%zz HTTP/1.1\nHost: a\n", ""},
		{"two slashes", "GET /tell//item/x HTTP/1.1\nHost: a\n", ""},
		{"dots", "GET /tell/item/../item/x HTTP/1.1\nHost: a\n", ""},
		{"dots out of the stream", "GET /tell/item/../../streams HTTP/1.1\nHost: a\n", ""},
		{"escaped dots", "GET /tell/item/%2e%2e HTTP/1.1\nHost: a\n", ""},
		{"slash at the end", "GET /tell/item/x/ HTTP/1.1\nHost: a\n", ""},
		{"whole URL", "GET http://elsewhere.example/tell/item/x?a=b HTTP/1.1\nHost: a\n", ""},
		{"fragment", "GET /tell/item/x#y HTTP/1.1\nHost: a\n", ""},
		{"old protocol", "GET /tell/item/x HTTP/1.0\n", ""},
		{"long header", "GET /tell/item/x HTTP/1.1\nHost: a\nX-Long: " + strings.Repeat("long ", 16<<10/5) + "\n", ""},
		{"long query", "GET /tell/item/x?q=" + strings.Repeat("long", 16<<10/4) + " HTTP/1.1\nHost: a\n", ""},
		{"a hundred headers", "GET /tell/item/x HTTP/1.1\nHost: a\n" + manyHeaders(100), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			method, _, _ := strings.Cut(test.head, " ")
			exchange := func(c *client) answer {
				w := dialWire(t, c)
				w.send(t, crlf(test.head+"\n")+test.body)
				return w.mustAnswer(t, method)
			}
			theirs, ours := exchange(ref), exchange(pen)
			t.Logf("upstream: %s", theirs)
			assert.Equal(t, theirs.Status, ours.Status, "penstock answered %s", ours)
			if theirs.Status == http.StatusBadRequest {
				return // Upstream's server refuses it without a reason.
			}
			assert.Equal(t, told(theirs), told(ours))
			// The bodies differ by what a proxy tells, and what is longer than a buffer
			// of theirs they send in chunks.
			want, got := wireHeaders(theirs), wireHeaders(ours)
			if len(ours.Body) <= 2048 {
				assert.Equal(t, want.Get("Content-Length") == "", got.Get("Content-Length") == "")
			}
			want.Del("Content-Length")
			got.Del("Content-Length")
			assert.Equal(t, want, got)
		})
	}
}

func manyHeaders(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: %d\n", i, i)
	}
	return b.String()
}

// told is what tellYAML answered, or the text of an answer by others.
func told(a answer) any {
	var v struct {
		Meta map[string]any
		Body any
	}
	body := a.Body
	if packed, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
		body, _ = io.ReadAll(packed)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return a.Text()
	}
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		// These are a proxy's to tell.
		delete(v.Meta, name)
	}
	return map[string]any{"meta": v.Meta, "body": v.Body}
}

// wireHeaders leaves out what depends on the moment.
func wireHeaders(a answer) http.Header {
	h := a.Header.Clone()
	if h.Get("Date") != "" {
		h.Set("Date", "present")
	}
	return h
}

// The headers that the gateway deals with itself: those about one connection,
// which no proxy hands on, and the one that it tells the runner of the client.
func TestGatewayKeepsItsOwnHeaders(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/tell", tellYAML)
	meta := func(head, body string) map[string]any {
		t.Helper()
		w := dialWire(t, p.client)
		w.send(t, crlf(head+"\n")+body)
		a := w.mustAnswer(t, http.MethodPost)
		var v struct{ Meta map[string]any }
		require.NoError(t, json.Unmarshal(a.Body, &v), "%s", a)
		return v.Meta
	}
	want := map[string]any{
		"http_server_remote_ip": "127.0.0.1", "http_server_user_agent": "", "http_server_verb": "GET",
		"http_server_request_path": "/tell/item/x", "key": "x",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "a", "X-Forwarded-Proto": "http",
	}
	assert.Equal(t, want, meta("GET /tell/item/x HTTP/1.1\nHost: a\n", ""))
	for _, forged := range []string{
		"X-Penstock-Remote-Addr: 192.0.2.9:1",
		"x-penstock-remote-addr: 192.0.2.9:1\nX-Penstock-Remote-Addr: 192.0.2.8:1",
		"X-Penstock-Remote-Addr:",
		"Connection: X-Penstock-Remote-Addr\nX-Penstock-Remote-Addr: 192.0.2.9:1",
		"Connection: close",
		"Connection: keep-alive, X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5",
		"TE: trailers",
		"Proxy-Connection: keep-alive",
		"Connection: Upgrade\nUpgrade: h2c",
	} {
		got := meta("GET /tell/item/x HTTP/1.1\nHost: a\n"+forged+"\n", "")
		// The engine upgrades at its own paths only; elsewhere it sees these.
		delete(got, "Connection")
		delete(got, "Upgrade")
		assert.Equal(t, want, got, forged)
	}
}

func TestGatewayAnswersAsTheStreamSays(t *testing.T) {
	t.Parallel()
	ref, pen := startReference(t).client, startPenstock(t).client
	const config = `
input:
  http_server:
    path: /a
    allowed_verbs: [GET, HEAD, POST, PUT]
    sync_response:
      status: '${! @status.or("200") }'
      headers:
        Content-Type: application/x-own; charset=utf-8
        Set-Cookie: 'a="b c"; Path=/; Max-Age=5; SameSite=Lax; Partitioned; Secure; HttpOnly'
        Server: mine
        Cache-Control: no-store
        ETag: '"x"'
        X-Text: '${! @text.or("none") }'
        Location: /elsewhere?a=%20
        Retry-After: '7'
        WWW-Authenticate: Basic realm="x"
        Content-Encoding: identity
        X-Length: '${! content().length() }'
      metadata_headers:
        include_prefixes: [z_]
pipeline:
  processors:
    - mapping: |
        root = content()
        meta z_one = "1"
output:
  sync_response: {}
`
	for _, c := range []*client{ref, pen} {
		c.expect(t, http.StatusOK, http.MethodPost, "/streams/s", config)
		await(t, soonTimeout, "the stream's endpoint", func() error {
			_, err := refuseNot(c.ask(t.Context(), request{Method: http.MethodPost, Path: "/s/a", Body: "x"}))
			return err
		})
	}
	for _, status := range []int{200, 201, 202, 203, 204, 205, 206, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 415, 418, 421, 422, 425, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 507, 599} {
		for _, head := range []string{"POST /s/a?status=%d&text=some%%20text HTTP/1.1\nContent-Length: 5\n", "HEAD /s/a?status=%d HTTP/1.1\n", "GET /s/a?status=%d HTTP/1.1\n"} {
			method, _, _ := strings.Cut(head, " ")
			exchange := func(c *client) (first, second answer) {
				w := dialWire(t, c)
				text := crlf(fmt.Sprintf(head, status) + "Host: a\n\n")
				if method == http.MethodPost {
					text += "hello"
				}
				w.send(t, text)
				first = w.mustAnswer(t, method)
				// The connection is as good as before.
				w.send(t, crlf("POST /s/a?status=200 HTTP/1.1\nHost: a\nContent-Length: 5\n\n")+"again")
				return first, w.mustAnswer(t, http.MethodPost)
			}
			theirs, theirSecond := exchange(ref)
			ours, ourSecond := exchange(pen)
			what := fmt.Sprintf("%s %d", method, status)
			assert.Equal(t, theirs.Status, ours.Status, what)
			assert.Equal(t, string(theirs.Body), string(ours.Body), what)
			assert.Equal(t, wireHeaders(theirs), wireHeaders(ours), what)
			assert.Equal(t, theirSecond.Status, ourSecond.Status, "%s: the next answer", what)
			assert.Equal(t, string(theirSecond.Body), string(ourSecond.Body), "%s: the next answer", what)
		}
	}
}

// refuseNot makes an answer that says the stream is not there yet an error.
func refuseNot(a answer, err error) (answer, error) {
	if err == nil && (a.Status == http.StatusNotFound || a.Status == http.StatusServiceUnavailable) {
		err = fmt.Errorf("answered %s", a)
	}
	return a, err
}

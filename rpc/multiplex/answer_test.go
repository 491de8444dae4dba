package multiplex

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnswers: what a handler does, and what comes of it, as with Go's server.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("0123456789", 15_000)
	for name, test := range map[string]struct {
		method  string
		handler http.HandlerFunc
		status  int
		length  int64
		header  http.Header
		body    string
		// fails says that the answer does not come to its end.
		fails bool
	}{
		"nothing": {handler: func(http.ResponseWriter, *http.Request) {}, status: 200, header: http.Header{}},
		"short": {
			handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
			status:  200, length: 5, body: "hello", header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		},
		"a type of its own": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "x/y")
				w.WriteHeader(http.StatusTeapot)
				w.WriteHeader(http.StatusOK)
				w.Header().Set("X-Late", "x")
				_, _ = io.WriteString(w, "hello")
			},
			status: 418, length: 5, body: "hello", header: http.Header{"Content-Type": {"x/y"}},
		},
		"no type": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				_, _ = io.WriteString(w, "hello")
			},
			status: 200, length: 5, body: "hello", header: http.Header{},
		},
		"no length": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Length"] = nil
				w.Header()["Content-Type"] = nil
				_, _ = io.WriteString(w, "hello")
			},
			status: 200, length: 5, body: "hello", header: http.Header{},
		},
		"flushed": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				_, _ = io.WriteString(w, "hello")
			},
			status: 200, length: -1, body: "hello", header: http.Header{},
		},
		"long": {
			handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) },
			status:  200, length: int64(len(long)), body: long, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		},
		"announced": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "150000")
				_, _ = io.WriteString(w, long)
			},
			status: 200, length: 150_000, body: long, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		},
		"announced what is no number": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				w.Header().Set("Content-Length", "many")
				_, _ = io.WriteString(w, "hello")
			},
			status: 200, length: 5, body: "hello", header: http.Header{},
		},
		"announced too much": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "6")
				_, _ = io.WriteString(w, "hello")
			},
			fails: true,
		},
		"announced too little": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				w.Header().Set("Content-Length", "5")
				_, _ = io.WriteString(w, "hello")
				_, err := io.WriteString(w, "!")
				if err != http.ErrContentLength { //nolint:errorlint // It is not wrapped.
					panic(err)
				}
			},
			status: 200, length: 5, body: "hello", header: http.Header{},
		},
		"HEAD": {
			method: "HEAD", handler: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
			status: 200, length: 5, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		},
		"HEAD of much": {
			method: "HEAD", handler: func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(long); i += 10_000 {
					_, _ = io.WriteString(w, long[i:i+10_000])
				}
			},
			status: 200, length: 150_000, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		},
		"HEAD, flushed": {
			method: "HEAD", handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				_, _ = io.WriteString(w, "hello")
				w.(http.Flusher).Flush()
				_, _ = io.WriteString(w, "hello")
			},
			status: 200, length: -1, header: http.Header{},
		},
		"204": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusNoContent)
				if _, err := io.WriteString(w, "x"); err != http.ErrBodyNotAllowed { //nolint:errorlint // It is not wrapped.
					panic(err)
				}
			},
			status: 204, length: -1, header: http.Header{},
		},
		"304": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "x/y")
				w.Header().Set("ETag", "z")
				w.WriteHeader(http.StatusNotModified)
			},
			status: 304, length: -1, header: http.Header{"Etag": {"z"}},
		},
		"103 before": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusAccepted)
			},
			status: 202, header: http.Header{},
		},
		"line ends in headers": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-A", "b\r\nX-Forged: c\x00")
				w.Header()["X-B\r\nX-Forged"] = []string{"c"}
				w.Header()["X B"] = []string{"c"}
			},
			status: 200, header: http.Header{"X-A": {"b  X-Forged: c "}},
		},
		"huge headers": {
			handler: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-A", strings.Repeat("x", maxHead)) },
			fails:   true,
		},
		"large headers": {
			handler: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-A", strings.Repeat("x", maxHead-100)) },
			status:  200, header: http.Header{"X-A": {strings.Repeat("x", maxHead-100)}},
		},
		"invalid status": {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(99) }, fails: true},
		"aborts":         {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fails: true},
		"panics":         {handler: func(http.ResponseWriter, *http.Request) { panic("deliberate") }, fails: true},
		"panics with an answer begun": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, long)
				panic("deliberate")
			},
			fails: true,
		},
		"ends its goroutine": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "half of an ans")
				runtime.Goexit()
			},
			fails: true,
		},
		"does not read": {
			method: "POST", handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
			status: 409, header: http.Header{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := runner(t, test.handler)
			ask := func() reply {
				of := call{method: test.method, uri: "/"}
				if test.method == "POST" {
					of.body = noise(5 << 20)
				}
				return ask(t, client, of)
			}
			got := ask()
			if test.fails {
				assert.ErrorIs(t, got.err, ErrAborted)
			} else {
				require.NoError(t, got.err)
				assert.Equal(t, test.status, got.Status)
				assert.Equal(t, test.length, got.ContentLength)
				assert.Equal(t, test.header, got.header)
				same(t, []byte(test.body), got.body, "the body")
			}
			// The connection is none the worse for it.
			before := client.conn
			assert.Equal(t, got.err, ask().err)
			assert.True(t, before == client.conn, "another connection")
		})
	}
}

// What a handler does once it has returned is in vain, and does no harm.
func TestAfterTheHandler(t *testing.T) {
	late := make(chan *http.Request, 1)
	client := runner(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { late <- r }))
	got := ask(t, client, call{method: "POST", uri: "/", body: noise(1 << 20)})
	require.NoError(t, got.err)
	r := <-late
	<-r.Context().Done()
	await(t, "the end of the body", func() bool {
		_, err := r.Body.Read(make([]byte, 1))
		return err == errBodyAfterHandler //nolint:errorlint // It is not wrapped.
	})
	require.NoError(t, ask(t, client, call{method: "GET", uri: "/"}).err)
}

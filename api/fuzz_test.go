package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzConfigBody sends a body to every route that takes one, over a socket.
// Whatever it is, the answer is 200, 400 or 413, and what was accepted can be
// read again.
func FuzzConfigBody(f *testing.F) {
	const limit = 4096
	for _, seed := range []string{
		"", "{}", "null", "---", "# nothing", "[]", "x", "a: [", `{"a": 1, "b": [true, null, 1e400, "\ud800"]}`,
		"input: {generate: {mapping: 'root = \"${NAME:x}\"'}}\noutput: {drop: {}}\n",
		"a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n",
		"a: &x [*x]", "a: &a [1]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
		"? {a: b}\n: c\n", "1: a\ntrue: b\n", "a: 1\na: 2\n", "a: !!binary aGk=\nb: !!timestamp 2001-01-01\nc: .nan\nd: -.inf\n",
		"a: 1\n---\nb: 2\n", "\xff\xfe", "\ufeff{}", "a: \"\\x00\"", "a: |\n  x\r\n  y\n",
		strings.Repeat("[", 101) + strings.Repeat("]", 101), configOf(limit), configOf(limit + 1),
	} {
		f.Add([]byte(seed))
	}
	cfg := testConfig()
	cfg.MaxBodyBytes = limit
	streams := newRecorder()
	addr := serve(f, cfg, streams)
	client := &http.Client{Transport: streams.transport}

	send := func(t *testing.T, method, path string, body []byte) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, bytes.NewReader(body))
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, text
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, target := range []string{"POST /streams", "POST /streams/a", "PUT /streams/a", "PATCH /streams/a", "POST /resources/cache/a"} {
			method, path, _ := strings.Cut(target, " ")
			status, text := send(t, method, path, body)
			switch {
			case len(body) > limit:
				require.Equal(t, http.StatusRequestEntityTooLarge, status)
			case status == http.StatusOK:
				require.Empty(t, text)
			default:
				require.Equal(t, http.StatusBadRequest, status, "%s: %s", target, text)
			}
			if status != http.StatusOK {
				require.True(t, bytes.HasPrefix(text, []byte("Error: ")), "%s: %q", target, text)
				require.Equal(t, len(text)-1, bytes.IndexByte(text, '\n'), "%s: %q", target, text)
				continue
			}
			if path == "/streams" {
				for _, snap := range streams.List() {
					_, err := json.Marshal(snap.Document.Value())
					require.NoError(t, err)
				}
				continue
			}
			status, text = send(t, http.MethodGet, path, nil)
			require.Equal(t, http.StatusOK, status, "%s", text)
			require.True(t, json.Valid(text), "%s: %q", target, text)
		}
	})
}

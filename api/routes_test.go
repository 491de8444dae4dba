package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

// echoURI answers with the target of the request.
func echoURI(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte("stream got " + r.RequestURI))
}

func TestBelowRoot(t *testing.T) {
	const noRoute = "404 page not found\n"
	for _, c := range []struct{ root, owner, target, want string }{
		{"/benthos", "foo", "/benthos/ping", "pong"},
		{"/benthos", "foo", "/benthos/ping?x=/benthos", "pong"},
		{"/benthos", "foo", "/benthos/foo/post", "stream got /foo/post"},
		{"/benthos", "foo", "/benthos/foo/a%2Fb/%20?q=%2F&benthos=/benthos", "stream got /foo/a%2Fb/%20?q=%2F&benthos=/benthos"},
		{"/benthos", "foo", "/foo/benthos/ping", "stream got /foo/benthos/ping"},
		{"/benthos", "foo", "/benthos", noRoute},
		{"/benthos", "foo", "/benthos?x=1", noRoute},
		{"/benthos", "foo", "/benthosx/ping", noRoute},
		{"/benthos", "foo", "/Benthos/ping", noRoute},
		{"/benthos", "foo", "/benthos/nothing", noRoute},
		{"/a/b", "foo", "/a/b/ping", "pong"},
		{"/a/b", "foo", "/a/ping", noRoute},
		{"", "foo", "/ping", "pong"},
		{"", "foo", "/benthos/ping", noRoute},
		{"/benthos", "benthos", "/benthos/ping", "stream got /benthos/ping"},
		{"/benthos", "benthos", "/ping", "pong"},
	} {
		t.Run(c.root+" "+c.owner+" "+c.target, func(t *testing.T) {
			streams := behind(t, echoURI)
			streams.owner = c.owner
			doc, err := document.Parse([]byte("{}"))
			require.NoError(t, err)
			require.NoError(t, streams.Create(t.Context(), c.owner, doc, supervisor.Change{}))
			cfg := testConfig()
			cfg.RootPath = c.root
			assert.Equal(t, c.want, call(t, serve(t, cfg, streams), "GET", c.target, "").text)
		})
	}
}

func TestParametersOfAChange(t *testing.T) {
	streams := newRecorder()
	addr := serve(t, testConfig(), streams)
	for query, want := range map[string]supervisor.Change{
		"":                         {},
		"?chilled=true&timeout=5s": {Chilled: true, Timeout: 5 * time.Second},
		"?chilled=1&timeout=5":     {},
		"?chilled=false":           {},
		"?timeout=0s":              {Timeout: time.Millisecond},
		"?timeout=-1h":             {Timeout: time.Millisecond},
	} {
		for _, target := range []string{
			"POST /streams", "POST /streams/a", "PUT /streams/a", "PATCH /streams/a", "POST /resources/cache/a",
			"POST /benthos/streams/a",
		} {
			method, path, _ := strings.Cut(target, " ")
			got := call(t, addr, method, path+query, "{a: 1}")
			require.Equal(t, http.StatusOK, got.StatusCode, "%s%s: %s", target, query, got.text)
			assert.Empty(t, got.text)
			assert.Equal(t, want, streams.lastChange(), target+query)
		}
		call(t, addr, "DELETE", "/streams/a"+query, "")
		assert.Equal(t, want.Timeout, streams.lastChange().Timeout, query)
	}
}

func TestIDsAreDecodedOnce(t *testing.T) {
	streams := newRecorder()
	addr := serve(t, testConfig(), streams)
	for target, want := range map[string]string{
		"/streams/a.b-c_D": "a.b-c_D", "/streams/a%2Fb": "a/b", "/streams/%252e": "%2e", "/streams/a%20b": "a b", "/streams/..": "..",
		"/benthos/streams/c%2Fb": "c/b", "/benthos/streams/%252f": "%2f",
	} {
		client := dial(t, addr)
		client.send([]string{"POST " + target + " HTTP/1.1", "Host: x", "Content-Length: 2"}, "{}")
		require.Equal(t, http.StatusOK, client.receive("POST").StatusCode, target)
		_, err := streams.Get(want)
		assert.NoError(t, err, target)
	}
}

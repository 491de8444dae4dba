package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nameYAML is a stream that answers at a path with a text of its own and with
// what it was asked for.
func nameYAML(path, name string) string {
	return fmt.Sprintf(`
input: {http_server: {path: %q, allowed_verbs: [GET, POST], ws_path: ""}}
pipeline: {processors: [{mapping: 'root = %q + " " + @http_server_request_path'}]}
output: {sync_response: {}}
`, path, name)
}

func TestGatewayPathsOfAStream(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/all", nameYAML("/", "all"))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/below", nameYAML("/sub/", "below"))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/v1.2_x-y", nameYAML("/a/{b}/{c:[0-9]+}", "odd"))
	for _, test := range []struct {
		path, want string
		status     int
	}{
		{"/all", "all /all", 200},
		{"/all/", "all /all/", 200},
		{"/all/anything", "all /all/anything", 200},
		{"/all/any/thing/else", "all /all/any/thing/else", 200},
		{"/all/streams", "all /all/streams", 200},
		{"/all?a=b", "all /all", 200},
		{"/all/%E6%BC%A2%20x", "all /all/漢 x", 200},
		{"/benthos/all/anything?x=y", "", 200},
		{"/allx", "404 page not found", 404},
		{"/below/sub/", "below /below/sub/", 200},
		{"/below/sub/x", "below /below/sub/x", 200},
		{"/below", "404 page not found", 404},
		{"/below/other", "404 page not found", 404},
		{"/v1.2_x-y/a/b/12", "odd /v1.2_x-y/a/b/12", 200},
		{"/v1.2_x-y/a/b/c", "404 page not found", 404},
		{"/", "404 page not found", 404},
		{"/nope", "404 page not found", 404},
		{"/benthos", "404 page not found", 404},
	} {
		a := p.call(t, http.MethodGet, test.path, "")
		assert.Equal(t, test.status, a.Status, "%s: %s", test.path, a)
		if test.want != "" {
			assert.Equal(t, test.want, a.Text(), test.path)
		}
	}
	// The stream's own /ready is not lost to a path that takes everything.
	awaitReady(t, p.client)
	a := p.expect(t, http.StatusOK, http.MethodGet, "/below/ready", "")
	_, err := a.JSON()
	assert.NoError(t, err)
}

// Ids that are also paths of the API, and below the API's prefix.
func TestGatewayIDsOfAPIPaths(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	for _, id := range []string{"ping", "ready", "streams", "resources", "endpoints", "version", "benthos"} {
		p.expect(t, http.StatusOK, http.MethodPost, "/streams/"+id, nameYAML("/post", id))
		a := p.expect(t, http.StatusOK, http.MethodGet, "/streams/"+id, "")
		assert.NoError(t, active(true)(a), id)
	}
	assert.Equal(t, "pong", p.expect(t, http.StatusOK, http.MethodGet, "/ping", "").Text())
	awaitReady(t, p.client)
	assert.Equal(t, "OK", p.expect(t, http.StatusOK, http.MethodGet, "/ready", "").Text())
	for _, id := range []string{"ping", "ready", "endpoints", "version", "benthos"} {
		a := p.expect(t, http.StatusOK, http.MethodPost, "/"+id+"/post", "")
		assert.Equal(t, id+" /"+id+"/post", a.Text(), "what the API does not serve is the stream's")
	}
}

func TestGatewayWithoutPrefix(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--prefix-stream-endpoints=false")
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/a", nameYAML("/a", "a"))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/b", nameYAML("/b/{x}", "b"))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/greedy", nameYAML("/streams", "greedy"))
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/greedier", nameYAML("/ping", "greedier"))
	get := func(status int, path string) string {
		t.Helper()
		return p.expect(t, status, http.MethodGet, path, "").Text()
	}
	assert.Equal(t, "a /a", get(200, "/a"))
	assert.Equal(t, "b /b/y", get(200, "/b/y"))
	assert.Equal(t, "404 page not found", get(404, "/a/a"))
	assert.Equal(t, "404 page not found", get(404, "/b"))
	assert.Equal(t, "pong", get(200, "/ping"), "the API's routes win")
	assert.Contains(t, get(200, "/streams"), `"greedy"`, "the API's routes win")
	get(200, "/benthos/a")

	// The last one that serves a path has it; the other has it again then.
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/c", nameYAML("/a", "c"))
	assert.Equal(t, "c /a", get(200, "/a"))
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/c", "")
	assert.Equal(t, "a /a", get(200, "/a"))
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/a", "")
	assert.Equal(t, "404 page not found", get(404, "/a"))

	var endpoints map[string]string
	p.getJSON(t, "/endpoints", &endpoints)
	assert.Contains(t, endpoints, "/b/{x}")
	assert.NotContains(t, endpoints, "/a")
}

// An input that is a resource has endpoints, too, once its stream reads from
// it.
func TestGatewayPathsOfResources(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/input/door", "http_server: {path: /in}")
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/s", "input: {resource: door}\noutput: {sync_response: {}}\n")
	await(t, soonTimeout, "the endpoint /s/in", func() error {
		_, err := refuseNot(p.ask(t.Context(), request{Method: http.MethodPost, Path: "/s/in", Body: "x"}))
		return err
	})
}

func TestGatewayRootPath(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/benthos/streams/foo", nameYAML("/post", "foo"))
	p.expect(t, http.StatusOK, http.MethodGet, "/benthos/streams/foo", "")
	awaitReady(t, p.client)
	p.expect(t, http.StatusOK, http.MethodGet, "/benthos/ready", "")
	assert.Equal(t, "pong", p.expect(t, http.StatusOK, http.MethodGet, "/benthos/ping", "").Text())
	assert.Contains(t, p.expect(t, http.StatusOK, http.MethodPost, "/benthos/foo/post?a=b", "").Text(), "foo ")
	p.expect(t, http.StatusNotFound, http.MethodGet, "/benthos/benthos/ping", "")
	p.expect(t, http.StatusNotFound, http.MethodGet, "/benthosping", "")

	other := startPenstock(t, "--set", "http.root_path=/one/two")
	assert.Equal(t, "pong", other.expect(t, http.StatusOK, http.MethodGet, "/one/two/ping", "").Text())
	other.expect(t, http.StatusNotFound, http.MethodGet, "/benthos/ping", "")
	none := startPenstock(t, "--set", "http.root_path=")
	none.expect(t, http.StatusNotFound, http.MethodGet, "/benthos/ping", "")
}

// While a stream's runner is down its clients are told so, and why.
func TestGatewayWhileARunnerIsDown(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "restart.initial=1h", "--set", "restart.max=1h")
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/down", echoYAML)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/up", echoYAML)
	awaitReady(t, p.client)
	// The first attempt to start it again is made at once.
	first := runnerOf(t, p.client, "down")
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	second := 0
	await(t, soonTimeout, "another runner", func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/streams/down/stats"})
		if err != nil {
			return err
		}
		var stats struct{ Process struct{ PID int } }
		if err := json.Unmarshal(a.Body, &stats); err != nil || stats.Process.PID == 0 || stats.Process.PID == first {
			return fmt.Errorf("answered %s", a)
		}
		second = stats.Process.PID
		return nil
	})
	require.NoError(t, syscall.Kill(second, syscall.SIGKILL))
	await(t, soonTimeout, "the stream to be down", func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/streams/down"})
		if err != nil {
			return err
		}
		return active(false)(a)
	})

	for _, call := range []string{"POST /down/post", "GET /down/post", "GET /down/post/ws", "POST /down/nope", "GET /benthos/down/post"} {
		method, path, _ := strings.Cut(call, " ")
		a := p.expect(t, http.StatusServiceUnavailable, method, path, "")
		assert.NoError(t, line("down", "killed")(a), call)
	}
	a := p.expect(t, http.StatusServiceUnavailable, http.MethodGet, "/down/ready", "")
	v, err := a.JSON()
	require.NoError(t, err)
	assert.Contains(t, v, "error", "%s", a)
	assert.Contains(t, v, "statuses", "%s", a)
	a = p.expect(t, http.StatusServiceUnavailable, http.MethodGet, "/ready", "")
	assert.NoError(t, line("down", "killed")(a))
	assert.NotContains(t, a.Text(), "up:")
	p.expect(t, http.StatusOK, http.MethodGet, "/up/ready", "")
	assert.Equal(t, "x", p.expect(t, http.StatusOK, http.MethodPost, "/up/post", "x").Text())

	// An update brings it back at once.
	p.expect(t, http.StatusOK, http.MethodPut, "/streams/down", nameYAML("/post", "back"))
	assert.Equal(t, "back /down/post", p.expect(t, http.StatusOK, http.MethodPost, "/down/post", "").Text())
	awaitReady(t, p.client)
}

// Headers up to 16 KB pass; a head that no server takes is refused with a
// reason, and harms nobody.
func TestGatewayLongHeads(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/tell", tellYAML)
	value := strings.Repeat("long", 4<<10)
	w := dialWire(t, p.client)
	for range 3 {
		w.send(t, "GET /tell/item/x HTTP/1.1\r\nHost: a\r\nX-Long: "+value+"\r\n\r\n")
		a := w.mustAnswer(t, http.MethodGet)
		assert.NoError(t, jsonAt(value, "meta", "X-Long")(a))
	}
	for _, head := range []string{
		"GET /tell/item/x HTTP/1.1\r\nHost: a\r\nX-Long: " + strings.Repeat("long", 1<<20) + "\r\n\r\n",
		"GET /tell/item/" + strings.Repeat("long", 1<<20) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /tell/item/x HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", 1<<19) + "\r\n",
	} {
		w := dialWire(t, p.client)
		go func() { _, _ = w.Write([]byte(head)) }()
		if a, err := w.answer(http.MethodGet); err == nil {
			assert.Contains(t, []int{http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestURITooLong, http.StatusBadRequest}, a.Status)
			assert.Less(t, len(a.Body), 1000, "an answer is one line")
		}
		_, err := w.rest()
		assert.NoError(t, err, "the connection must be closed")
	}
	p.expect(t, http.StatusOK, http.MethodGet, "/tell/item/x", "")
}

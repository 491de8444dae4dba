package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLifecycleRefusedChange: whatever is wrong with a new config, the old
// stream runs on, in the same process, and misses no request.
func TestLifecycleRefusedChange(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	awaitEcho(t, p.client, "/a/post", "a")
	pid := awaitPID(t, p.client, "a")
	requests := newLoad(t)
	requests.echo(p.Base, "a", "a", 2*time.Millisecond)

	for _, method := range []string{"PUT", "PATCH"} {
		for name, config := range map[string]string{
			"a lint error":        misspeltYAML,
			"a build error":       unbuildableYAML,
			"what is not YAML":    "input: [",
			"an alias of itself":  "input: &a {try: *a}",
			"an unknown resource": "input: {resource: no_such_input}",
		} {
			a := p.expect(t, 400, method, "/streams/a", config)
			assert.NotEmpty(t, a.Text(), "%s with %s", method, name)
			if config == misspeltYAML {
				assert.Contains(t, a.Text(), "no_such_field")
				assert.Contains(t, a.Text(), "lint_errors")
			}
			assert.Equal(t, pid, awaitPID(t, p.client, "a"), "%s with %s", method, name)
		}
	}
	p.expect(t, 400, "POST", "/streams/a", echo("b"))
	p.expect(t, 404, "PUT", "/streams/b", echo("b"))
	p.expect(t, 404, "PATCH", "/streams/b", echo("b"))

	served := requests.sum()
	t.Log(served)
	assert.Empty(t, served.Failures)
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
	assert.Len(t, p.runners(), 1)
	var detail struct {
		Config struct {
			Output map[string]any
		}
	}
	p.getJSON(t, "/streams/a", &detail)
	assert.Contains(t, detail.Config.Output, "sync_response")
}

// TestLifecycleOwnAddress: a stream that listens on an address of its own has
// to leave it before its next config can be built.
func TestLifecycleOwnAddress(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	own := newClient("http://" + address)
	t.Cleanup(own.close)

	p.expect(t, 200, "POST", "/streams/a", echoAt("one", address))
	awaitEcho(t, own, "/post", "one")
	p.expect(t, 200, "PUT", "/streams/a", echoAt("two", address))
	awaitEcho(t, own, "/post", "two")
	p.expect(t, 200, "PATCH", "/streams/a", `{"pipeline": {"threads": 1}}`)
	awaitEcho(t, own, "/post", "two")

	kill(t, p, "a")
	awaitEcho(t, own, "/post", "two")

	// What cannot be built on the same address brings the old one back, and
	// what does not lint leaves it alone.
	broken := strings.Replace(unbuildableYAML, "{path: /post}", fmt.Sprintf("{address: '%s', path: /post}", address), 1)
	p.expect(t, 400, "PUT", "/streams/a", broken)
	awaitEcho(t, own, "/post", "two")
	pid := awaitPID(t, p.client, "a")
	p.expect(t, 400, "PUT", "/streams/a", strings.Replace(misspeltYAML, "path:", fmt.Sprintf("address: '%s', path:", address), 1))
	assert.Equal(t, pid, awaitPID(t, p.client, "a"))
	awaitEcho(t, own, "/post", "two")

	// An address that another stream has is refused, to a new stream and to
	// one that would move.
	taken := p.expect(t, 400, "POST", "/streams/b", echoAt("b", address))
	assert.Contains(t, taken.Text(), address)
	p.expect(t, 404, "GET", "/streams/b", "")
	p.expect(t, 200, "POST", "/streams/b", echo("b"))
	p.expect(t, 400, "PUT", "/streams/b", echoAt("b", address))
	awaitEcho(t, p.client, "/b/post", "b")
	awaitEcho(t, own, "/post", "two")

	p.expect(t, 200, "DELETE", "/streams/a", "")
	p.expect(t, 200, "PUT", "/streams/b", echoAt("b", address))
	awaitEcho(t, own, "/post", "b")
	awaitReady(t, p.client)
	assert.Len(t, p.runners(), 1)
}

// TestLifecyclePatches: of many patches at once none is lost.
func TestLifecyclePatches(t *testing.T) {
	t.Parallel()
	const patches = 20
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	var pending []<-chan outcome
	for i := range patches {
		patch := fmt.Sprintf(`{"input": {"http_server": {"sync_response": {"headers": {"X-Patch-%d": "value %d"}}}}}`, i, i)
		pending = append(pending, begin(t, p.client, request{Method: "PATCH", Path: "/streams/a", Body: patch}))
	}
	for i, o := range pending {
		a := end(t, "a patch", o)
		require.Equal(t, 200, a.Status, "patch %d: %s", i, a.answer)
	}
	awaitEcho(t, p.client, "/a/post", "a")
	answered := p.expect(t, 200, "POST", "/a/post", "x")
	a := p.expect(t, 200, "GET", "/streams/a", "")
	for i := range patches {
		assert.Equal(t, fmt.Sprintf("value %d", i), answered.Header.Get(fmt.Sprintf("X-Patch-%d", i)), "header %d", i)
		assert.Contains(t, string(a.Body), fmt.Sprintf(`"X-Patch-%d"`, i))
	}
	assert.Len(t, p.runners(), 1)
}

// TestLifecycleSet: POST /streams changes what differs, all or nothing.
func TestLifecycleSet(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	post := func(status int, set map[string]string) answer {
		t.Helper()
		var b strings.Builder
		for id, config := range set {
			fmt.Fprintf(&b, "%s:\n%s", id, indent(config))
		}
		return p.expect(t, status, "POST", "/streams", b.String())
	}
	pids := func(ids ...string) map[string]int {
		t.Helper()
		found := map[string]int{}
		for _, id := range ids {
			found[id] = awaitPID(t, p.client, id)
		}
		return found
	}

	post(200, map[string]string{"same": echo("same"), "changed": echo("old"), "removed": echo("removed")})
	before := pids("same", "changed", "removed")
	post(200, map[string]string{"same": echo("same"), "changed": echo("new"), "created": echo("created")})
	after := pids("same", "changed", "created")
	assert.Equal(t, before["same"], after["same"])
	assert.NotEqual(t, before["changed"], after["changed"])
	awaitEcho(t, p.client, "/changed/post", "new")
	awaitEcho(t, p.client, "/created/post", "created")
	p.expect(t, 404, "GET", "/streams/removed", "")
	require.NoError(t, gone(before["removed"]))

	// All are checked before anything is touched.
	lints := post(400, map[string]string{"same": echo("other"), "bad1": misspeltYAML, "bad2": misspeltYAML})
	var told struct {
		Lints []string `json:"lint_errors"`
		Both  []string `json:"linting_errors"`
	}
	require.NoError(t, json.Unmarshal(lints.Body, &told))
	assert.Len(t, told.Lints, 2)
	assert.Equal(t, told.Lints, told.Both)
	assert.Contains(t, lints.Text(), "stream 'bad1'")
	assert.Contains(t, lints.Text(), "stream 'bad2'")
	broken := post(400, map[string]string{"same": echo("other"), "bad3": unbuildableYAML, "bad4": unbuildableYAML, "new": echo("new")})
	assert.Contains(t, broken.Text(), "stream 'bad3'")
	assert.Contains(t, broken.Text(), "stream 'bad4'")
	assert.Equal(t, after, pids("same", "changed", "created"))
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.Len(t, list, 3)
	assert.Len(t, p.runners(), 3)

	// An address can go from one stream to another.
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	other := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	own, its := newClient("http://"+address), newClient("http://"+other)
	t.Cleanup(own.close)
	t.Cleanup(its.close)
	post(200, map[string]string{"first": echoAt("first", address)})
	awaitEcho(t, own, "/post", "first")
	post(200, map[string]string{"second": echoAt("second", address)})
	awaitEcho(t, own, "/post", "second")
	post(200, map[string]string{"second": echoAt("second", other), "third": echoAt("third", address)})
	awaitEcho(t, its, "/post", "second")
	awaitEcho(t, own, "/post", "third")
	post(200, map[string]string{})
	assert.Empty(t, p.runners())
}

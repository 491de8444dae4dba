package integration

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// busyYAML computes for ever, in little memory.
const busyYAML = `
input: {generate: {count: 1, interval: "", mapping: 'root.n = 100000'}}
pipeline:
  processors:
    - mapping: 'root = range(0, this.n).map_each(x -> range(0, 100000).map_each(y -> y + x).length())'
output: {drop: {}}
`

// TestLifecycleDeleteInTime: DELETE ends within its timeout, whatever the
// stream is at.
func TestLifecycleDeleteInTime(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.stop=700ms")
	for _, c := range []struct {
		name, config string
		timeout      time.Duration
		before       func(t *testing.T, pid int)
	}{
		{name: "blocked", config: blockedYAML, timeout: time.Second},
		{name: "blocked-briefly", config: blockedYAML, timeout: 300 * time.Millisecond},
		{name: "blocked-default", config: blockedYAML},
		{name: "no-time-at-all", config: echo("x"), timeout: time.Nanosecond},
		{name: "rejecting", timeout: 300 * time.Millisecond, config: `
input: {generate: {interval: "", mapping: 'root = "x"'}}
output: {reject: 'never'}
`},
		{name: "black-hole", timeout: 300 * time.Millisecond, config: fmt.Sprintf(`
input: {generate: {interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: 'http://%s', verb: POST, timeout: 1h, retries: 1000}}
`, blackHole(t))},
		{name: "busy", config: busyYAML, timeout: time.Second},
		{name: "stopped", config: echo("x"), timeout: time.Second, before: func(t *testing.T, pid int) {
			t.Helper()
			freeze(t, pid)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := "/streams/" + c.name
			p.expect(t, 200, "POST", path, c.config)
			pid := awaitPID(t, p.client, c.name)
			if c.before != nil {
				c.before(t, pid)
			}
			bound, query := 700*time.Millisecond, ""
			if c.timeout > 0 {
				bound, query = c.timeout, "?timeout="+c.timeout.String()
			}
			took := timed(func() { p.expect(t, 200, "DELETE", path+query, "") })
			t.Logf("took %s of %s", took, bound)
			assert.Less(t, took, bound+margin)
			require.NoError(t, gone(pid), "its process, once DELETE has answered")
			p.expect(t, 404, "GET", path, "")
			p.expect(t, 404, "DELETE", path, "")
			p.expect(t, 200, "POST", path, echo("again"))
			awaitEcho(t, p.client, "/"+c.name+"/post", "again")
			p.expect(t, 200, "DELETE", path, "")
		})
	}
	assert.Empty(t, p.runners())
}

// blackHole is an address that takes connections and says nothing.
func blackHole(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// TestLifecycleDeleteDuringChange: a change of the same stream that is under
// way does not hold up its deletion.
func TestLifecycleDeleteDuringChange(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.prepare=60s")
	remove := func(id string, statuses ...int) {
		t.Helper()
		const timeout = 500 * time.Millisecond
		var a answer
		took := timed(func() { a = p.call(t, "DELETE", "/streams/"+id+"?timeout="+timeout.String(), "") })
		t.Logf("%s: took %s of %s", id, took, timeout)
		assert.Contains(t, statuses, a.Status, "%s", a)
		assert.Less(t, took, timeout+margin)
		assert.Empty(t, p.runners(), "once DELETE has answered")
		p.expect(t, 404, "GET", "/streams/"+id, "")
	}

	for method, config := range map[string]string{"PUT": slowToBuild(), "PATCH": stuckPipeline(t)} {
		p.expect(t, 200, "POST", "/streams/a", echo("a"))
		change := begin(t, p.client, request{Method: method, Path: "/streams/a", Body: config})
		awaitRunners(t, p, 2)
		p.expect(t, 200, "POST", "/a/post", "the old one serves on")
		remove("a", 200)
		o := end(t, "the change", change)
		assert.Equal(t, 404, o.Status, "%s: %s", method, o.answer)
	}

	// A change that waits for the old stream to drain.
	p.expect(t, 200, "POST", "/streams/b", blockedYAML)
	change := begin(t, p.client, request{Method: http.MethodPut, Path: "/streams/b?timeout=50s", Body: echo("b")})
	awaitInactive(t, p, "b")
	remove("b", 200)
	o := end(t, "the change", change)
	assert.Equal(t, 404, o.Status, "%s", o.answer)

	// Another deletion, with more patience: either may be the one that did it.
	p.expect(t, 200, "POST", "/streams/c", blockedYAML)
	patient := begin(t, p.client, request{Method: http.MethodDelete, Path: "/streams/c?timeout=50s"})
	awaitInactive(t, p, "c")
	remove("c", 200, 404)
	o = end(t, "the patient deletion", patient)
	assert.Contains(t, []int{200, 404}, o.Status, "%s", o.answer)
	assert.Less(t, o.took, 10*time.Second)
}

// awaitRunners waits until there are that many.
func awaitRunners(t testing.TB, p *penstock, want int) {
	t.Helper()
	await(t, changeTimeout, fmt.Sprintf("%d runners", want), func() error {
		if got := p.runners(); len(got) != want {
			return fmt.Errorf("there are %v", got)
		}
		return nil
	})
}

// awaitInactive waits until a stream is being stopped.
func awaitInactive(t testing.TB, p *penstock, id string) {
	t.Helper()
	await(t, changeTimeout, id+" to be inactive", func() error {
		list, err := listStreams(t.Context(), p.client)
		if err == nil && list[id].Active {
			err = fmt.Errorf("%s is active", id)
		}
		return err
	})
}

// TestLifecyclePrepareTimeout: a config that takes for ever to build is
// refused in time, and holds up nobody meanwhile.
func TestLifecyclePrepareTimeout(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	p := startPenstock(t, "--set", "timeouts.prepare="+timeout.String())
	stuck := stuckInBuild(t)
	p.expect(t, 200, "POST", "/streams/good", echo("good"))
	requests, lists := newLoad(t), newLoad(t)
	requests.echo(p.Base, "good", "good", 5*time.Millisecond)
	seen := newSightings(p)
	lists.loop(p.Base, 10*time.Millisecond, seen.list)

	bombs := []<-chan outcome{begin(t, p.client, request{Method: http.MethodPost, Path: "/streams/slow", Body: slowToBuild()})}
	for i := range 12 {
		path := fmt.Sprintf("/streams/stuck%d", i)
		bombs = append(bombs, begin(t, p.client, request{Method: http.MethodPost, Path: path, Body: stuck}))
	}
	// More of them than are started at once, and room for another stream.
	p.expect(t, 200, "POST", "/streams/meanwhile", echo("meanwhile"))
	awaitEcho(t, p.client, "/meanwhile/post", "meanwhile")
	for _, bomb := range bombs {
		o := end(t, "a config that takes for ever", bomb)
		assert.Equal(t, 400, o.Status, "%s", o.answer)
		assert.Contains(t, o.Text(), "took longer than "+timeout.String())
		// Its runner has to be started first, one of many.
		assert.Less(t, o.took, timeout+3*margin)
	}
	assert.Len(t, p.runners(), 2, "those of the good streams")
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.Len(t, list, 2)
	served, listing := requests.sum(), lists.sum()
	t.Logf("the good stream: %s; GET /streams: %s", served, listing)
	assert.Empty(t, served.Failures)
	assert.Empty(t, listing.Failures)
	assert.Less(t, seen.slowest, listLimit)
}

package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shut makes the gate hold up those who read it from now on.
func (g *gate) shut(t *testing.T) {
	t.Helper()
	pipe := g.path + ".shut"
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Rename(pipe, g.path))
}

// assertDurable checks that the next supervisor has what this one tells.
func assertDurable(t *testing.T, r *restartable) {
	t.Helper()
	before := definitions(t, r.client)
	r.kill9(t)
	r.start(t)
	assert.Equal(t, before, definitions(t, r.client), "what was told before the supervisor was killed, and after")
}

// TestChangeOfASetMeetsAnotherStream: a set that was prepared for one stream,
// or without it, has nothing to do with another that has got its id meanwhile.
func TestChangeOfASetMeetsAnotherStream(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// member says that the stream is one of the set.
		member bool
		status int
	}{
		"member": {true, 409},
		"absent": {false, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			r.start(t)
			r.expect(t, 200, "POST", "/streams/a", echo("first"))
			g := newGate(t)
			body := "slow:\n" + indent(g.echo("slow"))
			if c.member {
				body += "a:\n" + indent(echo("set"))
			}
			set := begin(t, r.client, request{Method: "POST", Path: "/streams", Body: body})
			g.awaitReader(t)
			r.expect(t, 200, "DELETE", "/streams/a", "")
			r.expect(t, 200, "POST", "/streams/a", echo("second"))
			pid := mustStatus(t, r.client, "a").PID
			g.open(t)
			o := end(t, "the set", set)
			assert.Equal(t, c.status, o.Status, "%s", o.answer)
			awaitEcho(t, r.client, "/slow/post", "slow")

			awaitEcho(t, r.client, "/a/post", "second")
			assert.Equal(t, pid, mustStatus(t, r.client, "a").PID)
			assertDurable(t, r)
			awaitEcho(t, r.client, "/a/post", "second")
			assert.Equal(t, pid, mustStatus(t, r.client, "a").PID)
			r.expect(t, 200, "POST", "/streams/a/pause", "")
			r.expect(t, 200, "POST", "/streams/a/resume", "")
			r.expect(t, 200, "PUT", "/streams/a", echo("third"))
			awaitEcho(t, r.client, "/a/post", "third")
			assertDurable(t, r)
			r.stop(t)
			assert.Empty(t, r.runners(), "processes that outlived their supervisor")
		})
	}
}

// TestChangeOfASetInOptions: a set that changes what the supervisor does with
// a stream, and not what the stream is, leaves its runner alone.
func TestChangeOfASetInOptions(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	pid := mustStatus(t, r.client, "a").PID
	r.expect(t, 200, "POST", "/streams", "a:\n"+indent(withPolicy(echo("a"), "{policy: never}")))
	s := mustStatus(t, r.client, "a")
	assert.Equal(t, pid, s.PID)
	assert.EqualValues(t, 2, s.Revision)
	assertDurable(t, r)
	s = awaitState(t, r.client, "a", "running")
	assert.Equal(t, pid, s.PID)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitState(t, r.client, "a", "failed")
	// Without a runner it is a change like any other.
	r.expect(t, 200, "POST", "/streams", "a:\n"+indent(echo("a")))
	awaitEcho(t, r.client, "/a/post", "a")
	r.stop(t)
}

// TestChangeMeetsALogLevel: a log level that is set while a runner is being
// prepared is the one it runs with.
func TestChangeMeetsALogLevel(t *testing.T) {
	t.Parallel()
	logging := func(g *gate, tag string) string {
		return strings.Replace(g.echo(tag), "processors: [", fmt.Sprintf(
			`processors: [{log: {level: DEBUG, message: 'heard by %s'}}, {try: [{resource: step}]}, `, tag), 1)
	}
	for name, change := range map[string]func(g *gate) request{
		"set": func(g *gate) request {
			return request{Method: "POST", Path: "/streams", Body: "a:\n" + indent(logging(g, "new"))}
		},
		"resource": func(*gate) request {
			return request{Method: "POST", Path: "/resources/processor/step", Body: `{"mapping": "root = content().uppercase()"}`}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			r.start(t)
			g := newGate(t)
			require.NoError(t, os.Remove(g.path))
			require.NoError(t, os.WriteFile(g.path, nil, 0o600))
			r.expect(t, 200, "POST", "/resources/processor/step", `{"mapping": "root = content()"}`)
			r.expect(t, 200, "POST", "/streams/a", logging(g, "old"))
			pid := mustStatus(t, r.client, "a").PID
			g.shut(t)
			pending := begin(t, r.client, change(g))
			g.awaitReader(t)
			r.expect(t, 200, "PUT", "/streams/a/log-level", "debug")
			g.open(t)
			o := end(t, "the change", pending)
			require.Equal(t, 200, o.Status, "%s", o.answer)
			s := awaitState(t, r.client, "a", "running")
			require.NotEqual(t, pid, s.PID)
			assert.Equal(t, "debug", s.LogLevel)
			r.expect(t, 200, "POST", "/a/post", "x")
			await(t, changeTimeout, "a message of that level", func() error {
				log := r.expect(t, 200, "GET", "/streams/a/logs?tail=-1", "")
				if !strings.Contains(log.Text(), "heard by") {
					return fmt.Errorf("the log holds %s", log)
				}
				return nil
			})
			assertDurable(t, r)
			r.stop(t)
		})
	}
}

// TestChangeWhileStopping: while others drain, a stream that has stopped is
// not one that does not exist.
func TestChangeWhileStopping(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t, "--set", "timeouts.shutdown=4s")
	r.expect(t, 200, "POST", "/streams/slow", blockedOutput(t))
	r.expect(t, 200, "POST", "/streams/quick", echo("quick"))
	awaitReceived(t, r.client, "slow")
	before := definitions(t, r.client)
	require.NoError(t, r.signal(syscall.SIGTERM))
	await(t, changeTimeout, "the quick stream's end", func() error {
		if n := len(r.runners()); n != 1 {
			return fmt.Errorf("there are %d runners", n)
		}
		return nil
	})
	// The runner's end is seen a moment before its stream's is.
	await(t, changeTimeout, "the quick stream to be gone", func() error {
		a := r.call(t, "GET", "/streams/quick", "")
		if a.Status == 200 {
			return fmt.Errorf("it answers %s", a)
		}
		return nil
	})
	for _, q := range []request{
		{Method: "GET", Path: "/streams/quick"},
		{Method: "GET", Path: "/streams/quick/stats"},
		{Method: "GET", Path: "/streams/quick/status"},
		{Method: "PUT", Path: "/streams/quick", Body: echo("other")},
		{Method: "PATCH", Path: "/streams/quick", Body: `{"pipeline": {"threads": 1}}`},
		{Method: "DELETE", Path: "/streams/quick"},
		{Method: "POST", Path: "/streams/quick", Body: echo("other")},
		{Method: "POST", Path: "/streams/quick/pause"},
		{Method: "PUT", Path: "/streams/quick/log-level", Body: "debug"},
	} {
		a, err := r.ask(t.Context(), q)
		require.NoError(t, err, "%s %s", q.Method, q.Path)
		assert.Equal(t, 503, a.Status, "%s %s: %s", q.Method, q.Path, a)
	}
	require.NoError(t, r.alive(), "the other stream has stopped too early")
	<-r.exited
	require.NoError(t, r.exitErr)
	r.start(t)
	assert.Equal(t, before, definitions(t, r.client), "what was refused has left nothing behind")
	r.expect(t, 200, "DELETE", "/streams/slow?timeout=100ms", "")
	r.stop(t)
}

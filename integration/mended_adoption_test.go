package integration

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leavingRunner is a runner that was told to stop with messages to deliver,
// and whose supervisor has died since.
type leavingRunner struct {
	*restartable
	sink *heldSink
	pid  int
}

// buffered is how many messages a leavingRunner has.
const buffered = 5

// newLeavingRunner makes one of a stream with the id a that takes POSTs.
func newLeavingRunner(t *testing.T) *leavingRunner {
	t.Helper()
	l := &leavingRunner{restartable: newRestartable(t), sink: newHeldSink(t)}
	// The time is what a runner may take to drain.
	l.start(t, "--set", "timeouts.shutdown=4s")
	l.expect(t, 200, "POST", "/streams/a", fmt.Sprintf(`
input: {http_server: {path: /post}}
buffer: {memory: {}}
output: {http_client: {url: '%s', verb: POST, timeout: 1m, max_in_flight: 1}}
`, l.sink.URL))
	for range buffered {
		l.expect(t, 200, "POST", "/a/post", "x")
	}
	l.sink.awaitMessage(t)
	l.pid = mustStatus(t, l.client, "a").PID
	sockets, err := filepath.Glob(filepath.Join(l.DataDir, "run", "*", "http.sock"))
	require.NoError(t, err)
	require.Len(t, sockets, 1)
	runner := runnerClient(t, sockets[0])
	runner.expect(t, 405, "GET", "/a/post", "")

	require.NoError(t, l.signal(syscall.SIGTERM))
	await(t, changeTimeout, "the stream's input to close", func() error {
		a, err := runner.ask(t.Context(), request{Method: "GET", Path: "/a/post"})
		if err == nil && a.Status != 503 {
			err = fmt.Errorf("it answers %s", a)
		}
		return err
	})
	l.kill9(t)
	require.Error(t, ended(l.pid), "the runner has something to deliver")
	return l
}

// assertRunsAnew checks that the next supervisor runs the stream in another
// runner, and that this is no failure of the stream.
func (l *leavingRunner) assertRunsAnew(t *testing.T) {
	t.Helper()
	awaitPID(t, l.client, "a", l.pid)
	s := awaitState(t, l.client, "a", "running")
	assert.Zero(t, s.Restarts, "to be told to stop is no failure")
	before := l.sink.began.Load()
	l.expect(t, 200, "POST", "/a/post", "y")
	await(t, changeTimeout, "what was posted to the new runner", func() error {
		if l.sink.began.Load() == before {
			return fmt.Errorf("it has not come out")
		}
		return nil
	})
	await(t, changeTimeout, "the former runner's end", func() error { return ended(l.pid) })
	assert.Len(t, l.runners(), 1)
}

// TestAdoptionOfALeavingRunner: a runner that was told to stop is not adopted
// as one that runs. It may drain, no longer than any stop may take, and is
// replaced then.
func TestAdoptionOfALeavingRunner(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stop   string
		drains bool
	}{
		"drains":       {"20s", true},
		"never drains": {"1s", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeavingRunner(t)
			l.start(t, "--set", "timeouts.stop="+c.stop)
			await(t, changeTimeout, "it to be refused", func() error {
				if got := positive(l.adoptions(t)); got["refused"] != 1 || len(got) > 1 {
					return fmt.Errorf("the adoptions are %v", got)
				}
				return nil
			})
			if c.drains {
				close(l.sink.open)
				l.sink.awaitAccepted(t, buffered)
			}
			l.assertRunsAnew(t)
			if c.drains {
				l.sink.awaitAccepted(t, buffered+1)
			} else {
				close(l.sink.open)
			}
			l.stop(t)
		})
	}
}

// TestAdoptionAfterADrain: a supervisor that dies while a runner drains does
// not cut the drain short, and the runner ends after it by itself.
func TestAdoptionAfterADrain(t *testing.T) {
	t.Parallel()
	l := newLeavingRunner(t)
	// One whose drain is cut short gives the delivery up that it is at.
	assert.Never(t, func() bool { return l.sink.began.Load() > 1 || ended(l.pid) == nil }, time.Second, 20*time.Millisecond)
	close(l.sink.open)
	l.sink.awaitAccepted(t, buffered)
	await(t, changeTimeout, "the runner's end", func() error { return ended(l.pid) })
	l.start(t)
	l.assertRunsAnew(t)
	s := mustStatus(t, l.client, "a")
	if assert.NotNil(t, s.LastExit) {
		assert.Equal(t, "exited", s.LastExit.Reason)
		assert.Zero(t, s.LastExit.Code)
	}
	l.sink.awaitAccepted(t, buffered+1)
	l.stop(t)
}

// longStopped is a supervisor that has found its runners stopped.
type longStopped struct {
	*restartable
	// sink is where the stream ending posts its messages.
	sink *counter
	args []string
	// pids are the runners, by stream: lasting and ending.
	pids map[string]int
}

// longStoppedMessages is how many messages the stream ending has.
const longStoppedMessages = 8

func newLongStopped(t *testing.T, orphanTimeout string) *longStopped {
	t.Helper()
	l := &longStopped{
		restartable: newRestartable(t), sink: newCounter(t), pids: map[string]int{},
		args: []string{"--set", "orphan_timeout=" + orphanTimeout},
	}
	l.start(t, l.args...)
	l.expect(t, 200, "POST", "/streams/lasting", echo("lasting"))
	l.expect(t, 200, "POST", "/streams/ending", fmt.Sprintf(`
input: {generate: {count: %d, interval: 500ms, mapping: 'root = "x"'}}
output: {http_client: {url: '%s', verb: POST, timeout: 1h}}
`, longStoppedMessages, l.sink.URL))
	l.sink.awaitPosts(t, 2)
	for _, id := range []string{"lasting", "ending"} {
		l.pids[id] = mustStatus(t, l.client, id).PID
	}
	t.Cleanup(l.goOn)
	for _, pid := range l.pids {
		freeze(t, pid)
	}
	l.kill9(t)
	l.start(t, l.args...)
	return l
}

// goOn lets the runners go on.
func (l *longStopped) goOn() {
	for _, pid := range l.pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// TestAdoptionOfALongStop: a runner that was stopped for longer than a
// connection may take to be made is adopted once it goes on: it is neither
// replaced, nor taken for an orphan, nor lost from sight.
func TestAdoptionOfALongStop(t *testing.T) {
	t.Parallel()
	// gRPC gives an attempt to connect 20 s.
	const stopped = 26 * time.Second
	short, long := newLongStopped(t, "5s"), newLongStopped(t, "1h")
	// The time itself is what is tested.
	time.Sleep(stopped)
	for _, l := range []*longStopped{short, long} {
		assert.Empty(t, positive(l.adoptions(t)), "nobody has told who it is")
		l.goOn()
	}
	for _, l := range []*longStopped{short, long} {
		await(t, changeTimeout, "both to be adopted", func() error {
			if n := l.adoptions(t)["adopted"]; n != 2 {
				return fmt.Errorf("%v are", n)
			}
			return nil
		})
		awaitEcho(t, l.client, "/lasting/post", "lasting")
		s := awaitState(t, l.client, "ending", "finished")
		assert.Zero(t, s.Restarts)
		assert.EqualValues(t, longStoppedMessages, l.sink.posts.Load(), "it ran once")
		s = mustStatus(t, l.client, "lasting")
		assert.Equal(t, l.pids["lasting"], s.PID)
		assert.Zero(t, s.Restarts)
		await(t, changeTimeout, "the finished runner's end", func() error { return ended(l.pids["ending"]) })
		assert.Len(t, l.runners(), 1)

		l.kill9(t)
		l.start(t, l.args...)
		awaitState(t, l.client, "ending", "finished")
		assert.EqualValues(t, longStoppedMessages, l.sink.posts.Load(), "it ran once")
		l.stop(t)
	}
}

// TestAdoptionWithPolicyNever: the policy never is about failures of the
// stream's own. What a supervisor or the machine did is none, and a failure
// stays one.
func TestAdoptionWithPolicyNever(t *testing.T) {
	t.Parallel()
	const never = "{policy: never}"
	t.Run("half-made change", func(t *testing.T) {
		t.Parallel()
		r := newRestartable(t)
		r.start(t)
		// Its stop takes as long as it may.
		r.expect(t, 200, "POST", "/streams/a", withPolicy(blockedOutput(t), never))
		awaitReceived(t, r.client, "a")
		change := begin(t, r.client, request{Method: "PUT", Path: "/streams/a?timeout=25s", Body: withPolicy(echo("new"), never)})
		awaitState(t, r.client, "a", "stopping")
		r.kill9(t)
		<-change
		r.start(t)
		awaitEcho(t, r.client, "/a/post", "new")
		s := mustStatus(t, r.client, "a")
		assert.EqualValues(t, 2, s.Revision, "the change was kept")
		assert.Len(t, r.runners(), 1)
		r.stop(t)
	})
	t.Run("another boot", func(t *testing.T) {
		t.Parallel()
		r := newRestartable(t)
		r.start(t)
		r.expect(t, 200, "POST", "/streams/a", withPolicy(echo("a"), never))
		pid := mustStatus(t, r.client, "a").PID
		r.kill9(t)
		r.amendRunner(t, "a", func(rec record) record {
			rec["boot_id"] = "5c0f7f0a-3f5b-4b1e-9c53-1f1b0a2f9a11"
			return rec
		})
		r.start(t)
		awaitEcho(t, r.client, "/a/post", "a")
		s := awaitState(t, r.client, "a", "running")
		assert.NotEqual(t, pid, s.PID)
		r.stop(t)
	})
	t.Run("told to end", func(t *testing.T) {
		t.Parallel()
		r := newRestartable(t)
		r.start(t)
		r.expect(t, 200, "POST", "/streams/a", withPolicy(echo("a"), never))
		pid := mustStatus(t, r.client, "a").PID
		r.kill9(t)
		require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
		await(t, changeTimeout, "the runner's end", func() error { return ended(pid) })
		r.start(t)
		awaitEcho(t, r.client, "/a/post", "a")
		// A clean stop is no failure either.
		r.stop(t)
		r.start(t)
		awaitEcho(t, r.client, "/a/post", "a")
		r.stop(t)
	})
	t.Run("failed", func(t *testing.T) {
		t.Parallel()
		r := newRestartable(t)
		r.start(t)
		sink := newCounter(t)
		r.expect(t, 200, "POST", "/streams/a", withPolicy(crashingAfter(sink.URL), never))
		failed := awaitState(t, r.client, "a", "failed")
		require.NotNil(t, failed.LastExit)
		for i, end := range []func(testing.TB){r.stop, r.kill9, r.stop, r.stop} {
			end(t)
			r.start(t)
			s := awaitState(t, r.client, "a", "failed")
			assert.EqualValues(t, 1, sink.posts.Load(), "it has run again after end %d", i)
			assert.Contains(t, s.Reason, "exited with code 1")
			assert.Equal(t, failed.LastExit, s.LastExit)
		}
		// A change of what failed is another stream, so to speak.
		r.expect(t, 200, "PUT", "/streams/a", withPolicy(echo("mended"), never))
		awaitEcho(t, r.client, "/a/post", "mended")
		r.stop(t)
		r.start(t)
		awaitEcho(t, r.client, "/a/post", "mended")
		r.stop(t)
	})
}

// TestAdoptionOfFigures: how often a stream was started again, and how its
// last runner ended, is known to the next supervisor when it stopped the
// runner itself, and of a paused stream.
func TestAdoptionOfFigures(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	for range 2 {
		pid := awaitState(t, r.client, "a", "running").PID
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		awaitPID(t, r.client, "a", pid)
	}
	s := awaitState(t, r.client, "a", "running")
	require.EqualValues(t, 2, s.Restarts)
	require.Equal(t, "SIGKILL", s.LastExit.Signal)

	r.stop(t)
	began := time.Now()
	r.start(t)
	s = awaitState(t, r.client, "a", "running")
	assert.EqualValues(t, 2, s.Restarts)
	if assert.NotNil(t, s.LastExit) {
		assert.Equal(t, "exited", s.LastExit.Reason, "that of the runner that was stopped")
		assert.Empty(t, s.LastExit.Signal)
		assert.True(t, s.LastExit.At.Before(began), "%s", s.LastExit.At)
	}

	r.expect(t, 200, "POST", "/streams/a/pause", "")
	paused := mustStatus(t, r.client, "a")
	require.NotNil(t, paused.LastExit)
	assert.NotEqual(t, s.LastExit, paused.LastExit)
	for _, end := range []func(testing.TB){r.stop, r.kill9} {
		end(t)
		r.start(t)
		s = awaitState(t, r.client, "a", "paused")
		assert.EqualValues(t, 2, s.Restarts)
		assert.Equal(t, paused.LastExit, s.LastExit)
	}
	r.expect(t, 200, "POST", "/streams/a/resume", "")
	r.kill9(t)
	r.start(t)
	s = awaitState(t, r.client, "a", "running")
	assert.EqualValues(t, 2, s.Restarts)
	assert.Equal(t, paused.LastExit, s.LastExit)
	r.stop(t)
}

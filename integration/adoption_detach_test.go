package integration

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAdoptionAfterDetach: with --on-exit=detach a supervisor that is told to
// end leaves its runners, and the next one takes them over; with stop it ends
// them all.
func TestAdoptionAfterDetach(t *testing.T) {
	t.Parallel()
	ids := []string{"a", "b", "c"}
	r := newRestartable(t)
	r.start(t, "--on-exit=detach")
	pids := map[string]int{}
	for _, id := range ids {
		r.expect(t, 200, "POST", "/streams/"+id, echo(id))
		pids[id] = mustStatus(t, r.client, id).PID
	}
	r.expect(t, 200, "POST", "/streams/paused", echo("paused"))
	r.expect(t, 200, "POST", "/streams/paused/pause", "")
	// The end is not held up by a stream that would take its time to stop.
	r.expect(t, 200, "POST", "/streams/slow", blockedOutput(t))
	pids["slow"] = mustStatus(t, r.client, "slow").PID

	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		r.close()
		took := timed(func() {
			require.NoError(t, r.signal(sig))
			select {
			case <-r.exited:
			case <-time.After(stopTimeout):
				require.Fail(t, "the supervisor does not end")
			}
		})
		t.Logf("%s: detached after %s", sig, took)
		assert.NoError(t, r.exitErr, "the supervisor's exit status")
		assert.Less(t, took, 5*margin)
		for id, pid := range pids {
			assert.Error(t, ended(pid), "the runner of %s has ended", id)
		}
		r.start(t, "--on-exit=detach")
		for id, pid := range pids {
			s := awaitState(t, r.client, id, "running")
			assert.Equal(t, pid, s.PID, id)
			assert.Zero(t, s.Restarts, id)
		}
		for _, id := range ids {
			awaitEcho(t, r.client, "/"+id+"/post", id)
		}
		assert.Equal(t, "paused", mustStatus(t, r.client, "paused").State)
		assert.Len(t, r.runners(), len(pids))
	}

	// It is the supervisor's choice, not that of the one which started them.
	r.expect(t, 200, "DELETE", "/streams/slow?timeout=100ms", "")
	r.stop(t)
	assert.Len(t, r.runners(), len(ids))
	r.start(t, "--on-exit=stop")
	for _, id := range ids {
		assert.Equal(t, pids[id], awaitState(t, r.client, id, "running").PID, id)
	}
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
	assertNoRunFiles(t, r.DataDir)

	// What was stopped runs again; what was paused does not.
	r.start(t)
	for _, id := range ids {
		s := awaitState(t, r.client, id, "running")
		assert.NotEqual(t, pids[id], s.PID, id)
		assert.Zero(t, s.Restarts, "%s: a stop is no failure", id)
	}
	assert.Equal(t, "paused", mustStatus(t, r.client, "paused").State)
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// TestAdoptionDetachWithRequests: a supervisor that detaches has the requests
// answered that streams are at, but waits for none of them for ever.
func TestAdoptionDetachWithRequests(t *testing.T) {
	t.Parallel()
	// requestGrace is how long it waits: cmd/penstock says so.
	const requestGrace = 5 * time.Second
	r := newRestartable(t)
	r.start(t, "--on-exit=detach")
	for id, pause := range map[string]string{"short": "1s", "long": "50s"} {
		r.expect(t, 200, "POST", "/streams/"+id, strings.NewReplacer(
			"path: /post", "path: /post, timeout: 1m",
			"processors: [", fmt.Sprintf("processors: [{sleep: {duration: %s}}, ", pause),
		).Replace(echo(id)))
	}
	pid := mustStatus(t, r.client, "long").PID
	pending := map[string]<-chan outcome{}
	for _, id := range []string{"short", "long"} {
		pending[id] = begin(t, r.client, request{Method: http.MethodPost, Path: "/" + id + "/post", Body: "x"})
		awaitReceived(t, r.client, id)
	}
	took := timed(func() { r.stop(t) })
	t.Logf("detached after %s with a request under way", took)
	assert.Less(t, took, requestGrace+2*margin)
	assert.Equal(t, "short:x", string(end(t, "the request that is soon answered", pending["short"]).Body))
	if o := <-pending["long"]; o.err == nil {
		assert.GreaterOrEqual(t, o.Status, 500, "%s", o.answer)
	}
	require.Error(t, ended(pid))
	r.start(t)
	assert.Equal(t, pid, awaitState(t, r.client, "long", "running").PID)
	r.expect(t, 200, "DELETE", "/streams/long?timeout=100ms", "")
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// TestAdoptionOrphanDrains: a runner that nobody adopts delivers what it has
// taken before it ends.
func TestAdoptionOrphanDrains(t *testing.T) {
	t.Parallel()
	const messages = 20
	const orphanTimeout = time.Second
	sink := newHeldSink(t)
	r := newRestartable(t)
	r.start(t, "--set", "orphan_timeout="+orphanTimeout.String())
	r.expect(t, 200, "POST", "/streams/a", fmt.Sprintf(`
input: {http_server: {path: /post}}
buffer: {memory: {}}
output: {http_client: {url: '%s', verb: POST, timeout: 1m, max_in_flight: 2}}
`, sink.URL))
	for i := range messages {
		r.expect(t, 200, "POST", "/a/post", fmt.Sprint(i))
	}
	sink.awaitMessage(t)
	pid := mustStatus(t, r.client, "a").PID
	r.kill9(t)
	killed := time.Now()
	// The runner says so in its log when its time has come.
	log := r.DataDir + "/streams/a/stream.log"
	await(t, changeTimeout, "the orphan to stop", func() error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), `"reason":"orphaned"`) {
			err = fmt.Errorf("its log does not say so")
		}
		return err
	})
	waited := time.Since(killed)
	require.Error(t, ended(pid), "it ends with messages that nobody has")
	close(sink.open)
	sink.awaitAccepted(t, messages)
	await(t, changeTimeout, "the orphan's end", func() error { return ended(pid) })
	t.Logf("it began to stop %s after its supervisor's death, and was gone after %s", waited, time.Since(killed))
	assert.GreaterOrEqual(t, waited, orphanTimeout)

	r.start(t)
	s := awaitState(t, r.client, "a", "running")
	assert.NotEqual(t, pid, s.PID)
	if assert.NotNil(t, s.LastExit) {
		assert.Equal(t, "exited", s.LastExit.Reason)
		assert.Zero(t, s.LastExit.Code)
	}
	assert.EqualValues(t, messages, sink.accepted.Load())
	r.stop(t)
}

// TestAdoptionOrphanWaitsForEver: an orphan_timeout of 0 is not the shortest
// but none. The runner beside it, with the shortest there is, shows how long is
// long enough to see that.
func TestAdoptionOrphanWaitsForEver(t *testing.T) {
	t.Parallel()
	pids := map[string]int{}
	rs := map[string]*restartable{}
	for _, timeout := range []string{"1s", "0s"} {
		r := newRestartable(t)
		r.start(t, "--set", "orphan_timeout="+timeout)
		r.expect(t, 200, "POST", "/streams/a", echo("a"))
		pids[timeout], rs[timeout] = mustStatus(t, r.client, "a").PID, r
	}
	rs["0s"].kill9(t)
	rs["1s"].kill9(t)
	await(t, changeTimeout, "the end of the runner with a timeout", func() error { return ended(pids["1s"]) })
	require.Error(t, ended(pids["0s"]), "the runner without a timeout has ended")
	r := rs["0s"]
	r.start(t)
	awaitEcho(t, r.client, "/a/post", "a")
	assert.Equal(t, pids["0s"], mustStatus(t, r.client, "a").PID)
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

package integration

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startOnSmallDisk starts a supervisor with little space for its store.
func startOnSmallDisk(t *testing.T) *restartable {
	t.Helper()
	r := newRestartable(t)
	mountTmpfs(t, r.DataDir, "size=32m,mode=0700")
	r.start(t)
	return r
}

// fillStore leaves no space for any change of the store. The stream big, the
// newest there is, makes none of them a small one: few streams are written as
// one, and the file has no room for that twice.
func (r *restartable) fillStore(t *testing.T) (free func()) {
	t.Helper()
	r.expect(t, 200, "POST", "/streams/big", echoOfSize("big", 512<<10))
	return fillDisk(t, r.DataDir)
}

// TestStoreFaultRestart: a stream that is not to run is not started again
// while the store cannot know of it.
func TestStoreFaultRestart(t *testing.T) {
	t.Parallel()
	for state, config := range map[string]func(url string) string{
		"finished": endingAfter,
		"failed":   func(url string) string { return withPolicy(crashingAfter(url), "{policy: never}") },
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			sink := newCounter(t)
			r := startOnSmallDisk(t)
			r.expect(t, 200, "POST", "/streams/a", config(sink.URL))
			before := awaitState(t, r.client, "a", state)
			require.EqualValues(t, 1, sink.posts.Load())
			free := r.fillStore(t)
			a := r.expect(t, 507, "POST", "/streams/a/restart", "")
			assert.Contains(t, a.Text(), "no space left")
			assert.Equal(t, before, mustStatus(t, r.client, "a"))
			r.kill9(t)
			r.start(t)
			assert.Equal(t, state, mustStatus(t, r.client, "a").State)
			assert.EqualValues(t, 1, sink.posts.Load(), "a start that was refused is none")

			free()
			r.expect(t, 200, "POST", "/streams/a/restart", "")
			sink.awaitPosts(t, 2)
			awaitState(t, r.client, "a", state)
			r.stop(t)
		})
	}
}

// TestStoreFaultUndo: a change that did not start and that the store could not
// take back then is taken back with the next.
func TestStoreFaultUndo(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(t *testing.T, r *restartable){
		"next change": func(t *testing.T, r *restartable) {
			r.expect(t, 200, "PUT", "/streams/a?timeout=100ms", echo("next"))
		},
		"next set": func(t *testing.T, r *restartable) {
			set := "a:\n  " + strings.ReplaceAll(strings.TrimSpace(echo("next")), "\n", "\n  ") + "\n"
			r.expect(t, 200, "POST", "/streams?timeout=100ms", set)
		},
		"stop": func(t *testing.T, r *restartable) {
			r.stop(t)
			r.start(t)
			s := awaitState(t, r.client, "a", "running")
			assert.EqualValues(t, 1, s.Revision, "what was refused is not in force")
			r.expect(t, 200, "PUT", "/streams/a?timeout=100ms", echo("next"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, free := startUndone(t)
			// Not before there is space.
			r.expect(t, 507, "PUT", "/streams/a?timeout=100ms", echo("next"))
			free()
			mend(t, r)
			awaitEcho(t, r.client, "/a/post", "next")
			assert.GreaterOrEqual(t, mustStatus(t, r.client, "a").Revision, uint64(2))
			assertDurable(t, r)
			awaitEcho(t, r.client, "/a/post", "next")
			r.stop(t)
		})
	}
}

// startUndone starts a supervisor whose stream a runs its revision 1, while a
// full store keeps a revision 2 that did not start.
func startUndone(t *testing.T) (r *restartable, free func()) {
	t.Helper()
	r = startOnSmallDisk(t)
	config := blockedOutput(t)
	r.expect(t, 200, "POST", "/streams/a", config)
	awaitReceived(t, r.client, "a")
	old := mustStatus(t, r.client, "a").PID
	change := begin(t, r.client, request{Method: "PUT", Path: "/streams/a?timeout=25s", Body: echo("failing")})
	awaitState(t, r.client, "a", "stopping")
	prepared := slices.DeleteFunc(r.runners(), func(p process) bool { return p.PID == old })
	require.Len(t, prepared, 1)
	free = r.fillStore(t)
	// The new runner is dead by the time the old one has made way for it.
	require.NoError(t, syscall.Kill(prepared[0].PID, syscall.SIGKILL))
	await(t, changeTimeout, "the prepared runner's end", func() error { return gone(prepared[0].PID) })
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	o := end(t, "the change", change)
	assert.GreaterOrEqual(t, o.Status, 500, "%s", o.answer)
	t.Logf("the change: %s", o.answer)
	s := awaitState(t, r.client, "a", "running")
	assert.EqualValues(t, 1, s.Revision, "the old config runs again")
	assert.Contains(t, readText(t, r.LogFile), "the store keeps a revision that did not start", "what the test is about")
	return r, free
}

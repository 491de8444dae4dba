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

// withPolicy adds a restart policy to a config.
func withPolicy(config, policy string) string {
	return fmt.Sprintf("%s\nruntime: {restart: %s}\n", strings.TrimSpace(config), policy)
}

// crashingAfter is a stream that posts to a URL and crashes.
func crashingAfter(url string) string {
	return fmt.Sprintf(`
input: {generate: {interval: "", mapping: 'root = "x"'}}
pipeline: {threads: 1, processors: [{http: {url: '%s', verb: POST}}, {crash: 'deliberate crash'}]}
output: {drop: {}}
`, url)
}

// endingAfter is a stream that posts to a URL and is finished.
func endingAfter(url string) string {
	return fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: '%s', verb: POST}}
`, url)
}

// TestDurableRestartPolicy: a stream is started again as often as its policy
// has it, and then stays failed, over a crash of the supervisor as well.
func TestDurableRestartPolicy(t *testing.T) {
	t.Parallel()
	const backoff = "backoff: {initial: 10ms, max: 20ms}"
	for name, c := range map[string]struct {
		config, policy string
		state          string
		runs, restarts int64
		reason         string
	}{
		"never":              {"crashing", "{policy: never}", "failed", 1, 0, "restart policy is never"},
		"on-failure":         {"crashing", "{policy: on-failure, max_attempts: 2, " + backoff + "}", "failed", 3, 2, "2 times in a row"},
		"default":            {"crashing", "{max_attempts: 1, " + backoff + "}", "failed", 2, 1, "1 times in a row"},
		"always":             {"ending", "{policy: always, max_attempts: 3, " + backoff + "}", "failed", 4, 3, "3 times in a row"},
		"on-failure-ending":  {"ending", "{policy: on-failure}", "finished", 1, 0, ""},
		"never-after-ending": {"ending", "{policy: never}", "finished", 1, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			r.start(t)
			sink := newCounter(t)
			config := crashingAfter(sink.URL)
			if c.config == "ending" {
				config = endingAfter(sink.URL)
			}
			r.expect(t, 200, "POST", "/streams/s", withPolicy(config, c.policy))
			s := awaitState(t, r.client, "s", c.state)
			assert.EqualValues(t, c.runs, sink.posts.Load(), "how often it ran")
			assert.EqualValues(t, c.restarts, s.Restarts)
			assert.Contains(t, s.Reason, c.reason)
			assert.Zero(t, s.PID)
			require.NotNil(t, s.LastExit)
			assert.Equal(t, "exited", s.LastExit.Reason)
			assert.Equal(t, "running", s.Desired)
			// The end is told before the process is ended.
			await(t, changeTimeout, "the runner's end", func() error {
				if left := r.runners(); len(left) > 0 {
					return fmt.Errorf("it lives: %v", left)
				}
				return nil
			})
			ready := r.call(t, "GET", "/ready", "")
			if c.state == "finished" {
				assert.Equal(t, 200, ready.Status, "%s", ready)
			} else {
				assert.Equal(t, 503, ready.Status, "%s", ready)
				assert.Contains(t, ready.Text(), c.reason)
			}

			if strings.Contains(c.policy, "never") || c.state == "finished" {
				r.kill9(t)
				r.start(t)
				awaitState(t, r.client, "s", c.state)
				assert.EqualValues(t, c.runs, sink.posts.Load(), "it has not run again")
			}
			// An operator may have it run again.
			ran := sink.posts.Load()
			r.expect(t, 200, "POST", "/streams/s/restart", "")
			sink.awaitPosts(t, ran+1)
			awaitState(t, r.client, "s", c.state)
			r.expect(t, 200, "PUT", "/streams/s", echo("good"))
			awaitEcho(t, r.client, "/s/post", "good")
			awaitReady(t, r.client)
		})
	}
}

// TestDurablePanic: what a runner says as it panics is kept: its first lines in
// the status, all of it in the log of the output.
func TestDurablePanic(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/s", withPolicy(rangeYAML, "{policy: never}"))
	a := r.call(t, "POST", "/s/post", `{"n":9000000000000000000}`)
	assert.Equal(t, 502, a.Status, "%s", a)
	s := awaitState(t, r.client, "s", "failed")
	t.Logf("the status: %s", s)
	require.NotNil(t, s.LastExit)
	assert.Equal(t, "exited", s.LastExit.Reason)
	assert.Equal(t, 2, s.LastExit.Code)
	assert.True(t, strings.HasPrefix(s.LastExit.Message, "panic: runtime error: makeslice: len out of range"), s.LastExit.Message)
	assert.LessOrEqual(t, len(s.LastExit.Message), 1<<10)
	assert.Contains(t, s.Reason, "makeslice")

	output := func() string {
		return r.expect(t, 200, "GET", "/streams/s/logs?source=output&tail=-1", "").Text()
	}
	said := output()
	assert.Contains(t, said, "panic: runtime error: makeslice: len out of range")
	assert.Contains(t, said, "[running]:")
	assert.Greater(t, len(said), 1<<10, "all of it")
	assert.Contains(t, said, "created by ", "the stack's end")
	await(t, changeTimeout, "the end of what the runner left", func() error {
		return hasRunFolders(r.DataDir, 0)
	})
	r.kill9(t)
	r.start(t)
	assert.Equal(t, said, output())
	again := awaitState(t, r.client, "s", "failed")
	t.Logf("after a crash of the supervisor: %s", again)
	require.NotNil(t, again.LastExit)
	assert.Equal(t, s.LastExit, again.LastExit)
}

// TestDurableRuntimeBlock: the supervisor's part of a config is linted as the
// engine's is, is shown, and can be changed while the stream runs.
func TestDurableRuntimeBlock(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	a := r.expect(t, 400, "POST", "/streams/s", `input: {http_server: {path: /post}}
output: {sync_response: {}}
runtime:
  restart:
    policy: sometimes
    max_atempts: 3
    backoff: {initial: soon}
`)
	var lints struct {
		LintErrors    []string `json:"lint_errors"`
		LintingErrors []string `json:"linting_errors"`
	}
	require.NoError(t, json.Unmarshal(a.Body, &lints), "%s", a)
	assert.Equal(t, lints.LintErrors, lints.LintingErrors)
	require.Len(t, lints.LintErrors, 3, "%s", a)
	for i, says := range [][]string{{"(5,13)", "policy", "sometimes"}, {"(6,5)", "max_atempts", "max_attempts"}, {"(7,24)", "initial", "soon"}} {
		for _, text := range says {
			assert.Contains(t, lints.LintErrors[i], text)
		}
	}
	set := r.expect(t, 400, "POST", "/streams", "good:\n"+indent(echo("good"))+"bad:\n"+indent(withPolicy(echo("bad"), "{policy: 7}")))
	assert.Contains(t, set.Text(), "stream 'bad'")
	list, err := listStreams(t.Context(), r.client)
	require.NoError(t, err)
	assert.Empty(t, list)

	r.expect(t, 200, "POST", "/streams/s", withPolicy(echo("s"), "{policy: always}"))
	pid := awaitPID(t, r.client, "s")
	policy := func() string {
		var detail struct {
			Config struct {
				Runtime struct{ Restart struct{ Policy string } }
			}
		}
		r.getJSON(t, "/streams/s", &detail)
		return detail.Config.Runtime.Restart.Policy
	}
	assert.Equal(t, "always", policy())
	for i, change := range []struct {
		request
		policy string
	}{
		{request{Method: http.MethodPut, Path: "/streams/s", Body: withPolicy(echo("s"), "{policy: on-failure, max_attempts: 3}")}, "on-failure"},
		{request{Method: http.MethodPatch, Path: "/streams/s", Body: `{"runtime": {"restart": {"policy": "always"}}}`}, "always"},
		{request{Method: http.MethodPut, Path: "/streams/s", Body: echo("s")}, ""},
		{request{Method: http.MethodPost, Path: "/streams/s/rollback?revision=2"}, "on-failure"},
		{request{Method: http.MethodPatch, Path: "/streams/s", Body: `{"runtime": {"restart": {"policy": "never"}}}`}, "never"},
	} {
		r.expect(t, 200, change.Method, change.Path, change.Body)
		assert.Equal(t, change.policy, policy())
		s := mustStatus(t, r.client, "s")
		assert.EqualValues(t, i+2, s.Revision)
		assert.Equal(t, pid, s.PID, "%s %s", change.Method, change.Body)
	}
	r.expect(t, 400, "PATCH", "/streams/s", `{"runtime": {"restart": {"policy": "hardly"}}}`)
	assert.Equal(t, "never", policy())

	// The change is durable, and in force.
	r.kill9(t)
	r.start(t)
	assert.Equal(t, "never", policy())
	assert.Equal(t, pid, awaitPID(t, r.client, "s"))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	s := awaitState(t, r.client, "s", "failed")
	assert.Equal(t, "signaled", s.LastExit.Reason)
	assert.Equal(t, "SIGKILL", s.LastExit.Signal)
	r.expect(t, 200, "PATCH", "/streams/s", `{"runtime": {"restart": {"policy": "always"}}}`)
	awaitEcho(t, r.client, "/s/post", "s")
}

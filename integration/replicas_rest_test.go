package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// napping is echo whose calls take as long as their header For says.
func napping(tag string) string {
	slow := strings.Replace(echo(tag), "{processors: [", `{threads: 8, processors: [{sleep: {duration: "${! metadata(\"For\") }"}}, `, 1)
	return strings.Replace(slow, "path: /post", "path: /post, timeout: 30s", 1)
}

// nap begins so many calls of a stream that is napping.
func nap(t testing.TB, c *client, id string, count int, takes string) (calls []<-chan outcome) {
	t.Helper()
	for range count {
		calls = append(calls, begin(t, c, request{Method: http.MethodPost, Path: "/" + id + "/post", Body: "x", Header: map[string]string{"For": takes}}))
	}
	return calls
}

func allAnswered(t testing.TB, calls []<-chan outcome) {
	t.Helper()
	for _, call := range calls {
		o := end(t, "a call", call)
		assert.Equal(t, 200, o.Status, o.Text())
	}
}

// keptIn puts a file into the folder of each runner of a stream, and returns
// where.
func keptIn(t testing.TB, dataDir string, ids ...string) (files []string) {
	t.Helper()
	for _, id := range ids {
		file := filepath.Join(dataDir, "streams", id, "data", "buffer.db")
		require.NoError(t, os.WriteFile(file, []byte("messages"), 0o600))
		files = append(files, file)
	}
	return files
}

// TestReplicasHaveFolders: each runner has one of its own, and is told which.
func TestReplicasHaveFolders(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", `
runtime: {replicas: 2}
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = env("PENSTOCK_STREAM_DIR")'}]}
output: {sync_response: {}}
`)
	told := map[string]bool{}
	for range 4 {
		told[r.expect(t, 200, "POST", "/a/post", "x").Text()] = true
	}
	want := map[string]bool{}
	for _, id := range []string{"a", "a@2"} {
		dir := filepath.Join(r.DataDir, "streams", id, "data")
		assert.DirExists(t, dir)
		want[dir] = true
	}
	assert.Equal(t, want, told)
}

// TestReplicasKeepTheirFolders: what a replica has there outlives a pause, an idle
// time, and a log level that it does not take.
func TestReplicasKeepTheirFolders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more string
		away func(t *testing.T, r *restartable)
	}{
		"pause": {"", func(t *testing.T, r *restartable) {
			r.expect(t, 200, "POST", "/streams/a/pause", "")
			r.expect(t, 200, "POST", "/streams/a/resume", "")
		}},
		"idle": {", idle_timeout: 1s", func(t *testing.T, r *restartable) {
			awaitState(t, r.client, "a", "idle")
			r.expect(t, 200, "POST", "/a/post", "x")
		}},
		"log level": {"", func(t *testing.T, r *restartable) {
			pid := replicasNow(t, r.client, "a").Runners[1].PID
			freeze(t, pid)
			r.expect(t, 200, "PUT", "/streams/a/log-level", `{"level": "debug"}`)
			assert.Contains(t, replicasNow(t, r.client, "a").Failure, "replica 2: ")
			require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
			await(t, changeTimeout, "it to be taken", func() error {
				if now := replicasNow(t, r.client, "a"); now.Failure != "" {
					return errors.New(now.Failure)
				}
				return nil
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			r.start(t, append([]string{"--set", "timeouts.rpc=1s"}, quickStop...)...)
			r.expect(t, 200, "POST", "/streams/a", several("a", "2"+c.more))
			files := keptIn(t, r.DataDir, "a", "a@2")
			c.away(t, r)
			awaitReplicas(t, r.client, "a", 2)
			for _, file := range files {
				assert.FileExists(t, file)
			}
			r.expect(t, 200, "PATCH", "/streams/a", "runtime: {replicas: 1}")
			assert.FileExists(t, files[0])
			assert.NoFileExists(t, files[1], "of one that there is not to be any more")
		})
	}
}

// TestReplicasRestOverRestarts: those that are not needed have no process under the
// next supervisor either, and all that they had when they are needed.
func TestReplicasRestOverRestarts(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/scaled", "runtime: {replicas: {min: 1, max: 2, in_flight: 1, cooldown: 300ms}}\n"+napping("scaled"))
	r.expect(t, 200, "POST", "/streams/paused", several("paused", "2"))
	calls := nap(t, r.client, "scaled", 2, "1s")
	awaitReplicas(t, r.client, "scaled", 2)
	files := keptIn(t, r.DataDir, "scaled", "scaled@2", "paused", "paused@2")
	allAnswered(t, calls)
	awaitReplicas(t, r.client, "scaled", 1)
	r.expect(t, 200, "POST", "/streams/paused/pause", "")
	resting := func(how string) {
		for id, first := range map[string]string{"scaled": "running", "paused": "paused"} {
			awaitState(t, r.client, id, first)
			now := replicasNow(t, r.client, id)
			if !assert.Len(t, now.Runners, 2, "%s: %+v", how, now) {
				continue
			}
			assert.Equal(t, "idle", now.Runners[1].State, how)
			assert.Zero(t, now.Runners[1].PID, how)
			assert.NotEmpty(t, now.Runners[1].Reason, how)
		}
		assert.Len(t, r.runners(), 1, how)
		assert.Equal(t, "OK", r.expect(t, 200, "GET", "/ready", "").Text(), how)
		for _, file := range files {
			assert.FileExists(t, file, how)
		}
	}
	resting("before")
	restartBothWays(t, r, resting)

	r.expect(t, 200, "POST", "/streams/paused/resume", "")
	awaitReplicas(t, r.client, "paused", 2)
	calls = nap(t, r.client, "scaled", 2, "1s")
	awaitReplicas(t, r.client, "scaled", 2)
	allAnswered(t, calls)
	for _, file := range files {
		assert.FileExists(t, file)
	}
}

// TestReplicasRestThroughChanges: one that is not needed is started by none, and has
// taken them all when it is.
func TestReplicasRestThroughChanges(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	resource := func(value string) {
		p.expect(t, 200, "POST", "/resources/cache/shared", fmt.Sprintf(`{"memory": {"init_values": {"k": "%s"}}}`, value))
	}
	config := func(tag string) string {
		reads := strings.Replace(napping(tag), "{sleep:", "{cache: {resource: shared, operator: get, key: k}}, {mapping: 'root = content()'}, {sleep:", 1)
		return "runtime: {replicas: {min: 1, max: 2, in_flight: 1, cooldown: 300ms}}\n" + reads
	}
	resource("one")
	p.expect(t, 200, "POST", "/streams/a", config("a"))
	calls := nap(t, p.client, "a", 2, "1s")
	awaitReplicas(t, p.client, "a", 2)
	allAnswered(t, calls)
	awaitReplicas(t, p.client, "a", 1)
	for name, change := range map[string]func(){
		"restart":   func() { p.expect(t, 200, "POST", "/streams/a/restart", "") },
		"resource":  func() { resource("two") },
		"log level": func() { p.expect(t, 200, "PUT", "/streams/a/log-level", `{"level": "debug"}`) },
		"config":    func() { p.expect(t, 200, "PUT", "/streams/a", config("b")) },
	} {
		change()
		now := replicasNow(t, p.client, "a")
		assert.Equal(t, 1, now.busy(), "%s: %+v", name, now)
		assert.Len(t, p.runners(), 2, "%s, with the resource host", name)
	}
	calls = nap(t, p.client, "a", 2, "1s")
	awaitReplicas(t, p.client, "a", 2)
	calls = append(calls, nap(t, p.client, "a", 2, "1ms")...)
	for _, call := range calls {
		assert.Equal(t, "b:two", end(t, "a call", call).Text())
	}
}

// TestReplicasCooldownOverARestart: a supervisor that starts gives no runner back
// earlier than the last one would have.
func TestReplicasCooldownOverARestart(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 3, in_flight: 2, cooldown: 1h}}\n"+napping("a"))
	allAnswered(t, nap(t, r.client, "a", 6, "300ms"))
	before := awaitReplicas(t, r.client, "a", 3)
	r.kill9(t)
	r.start(t)
	// It is 1 until it was decided how many there are to be.
	await(t, changeTimeout, "as many to be wanted", func() error {
		if now := replicasNow(t, r.client, "a"); now.Desired != 3 {
			return fmt.Errorf("it has %+v", now)
		}
		return nil
	})
	assert.Equal(t, before.pids(), awaitReplicas(t, r.client, "a", 3).pids())
}

// TestReplicasScaleDownCutsNoCall: a runner is given back when it has nothing to do,
// however long its calls take.
func TestReplicasScaleDownCutsNoCall(t *testing.T) {
	t.Parallel()
	// The calls take longer than a stop, and than the cooldown.
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 2, in_flight: 2, cooldown: 500ms}}\n"+napping("a"))
	short := nap(t, p.client, "a", 4, "1s")
	awaitReplicas(t, p.client, "a", 2)
	// The second has the fewest calls.
	long := nap(t, p.client, "a", 2, "6s")
	allAnswered(t, short)
	await(t, changeTimeout, "it to have calls that are not too many for the first", func() error {
		now := replicasNow(t, p.client, "a")
		if now.Runners[1].Calls == 0 || now.Runners[0].Calls+now.Runners[1].Calls != 2 {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
	allAnswered(t, long)
	awaitReplicas(t, p.client, "a", 1)
}

// TestReplicasScaleUpWhileOneLeaves: others are started while one takes its time to
// end.
func TestReplicasScaleUpWhileOneLeaves(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.stop=20s", "--set", "timeouts.shutdown=2s")
	p.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 4, in_flight: 1, cooldown: 300ms}}\n"+napping("a"))
	calls := nap(t, p.client, "a", 2, "1s")
	pid := awaitReplicas(t, p.client, "a", 2).Runners[1].PID
	freeze(t, pid)
	await(t, changeTimeout, "it to be leaving", func() error {
		if now := replicasNow(t, p.client, "a"); now.Running != 1 {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
	calls = append(calls, nap(t, p.client, "a", 4, "4s")...)
	await(t, changeTimeout, "others to run", func() error {
		if now := replicasNow(t, p.client, "a"); now.Running < 2 {
			return fmt.Errorf("they are %+v", now)
		}
		return nil
	})
	assert.Error(t, gone(pid), "they have waited for the one that leaves")
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	allAnswered(t, calls)
}

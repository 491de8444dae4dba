package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A replica has a folder of its own, which exists.
func TestRevFolder(t *testing.T) {
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", `
runtime: {replicas: 2}
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = env("PENSTOCK_STREAM_DIR")'}]}
output: {sync_response: {}}
`)
	for range 4 {
		dir := r.expect(t, 200, "POST", "/a/post", "x").Text()
		_, err := os.Stat(dir)
		assert.NoError(t, err, "PENSTOCK_STREAM_DIR of a runner")
	}
	entries, _ := filepath.Glob(filepath.Join(r.DataDir, "streams", "*", "*"))
	t.Log(entries)
}

// Replicas run under strict, each as a user of its own.
func TestRevStrict(t *testing.T) {
	p, _ := startStrict(t)
	a := p.call(t, "POST", "/streams/a", several("a", "2"))
	t.Log(a.Status, a.Text())
	now := replicasNow(t, p.client, "a")
	require.NotNil(t, now)
	t.Logf("%+v", now)
	assert.Equal(t, 2, now.Running, now.Failure)
	uids := map[uint32]bool{}
	for pid := range now.pids() {
		info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		require.NoError(t, err)
		uids[info.Sys().(*syscall.Stat_t).Uid] = true
	}
	assert.Len(t, uids, 2, "%v", uids)
}

// GETs while the number changes.
func TestRevGets(t *testing.T) {
	for name, ops := range map[string][]string{
		"replicas": {"runtime: {replicas: 1}", "runtime: {replicas: 3}"},
		"log level only (control)": {},
	} {
		t.Run(name, func(t *testing.T) {
			p := startPenstock(t)
			config := "runtime: {replicas: 3}\n" + strings.Replace(strings.Replace(echo("a"), "path: /post", "path: /post, allowed_verbs: [GET, POST]", 1), "{processors: [", "{threads: 8, processors: [{sleep: {duration: 30ms}}, ", 1)
			p.expect(t, 200, "POST", "/streams/a", config)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var mu sync.Mutex
			seen := map[string]int{}
			for range 4 {
				wg.Go(func() {
					for ctx.Err() == nil {
						a, err := p.ask(context.Background(), request{Method: http.MethodGet, Path: "/a/post"})
						what := fmt.Sprint(err)
						if err == nil {
							what = fmt.Sprint(a.Status)
							if a.Status != 200 {
								what += a.Text()
							}
						}
						mu.Lock()
						seen[what]++
						mu.Unlock()
					}
				})
			}
			for range 4 {
				for _, op := range ops {
					p.expect(t, 200, "PATCH", "/streams/a", op)
				}
				time.Sleep(100 * time.Millisecond)
			}
			cancel()
			wg.Wait()
			t.Log(seen)
			delete(seen, "200")
			assert.Empty(t, seen)
		})
	}
}

// A set that gives the address of a's own listener to b.
func TestRevListenSwap(t *testing.T) {
	for _, replicas := range []string{"1", "3"} {
		t.Run(replicas, func(t *testing.T) {
			p := startPenstock(t)
			x, y := freeAddress(t), freeAddress(t)
			conf := func(tag, address string) string {
				return several(tag, fmt.Sprintf("%s, http: {listen: '%s'}", replicas, address))
			}
			set := func(a, b string) string {
				return fmt.Sprintf("a: {%s}\nb: {%s}\n", "", "")
			}
			_ = set
			p.expect(t, 200, "POST", "/streams/a", conf("a", x))
			indent := func(s string) string { return strings.ReplaceAll("\n"+strings.TrimSpace(s), "\n", "\n  ") + "\n" }
			a := p.call(t, "POST", "/streams", "a:"+indent(conf("a", y))+"b:"+indent(conf("b", x)))
			assert.Equal(t, 200, a.Status, a.Text())
		})
	}
}

// PUT of a config that ends at once: the replicas must not go on with the old one.
func TestRevPutFinishes(t *testing.T) {
	p := startPenstock(t, quickStop...)
	old := "runtime: {replicas: 3}\ninput: {generate: {interval: 100ms, mapping: 'root = \"old\"'}}\noutput: {drop: {}}\n"
	left, missing := 0, 0
	for i := range 6 {
		id := fmt.Sprint("s", i)
		p.expect(t, 200, "POST", "/streams/"+id, old)
		awaitReplicas(t, p.client, id, 3)
		p.expect(t, 200, "PUT", "/streams/"+id, "runtime: {replicas: 3}\ninput: {generate: {count: 1, interval: '', mapping: 'root = \"new\"'}}\noutput: {drop: {}}\n")
		time.Sleep(1500 * time.Millisecond)
		now := replicasNow(t, p.client, id)
		for _, r := range now.Runners {
			if r.State == "running" {
				left++
			}
		}
		// and created so
		id += "c"
		p.expect(t, 200, "POST", "/streams/"+id, "runtime: {replicas: 3}\ninput: {generate: {count: 1, interval: '', mapping: 'root = \"new\"'}}\noutput: {drop: {}}\n")
		time.Sleep(500 * time.Millisecond)
		missing += 3 - len(replicasNow(t, p.client, id).Runners)
	}
	assert.Zero(t, left, "runners that run the old config after PUT was answered")
	assert.Zero(t, missing, "runners that were never made")
}

// The parent fails for good: others can be reached, also without prefixes, and
// take a change.
func TestRevFirstFails(t *testing.T) {
	for _, prefix := range []string{"true", "false"} {
		t.Run(prefix, func(t *testing.T) {
			p := startPenstock(t, append([]string{"--set", "prefix_stream_endpoints=" + prefix}, quickStop...)...)
			p.expect(t, 200, "POST", "/streams/a", several("a", "2, restart: {policy: never}"))
			before := awaitReplicas(t, p.client, "a", 2)
			require.NoError(t, syscall.Kill(before.Runners[0].PID, syscall.SIGKILL))
			awaitState(t, p.client, "a", "failed")
			path := "/a/post"
			if prefix == "false" {
				path = "/post"
			}
			a := p.call(t, "POST", path, "x")
			assert.Equal(t, 200, a.Status, a.Text())
		})
	}
}

// A call that takes long, and scaling down.
func TestRevScaleDownCutsCalls(t *testing.T) {
	p := startPenstock(t, quickStop...)
	slow := strings.Replace(echo("a"), "{processors: [", `{threads: 8, processors: [{sleep: {duration: "${! metadata(\"For\").or(\"1s\") }"}}, `, 1)
	slow = strings.Replace(slow, "path: /post", "path: /post, timeout: 30s", 1)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 2, in_flight: 2, cooldown: 500ms}}\n"+slow)
	var wg sync.WaitGroup
	ask := func(forTime string) {
		wg.Go(func() {
			a, err := p.ask(context.Background(), request{Method: http.MethodPost, Path: "/a/post", Body: "x", Header: map[string]string{"For": forTime}})
			if assert.NoError(t, err) {
				assert.Equal(t, 200, a.Status, "%s: %s", forTime, a.Text())
			}
		})
	}
	for range 4 {
		ask("1s")
	}
	awaitReplicas(t, p.client, "a", 2)
	ask("8s")
	ask("8s")
	wg.Wait()
	t.Logf("%+v", replicasNow(t, p.client, "a"))
}

// One replica hangs while it is replaced. What comes next is not kept waiting
// for it, nor do others run an old config after an answer of 200.
func TestRevSlowReplica(t *testing.T) {
	p := startPenstock(t, "--set", "timeouts.stop=8s", "--set", "timeouts.shutdown=3s")
	conf := func(tag string) string {
		return "runtime: {replicas: 3}\ninput: {generate: {interval: 100ms, mapping: 'root = \"" + tag + "\"'}}\npipeline: {processors: [{log: {message: \"tag-" + tag + "\"}}]}\noutput: {drop: {}}\n"
	}
	p.expect(t, 200, "POST", "/streams/a", conf("one"))
	before := awaitReplicas(t, p.client, "a", 3)
	require.NoError(t, syscall.Kill(before.Runners[1].PID, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(before.Runners[1].PID, syscall.SIGCONT) })
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		began := time.Now()
		p.expect(t, 200, "PUT", "/streams/a", conf("two"))
		t.Log("PUT took", time.Since(began))
	})
	await(t, changeTimeout, "the first to be changed", func() error {
		if now := replicasNow(t, p.client, "a"); now.Runners[0].PID == before.Runners[0].PID || now.Runners[0].State != "running" {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	// A change whose first runner is soon through.
	began := time.Now()
	p.expect(t, 200, "PUT", "/streams/a", "runtime: {replicas: 3}\ninput: {generate: {count: 1, interval: '', mapping: 'root = 1'}}\noutput: {drop: {}}\n")
	t.Log("the next PUT took", time.Since(began))
	wg.Wait()
	time.Sleep(time.Second)
	now := replicasNow(t, p.client, "a")
	t.Logf("%+v", now)
	for _, r := range now.Runners {
		assert.Equal(t, "finished", r.State, "runner %d", r.Number)
		t.Log(r.Number, p.expect(t, 200, "GET", fmt.Sprintf("/streams/a/logs?replica=%d&tail=1", r.Number), "").Text())
	}
}

func TestRevSlowPause(t *testing.T) {
	p := startPenstock(t, "--set", "timeouts.stop=8s", "--set", "timeouts.shutdown=3s")
	p.expect(t, 200, "POST", "/streams/a", several("one", "3"))
	before := awaitReplicas(t, p.client, "a", 3)
	require.NoError(t, syscall.Kill(before.Runners[1].PID, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(before.Runners[1].PID, syscall.SIGCONT) })
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		began := time.Now()
		t.Log(p.call(t, "PUT", "/streams/a", several("two", "3")).Status)
		t.Log("PUT took", time.Since(began))
	})
	await(t, changeTimeout, "the first to be changed", func() error {
		if now := replicasNow(t, p.client, "a"); now.Runners[0].PID == before.Runners[0].PID || now.Runners[0].State != "running" {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	time.Sleep(300*time.Millisecond)
	began := time.Now()
	wg.Go(func() {
		p.expect(t, 200, "POST", "/streams/a/pause", "")
		t.Log("pause took", time.Since(began))
	})
	time.Sleep(2 * time.Second)
	now := replicasNow(t, p.client, "a")
	t.Logf("two seconds after the pause: %+v", now)
	assert.NotEqual(t, "running", now.Runners[len(now.Runners)-1].State, "the last runner of a stream that is to be paused")
}

// A supervisor dies when some replicas of a stream listen on the old address and
// others on the new one. The old one is free when all is settled.
func TestRevOldAddress(t *testing.T) {
	r := newRestartable(t)
	r.start(t, "--set", "timeouts.stop=5s")
	x, y := freeAddress(t), freeAddress(t)
	conf := func(tag, address string) string {
		return several(tag, fmt.Sprintf("3, http: {listen: '%s'}", address))
	}
	r.expect(t, 200, "POST", "/streams/a", conf("a", x))
	before := awaitReplicas(t, r.client, "a", 3)
	require.NoError(t, syscall.Kill(before.Runners[1].PID, syscall.SIGSTOP))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.ask(context.Background(), request{Method: "PUT", Path: "/streams/a", Body: conf("b", y)})
	}()
	await(t, changeTimeout, "the first to be changed", func() error {
		if now := replicasNow(t, r.client, "a"); now.Runners[0].PID == before.Runners[0].PID || now.Runners[0].State != "running" {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	time.Sleep(500 * time.Millisecond)
	r.kill9(t)
	<-done
	_ = syscall.Kill(before.Runners[1].PID, syscall.SIGCONT)
	r.start(t, "--set", "timeouts.stop=5s")
	r.expect(t, 200, "PUT", "/streams/a/log-level", `{"level": "debug"}`)
	now := awaitReplicas(t, r.client, "a", 3)
	t.Logf("%+v", now)
	for range 6 {
		assert.Contains(t, newCaller(y).expect(t, 200, "POST", "/post", "x").Text(), "b:")
	}
	assert.True(t, nobodyAt(t, x), "the old address is held by nobody that answers")
	a := r.call(t, "POST", "/streams/other", fmt.Sprintf("runtime: {http: {listen: '%s'}}\n%s", x, echo("other")))
	assert.Equal(t, 200, a.Status, a.Text())
}

// All runners of a stream have failed: who connects to its listener is refused.
func TestRevFailedListener(t *testing.T) {
	for _, replicas := range []string{"1", "2"} {
		t.Run(replicas, func(t *testing.T) {
			p := startPenstock(t)
			x := freeAddress(t)
			p.expect(t, 200, "POST", "/streams/a", several("a", replicas+fmt.Sprintf(", restart: {policy: never}, http: {listen: '%s'}", x)))
			for _, runner := range p.runners() {
				require.NoError(t, syscall.Kill(runner.PID, syscall.SIGKILL))
				awaitGone(t, runner.PID)
			}
			awaitState(t, p.client, "a", "failed")
			time.Sleep(200 * time.Millisecond)
			assert.True(t, nobodyAt(t, x))
		})
	}
}

// A supervisor that starts gives no runner back before the cooldown.
func TestRevCooldownAfterRestart(t *testing.T) {
	r := newRestartable(t)
	r.start(t)
	slow := strings.Replace(echo("a"), "{processors: [", "{threads: 8, processors: [{sleep: {duration: 300ms}}, ", 1)
	r.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 3, in_flight: 2, cooldown: 1h}}\n"+slow)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { r.expect(t, 200, "POST", "/a/post", "x") })
	}
	wg.Wait()
	awaitReplicas(t, r.client, "a", 3)
	r.kill9(t)
	r.start(t)
	time.Sleep(2 * time.Second)
	assert.Equal(t, 3, len(replicasNow(t, r.client, "a").Runners), "after a restart within the cooldown")
}

// While one of three is started again the stream is ready: two answer.
func TestRevReady(t *testing.T) {
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/a", several("a", "3"))
	ctx, cancel := context.WithCancel(t.Context())
	seen := map[string]int{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			a, err := p.ask(context.Background(), request{Method: http.MethodGet, Path: "/a/ready"})
			if err == nil {
				what := fmt.Sprint(a.Status)
				if a.Status != 200 {
					what += " " + a.Text()
				}
				seen[what]++
			}
			time.Sleep(time.Millisecond)
		}
	})
	for i := range 3 {
		p.expect(t, 200, "PUT", "/streams/a", several(fmt.Sprint("v", i), "3"))
	}
	cancel()
	wg.Wait()
	for what, n := range seen {
		t.Log(n, what)
		assert.True(t, strings.HasPrefix(what, "200"), what)
	}
}

// Own listeners of a stream with replicas under strict.
func TestRevStrictListen(t *testing.T) {
	p, n := startStrict(t, "--set", "http.stream_listen=['127.0.0.1:1024-65535']")
	a := p.call(t, "POST", "/streams/a", several("a", "2, http: {listen: '127.0.0.1:18080'}"))
	t.Log(a.Status, a.Text())
	now := replicasNow(t, p.client, "a")
	require.NotNil(t, now)
	assert.Equal(t, 2, now.Running, "%+v", now)
	c := newClientIn(n, "http://127.0.0.1:18080")
	for range 6 {
		c.expect(t, 200, "POST", "/post", "x")
	}
	p.expect(t, 200, "PUT", "/streams/a", several("b", "3, http: {listen: '127.0.0.1:18081'}"))
	awaitReplicas(t, p.client, "a", 3)
}

// What a replica keeps in its folder outlives a pause, and a runner that does not
// take a log level.
func TestRevFolderIsKept(t *testing.T) {
	for _, what := range []string{"pause", "log level", "idle"} {
		t.Run(what, func(t *testing.T) {
			r := newRestartable(t)
			r.start(t, "--set", "timeouts.stop=2s", "--set", "timeouts.shutdown=2s")
			more := ""
			if what == "idle" {
				more = ", idle_timeout: 1s"
			}
			r.expect(t, 200, "POST", "/streams/a", several("a", "2"+more))
			kept := filepath.Join(r.DataDir, "streams", "a@2", "data", "buffer.db")
			first := filepath.Join(r.DataDir, "streams", "a", "data", "buffer.db")
			for _, f := range []string{first, kept} {
				require.NoError(t, os.WriteFile(f, []byte("messages"), 0o600))
			}
			switch what {
			case "pause":
				r.expect(t, 200, "POST", "/streams/a/pause", "")
				r.expect(t, 200, "POST", "/streams/a/resume", "")
			case "idle":
				awaitState(t, r.client, "a", "idle")
				r.expect(t, 200, "POST", "/a/post", "x")
			default:
				pid := replicasNow(t, r.client, "a").Runners[1].PID
				require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
				a := r.call(t, "PUT", "/streams/a/log-level", `{"level": "debug"}`)
				t.Log(a.Status, a.Text())
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
			awaitReplicas(t, r.client, "a", 2)
			assert.FileExists(t, first)
			assert.FileExists(t, kept)
		})
	}
}

// While a runner that has to go takes its time, others are made.
func TestRevScaleUpWhileLeaving(t *testing.T) {
	p := startPenstock(t, "--set", "timeouts.stop=12s", "--set", "timeouts.shutdown=2s")
	slow := strings.Replace(echo("a"), "{processors: [", `{threads: 8, processors: [{sleep: {duration: "${! metadata(\"For\").or(\"1s\") }"}}, `, 1)
	slow = strings.Replace(slow, "path: /post", "path: /post, timeout: 30s", 1)
	p.expect(t, 200, "POST", "/streams/a", "runtime: {replicas: {min: 1, max: 4, in_flight: 1, cooldown: 300ms}}\n"+slow)
	var wg sync.WaitGroup
	defer wg.Wait()
	ask := func(forTime string) {
		wg.Go(func() {
			_, _ = p.ask(context.Background(), request{Method: "POST", Path: "/a/post", Body: "x", Header: map[string]string{"For": forTime}})
		})
	}
	ask("1s")
	ask("1s")
	awaitReplicas(t, p.client, "a", 2)
	// On the second, as the first gets the next.
	pid := replicasNow(t, p.client, "a").Runners[1].PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	await(t, changeTimeout, "it to be leaving", func() error {
		if now := replicasNow(t, p.client, "a"); now.Running != 1 {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	began := time.Now()
	for range 4 {
		ask("4s")
	}
	for time.Since(began) < 14*time.Second && replicasNow(t, p.client, "a").Running == 1 {
		time.Sleep(20 * time.Millisecond)
	}
	t.Log("more were made after", time.Since(began))
	assert.Less(t, time.Since(began), 3*time.Second)
}

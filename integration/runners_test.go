package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The same as echo, with a processor that only a larger runner has.
func echoMessaging(tag string) string {
	return withProcessor(tag, fmt.Sprintf(`{awk: {codec: text, program: '{ print "%s:" $0 }'}}`, tag))
}

func echoConnect(tag string) string {
	return withProcessor(tag, fmt.Sprintf(`{javascript: {code: 'benthos.v0_msg_set_string("%s:" + benthos.v0_msg_as_string());'}}`, tag))
}

func withProcessor(tag, processor string) string {
	return strings.Replace(echo(tag), fmt.Sprintf(`{mapping: 'root = "%s:" + content().string()'}`, tag), processor, 1)
}

// answers checks what the stream a says to a call.
func answers(t testing.TB, c *client, want string) {
	t.Helper()
	assert.Equal(t, want, strings.TrimSpace(c.expect(t, 200, "POST", "/a/post", "x").Text()))
}

// TestRunnersAreChosen: the smallest that has what a config names, wherever it
// does. None of the servers exists.
func TestRunnersAreChosen(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	var version struct{ Runners map[string]string }
	p.getJSON(t, "/version", &version)
	assert.Len(t, version.Runners, 3)

	const generate = "input: {generate: {interval: 1h, mapping: 'root = {}'}}\n"
	for name, of := range map[string]struct{ config, runner string }{
		"plain":          {echo("a"), "core"},
		"http":           {generate + "output: {http_client: {url: 'http://127.0.0.1:1'}}", "core"},
		"input":          {"input: {redis_streams: {url: 'tcp://127.0.0.1:1', streams: [a], body_key: b}}\noutput: {drop: {}}", "messaging"},
		"by type":        {"input: {type: nats, nats: {urls: ['nats://127.0.0.1:1'], subject: a}}\noutput: {drop: {}}", "messaging"},
		"output":         {generate + "output: {fallback: [{drop: {}}, {switch: {cases: [{check: 'false', output: {drop: {}}}, {output: {retry: {output: {kafka_franz: {seed_brokers: ['127.0.0.1:1'], topic: a}}}}}]}}]}", "messaging"},
		"beside output":  {generate + "output: {drop: {}, processors: [{awk: {codec: none, program: '{}'}}]}", "messaging"},
		"processor":      {echoMessaging("a"), "messaging"},
		"deep":           {generate + "pipeline: {processors: [{workflow: {branches: {a: {processors: [{try: [{switch: [{processors: [{awk: {codec: none, program: '{}'}}]}]}]}]}}}}]}\noutput: {drop: {}}", "messaging"},
		"anchor":         {generate + "pipeline: {processors: [&a {try: [{javascript: {code: '1'}}]}, *a]}\noutput: {drop: {}}", "connect"},
		"of two":         {generate + "pipeline: {processors: [{awk: {codec: none, program: '{}'}}, {branch: {processors: [{javascript: {code: '1'}}]}}]}\noutput: {drop: {}}", "connect"},
		"asked for":      {"runtime: {runner: connect}\n" + echo("a"), "connect"},
		"asked for core": {"runtime: {runner: core}\n" + echo("a"), "core"},
	} {
		id := strings.ReplaceAll(name, " ", "-")
		p.expect(t, 200, "POST", "/streams/"+id, of.config)
		assertRunner(t, p.client, id, of.runner)
		assert.Equal(t, version.Runners[of.runner], mustStatus(t, p.client, id).RunnerVersion)
	}

	// What nobody knows is the linter's to name, of the core runner or of the one
	// that has the rest.
	for config, lint := range map[string]string{
		"input: {quue: {}}\noutput: {drop: {}}":                                                                "quue",
		"input: {type: '${KIND:quue}', quue: {}}\noutput: {drop: {}}":                                          "quue",
		"input: {generate: {mapping: 'root = 1'}}\npipeline: {processors: [{javascript: {code: 1, kode: 1}}]}": "kode",
	} {
		a := p.expect(t, 400, "POST", "/streams/none", config)
		assert.Contains(t, a.Text(), `"lint_errors"`, config)
		assert.Contains(t, a.Text(), lint, config)
	}
	a := p.expect(t, 400, "POST", "/streams/none", "runtime: {runner: core}\n"+echoConnect("a"))
	assert.Equal(t, "Error: the runner core, which is asked for, does not have the processor javascript at pipeline.processors.0: the runner connect has it", a.Text())
	a = p.expect(t, 400, "POST", "/streams/none", "runtime: {runner: mine}\n"+echo("a"))
	assert.Equal(t, "Error: there is no runner mine: installed are core, messaging, connect", a.Text())
	// A variable in the place of a name is nothing to go by: the runner is to be
	// asked for.
	config := "runtime: {runner: messaging, env: {KIND: awk}}\n" + withProcessor("a", "{type: '${KIND}', awk: {codec: text, program: '{ print \"v:\" $0 }'}}")
	p.expect(t, 200, "POST", "/streams/a", config)
	answers(t, p.client, "v:x")
}

// TestRunnersAndResources: those that a stream mentions count, and it is given no
// others that its runner could not build.
func TestRunnersAndResources(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	const far = `awk: {codec: text, program: '{ print "far:" $0 }'}`
	p.expect(t, 200, "POST", "/resources/processor/far", far)
	p.expect(t, 200, "POST", "/resources/processor/near", "mapping: root = content().string()")
	p.expect(t, 200, "POST", "/resources/processor/both", "try: [{resource: near}, {resource: far}]")
	p.expect(t, 200, "POST", "/resources/processor/shout", "try: [{javascript: {code: 'benthos.v0_msg_set_string(\"JS\");'}}]")
	a := p.expect(t, 400, "POST", "/resources/processor/bad", "awk: {programme: a}")
	assert.Contains(t, a.Text(), "programme", "the linter of the runner that has it")

	with := func(resource string) string { return withProcessor("a", "{resource: "+resource+"}") }
	p.expect(t, 200, "POST", "/streams/a", with("near"))
	assertRunner(t, p.client, "a", "core")
	p.expect(t, 200, "PUT", "/streams/a", with("both"))
	assertRunner(t, p.client, "a", "messaging")
	answers(t, p.client, "far:x")
	p.expect(t, 200, "PUT", "/streams/a", with("shout"))
	assertRunner(t, p.client, "a", "connect")
	answers(t, p.client, "JS")
	p.expect(t, 200, "PUT", "/streams/a", with("near"))
	assertRunner(t, p.client, "a", "core")
	answers(t, p.client, "x")

	// A change of the resource moves the streams that use it.
	pid := mustStatus(t, p.client, "a").PID
	p.expect(t, 200, "POST", "/resources/processor/near", far)
	assertRunner(t, p.client, "a", "messaging")
	assert.NotEqual(t, pid, mustStatus(t, p.client, "a").PID)
	p.expect(t, 200, "POST", "/resources/processor/near", "mapping: root = content().string()")
	assertRunner(t, p.client, "a", "core")
	answers(t, p.client, "x")
	p.expect(t, 400, "PUT", "/streams/a", "runtime: {runner: core}\n"+with("both"))
	assertRunner(t, p.client, "a", "core")

	// What all streams share is in the resource host, which is of another runner.
	p.expect(t, 200, "POST", "/resources/cache/away", "memcached: {addresses: ['127.0.0.1:1']}")
	p.expect(t, 200, "PUT", "/streams/a", withProcessor("a", "{cache: {resource: away, operator: set, key: k, value: v}}"))
	assertRunner(t, p.client, "a", "core")

	// Several runners of a stream, and one that rests, are of the same.
	p.expect(t, 200, "PUT", "/streams/a", "runtime: {replicas: 2}\n"+echoMessaging("m"))
	var status struct {
		Replicas struct {
			Runners []struct {
				State, Runner string
			}
		}
	}
	p.getJSON(t, "/streams/a/status", &status)
	require.Len(t, status.Replicas.Runners, 2)
	for _, r := range status.Replicas.Runners {
		assert.Equal(t, "messaging", r.Runner)
	}
	p.expect(t, 200, "PUT", "/streams/a", "runtime: {idle_timeout: 200ms}\n"+echoMessaging("m"))
	awaitState(t, p.client, "a", "idle")
	answers(t, p.client, "m:x")
	assertRunner(t, p.client, "a", "messaging")
}

// TestRunnersThatAreNotInstalled: the refusal says what, where, who and how; and
// the runner is found once it is there.
func TestRunnersThatAreNotInstalled(t *testing.T) {
	t.Parallel()
	core := runnersOf(t)
	p := startPenstock(t, "--runner", core)
	const missing = "no runner that is installed has the processor awk at pipeline.processors.0: " +
		"the runner messaging has it, and is not installed: `make build-messaging` builds it"
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	for _, of := range []struct{ method, path, config, want string }{
		{"POST", "/streams/b", echoMessaging("b"), "Error: " + missing},
		{"POST", "/streams/b?chilled=true", echoMessaging("b"), "Error: " + missing},
		{"PUT", "/streams/a", echoMessaging("b"), "Error: " + missing},
		{"PATCH", "/streams/a", "pipeline: {processors: [{awk: {codec: text, program: a}}]}", "Error: " + missing},
		{"POST", "/streams", "b:" + strings.ReplaceAll(echoMessaging("b"), "\n", "\n  "), "Error: stream 'b': " + missing},
		{"POST", "/resources/cache/far", "redis: {url: 'tcp://127.0.0.1:1'}", "Error: no runner that is installed has the cache redis at cache resource far: " +
			"the runner messaging has it, and is not installed: `make build-messaging` builds it"},
		{"POST", "/streams/b", "runtime: {runner: connect}\n" + echo("b"), "Error: there is no runner connect: installed are core; `make build-connect` builds it"},
		{"POST", "/streams/b", echoConnect("b"), "Error: no runner that is installed has the processor javascript at pipeline.processors.0: " +
			"the runner connect has it, and is not installed: `make build-connect` builds it"},
	} {
		a := p.expect(t, 400, of.method, of.path, of.config)
		assert.Equal(t, of.want, a.Text())
	}
	answers(t, p.client, "a:x")
	assertRunner(t, p.client, "a", "core")

	// Under another name it is somebody's own.
	mine := core + "-mine"
	require.NoError(t, putBinary(allRunners(t)+"-messaging", mine))
	p.expect(t, 200, "PUT", "/streams/a", echoMessaging("m"))
	assertRunner(t, p.client, "a", "mine")
	answers(t, p.client, "m:x")

	// Without its binary a runner runs on, but is not started again.
	require.NoError(t, os.Remove(mine))
	answers(t, p.client, "m:x")
	require.NoError(t, syscall.Kill(mustStatus(t, p.client, "a").PID, syscall.SIGKILL))
	await(t, changeTimeout, "the reason", func() error {
		if s := mustStatus(t, p.client, "a"); s.State != "backoff" || !strings.Contains(s.Reason, missing) {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	a := p.expect(t, 400, "POST", "/streams/a/restart", "")
	assert.Equal(t, "Error: "+missing, a.Text())
	require.NoError(t, putBinary(allRunners(t)+"-messaging", core+"-messaging"))
	p.expect(t, 200, "POST", "/streams/a/restart", "")
	assertRunner(t, p.client, "a", "messaging")
	answers(t, p.client, "m:x")
}

// TestRunnersThatAreBroken: one that does not say what it carries keeps nobody
// from the others.
func TestRunnersThatAreBroken(t *testing.T) {
	t.Parallel()
	core := runnersOf(t)
	require.NoError(t, os.WriteFile(core+"-broken", []byte("#!/bin/sh\necho no such thing >&2\nexit 3\n"), 0o755))
	require.NoError(t, os.WriteFile(core+"-hangs", []byte("#!/bin/sh\nexec sleep 600\n"), 0o755))
	p := startPenstock(t, "--runner", core)
	began := time.Now()
	p.expect(t, 200, "POST", "/streams/a", echo("a"))
	assert.Less(t, time.Since(began), 5*time.Second)
	assertRunner(t, p.client, "a", "core")
	require.NoError(t, os.Remove(core+"-hangs"))
	a := p.expect(t, 400, "POST", "/streams/b", "runtime: {runner: broken}\n"+echo("b"))
	assert.Equal(t, fmt.Sprintf("Error: the runner broken (%[1]s-broken) cannot be used: %[1]s-broken --describe failed: exit status 3: it printed: no such thing", core), a.Text())
	log, err := os.ReadFile(p.LogFile)
	require.NoError(t, err)
	assert.Contains(t, string(log), "a runner cannot be used")
}

// TestRunnersChangeWithoutAGap: a PUT from one to another answers every call.
func TestRunnersChangeWithoutAGap(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	p.expect(t, 200, "POST", "/streams/a", echo("core"))
	var calls atomic.Int64
	over, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-over:
				done <- nil
				return
			default:
			}
			a, err := p.ask(t.Context(), request{Method: "POST", Path: "/a/post", Body: "x"})
			if err == nil && a.Status != 200 {
				err = fmt.Errorf("call %d: %d %s", calls.Load(), a.Status, a.Text())
			}
			if err != nil {
				done <- err
				return
			}
			calls.Add(1)
		}
	}()
	for range 3 {
		for runner, config := range map[string]string{"core": echo("core"), "messaging": echoMessaging("messaging"), "connect": echoConnect("connect")} {
			p.expect(t, 200, "PUT", "/streams/a", config)
			assertRunner(t, p.client, "a", runner)
			answers(t, p.client, runner+":x")
		}
	}
	close(over)
	require.NoError(t, <-done)
	t.Logf("%d calls over 9 changes", calls.Load())
	assert.Greater(t, calls.Load(), int64(100))
}

// TestRunnersOutliveAndRestart: a large runner is started again as such, and taken
// over by the next supervisor, to which its own binary's version counts.
func TestRunnersOutliveAndRestart(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.Runner = allRunners(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echoConnect("a"))
	before := mustStatus(t, r.client, "a")
	require.NoError(t, syscall.Kill(before.PID, syscall.SIGKILL))
	await(t, changeTimeout, "another process", func() error {
		if s := mustStatus(t, r.client, "a"); s.State != "running" || s.PID == before.PID {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	assertRunner(t, r.client, "a", "connect")
	answers(t, r.client, "a:x")

	before = mustStatus(t, r.client, "a")
	r.kill9(t)
	assert.Equal(t, "connect", r.runnerRecord(t, "a")["runner"])
	took := r.start(t)
	t.Logf("the next supervisor answered after %s", took)
	after := mustStatus(t, r.client, "a")
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, "connect", after.Runner)
	assert.Equal(t, before.RunnerVersion, after.RunnerVersion)
	answers(t, r.client, "a:x")

	// A record of before there were others is of the core runner.
	r.expect(t, 200, "POST", "/streams/b", echo("b"))
	r.kill9(t)
	r.amendRunner(t, "b", func(rec record) record {
		delete(rec, "runner")
		return rec
	})
	r.start(t)
	assertRunner(t, r.client, "b", "core")
	kept, err := os.ReadDir(filepath.Join(r.DataDir, "runners"))
	require.NoError(t, err)
	assert.Len(t, kept, 3)
	r.stop(t)
}

// TestRunnersInEveryProfile starts each runner in the other profiles.
func TestRunnersInEveryProfile(t *testing.T) {
	t.Parallel()
	t.Run("none", func(t *testing.T) {
		p := startConnected(t, "--isolation", "none")
		p.expect(t, 200, "POST", "/streams/a", echoConnect("a"))
		answers(t, p.client, "a:x")
	})
	t.Run("warm", func(t *testing.T) {
		p := startConnected(t, "--set", "warm_pool.size=1")
		p.expect(t, 200, "POST", "/streams/a", echoConnect("a"))
		assertRunner(t, p.client, "a", "connect")
		p.expect(t, 200, "PUT", "/streams/a", echo("a"))
		assertRunner(t, p.client, "a", "core")
		answers(t, p.client, "a:x")
	})
	t.Run("named", func(t *testing.T) {
		core := runnersOf(t)
		p := startPenstock(t, "--runner", core, "--set", "runners=[mine="+allRunners(t)+"-messaging]")
		p.expect(t, 200, "POST", "/streams/a", echoMessaging("a"))
		assertRunner(t, p.client, "a", "mine")
	})
	t.Run("templates", func(t *testing.T) {
		template := filepath.Join(t.TempDir(), "loud.yaml")
		require.NoError(t, os.WriteFile(template, []byte(`
name: loud
type: processor
fields: [{name: mark, type: string}]
mapping: |
  root.awk.codec = "text"
  root.awk.program = "{ print $0 \"%s\" }".format(this.mark)
`), 0o600))
		p := startConnected(t, "-t", template)
		p.expect(t, 200, "POST", "/streams/a", withProcessor("a", "{loud: {mark: '!'}}"))
		assertRunner(t, p.client, "a", "messaging")
		answers(t, p.client, "x!")
		p.expect(t, 200, "PUT", "/streams/a", echo("a"))
		assertRunner(t, p.client, "a", "core")
	})
}

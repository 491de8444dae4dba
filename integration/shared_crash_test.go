package integration

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// endHost kills the resource host and waits for the next.
func endHost(t testing.TB, c *client, runners func() []process) {
	t.Helper()
	old := hostOf(t, c, runners)
	require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
	await(t, changeTimeout, "another resource host", func() error {
		if pid := hostOf(t, c, runners); pid == old {
			return fmt.Errorf("it is %d still", pid)
		}
		return nil
	})
}

// TestSharedHostKilled: streams wait for the next host, and of a cache that
// outlives the process nothing is lost. What was being added when it died may
// come out twice, and nothing else.
func TestSharedHostKilled(t *testing.T) {
	t.Parallel()
	const messages, kills = 6000, 3
	p := startPenstock(t)
	cache, out := t.TempDir(), t.TempDir()
	p.expect(t, 200, "POST", "/resources/cache/seen", "file: {directory: "+quoted(cache)+"}")
	var pids []int
	for i := range dedupeStreams {
		id := fmt.Sprintf("s%d", i)
		p.expect(t, 200, "POST", "/streams/"+id, dedupeYAML(id, filepath.Join(out, id), messages))
		pids = append(pids, mustStatus(t, p.client, id).PID)
	}
	for i := range kills {
		want := (i + 1) * messages / (kills + 1)
		await(t, time.Minute, fmt.Sprintf("%d messages", want), func() error {
			if got := len(outputs(t, out)); got < want {
				return fmt.Errorf("there are %d", got)
			}
			return nil
		})
		endHost(t, p.client, p.runners)
	}
	for i := range dedupeStreams {
		id := fmt.Sprintf("s%d", i)
		awaitOver(t, p.client, id)
		status := mustStatus(t, p.client, id)
		assert.Zero(t, status.Restarts, "%s: its runner %d went on", id, pids[i])
	}
	got := outputs(t, out)
	twice := 0
	for _, n := range got {
		twice += n - 1
	}
	t.Logf("%d messages by %d streams each, the host killed %d times: %d came out, %d of them again", messages, dedupeStreams, kills, len(got), twice)
	assert.Len(t, got, messages, "none is lost")
	// One of each stream is being added at a time.
	assert.LessOrEqual(t, twice, kills*dedupeStreams)
}

// TestSharedMemoryAfterACrash: what a memory cache held goes with the host's
// process, and streams go on with an empty one.
func TestSharedMemoryAfterACrash(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {init_values: {first: value}}")
	p.expect(t, 200, "POST", "/streams/a", usesCache("mine"))
	pid := runnerOf(t, p.client, "a")
	assert.Equal(t, "one", operate(t, p.client, "a", "set", "k", "one"))
	assert.Equal(t, "one", operate(t, p.client, "a", "get", "k", "x"))
	endHost(t, p.client, p.runners)
	assert.Contains(t, operate(t, p.client, "a", "get", "k", "x"), "does not exist")
	assert.Equal(t, "value", operate(t, p.client, "a", "get", "first", "x"))
	assert.Equal(t, pid, runnerOf(t, p.client, "a"))
}

// TestSharedAdoption: streams and host go on sharing without their supervisor,
// and the next one connects them again when the host dies.
func TestSharedAdoption(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/resources/cache/mine", "memory: {}")
	out := t.TempDir()
	for _, id := range []string{"a", "b"} {
		r.expect(t, 200, "POST", "/streams/"+id, usesCache("mine"))
		assert.Equal(t, id, operate(t, r.client, id, "set", id, id))
	}
	r.expect(t, 200, "POST", "/streams/busy", fmt.Sprintf(`
input: {generate: {interval: 1ms, mapping: 'root = count("busy").string()'}}
pipeline: {threads: 1, processors: [{dedupe: {cache: mine, key: 'busy${! content() }'}}]}
output: {file: {path: %s, codec: lines}}
`, quoted(filepath.Join(out, "busy"))))
	host := hostOf(t, r.client, r.runners)
	pids := []int{runnerOf(t, r.client, "a"), runnerOf(t, r.client, "b"), runnerOf(t, r.client, "busy")}
	more := func(what string) {
		t.Helper()
		before := len(outputs(t, out))
		await(t, changeTimeout, "messages "+what, func() error {
			if now := len(outputs(t, out)); now < before+100 {
				return fmt.Errorf("there are %d, and were %d", now, before)
			}
			return nil
		})
	}
	more("before")
	r.kill9(t)
	more("without a supervisor")
	r.start(t)
	awaitReady(t, r.client)
	assert.Equal(t, pids, []int{runnerOf(t, r.client, "a"), runnerOf(t, r.client, "b"), runnerOf(t, r.client, "busy")})
	assert.Equal(t, host, hostOf(t, r.client, r.runners), "the host was adopted")
	assert.Equal(t, "b", operate(t, r.client, "a", "get", "b", "x"))
	assert.Equal(t, "a", operate(t, r.client, "b", "get", "a", "x"))

	// A change reaches the adopted host.
	r.expect(t, 200, "POST", "/resources/cache/new", "memory: {init_values: {k: new}}")
	r.expect(t, 200, "POST", "/streams/c", usesCache("new"))
	assert.Equal(t, "new", operate(t, r.client, "c", "get", "k", "x"))
	assert.Equal(t, "b", operate(t, r.client, "a", "get", "b", "x"))
	assert.Equal(t, host, hostOf(t, r.client, r.runners))

	// The host dies while there is no supervisor: its streams wait for the next.
	r.kill9(t)
	require.NoError(t, syscall.Kill(host, syscall.SIGKILL))
	r.start(t)
	more("after both")
	assert.Contains(t, operate(t, r.client, "a", "get", "b", "x"), "does not exist")
	assert.Equal(t, "one", operate(t, r.client, "a", "set", "k", "one"))
	assert.Equal(t, "one", operate(t, r.client, "b", "get", "k", "x"))
	endHost(t, r.client, r.runners)
	more("after the next host's end")
	assert.Equal(t, pids, []int{runnerOf(t, r.client, "a"), runnerOf(t, r.client, "b"), runnerOf(t, r.client, "busy")})
	got := outputs(t, out)
	for line, n := range got {
		assert.Equal(t, 1, n, line)
	}
	// A server that ends takes the host along.
	r.stop(t)
	await(t, changeTimeout, "the end of all runners", func() error {
		if left := r.runners(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
	for i := range len(outputs(t, out)) {
		require.Contains(t, got, fmt.Sprint(i+1), "no message is missing")
		if i > len(got)-2 {
			break
		}
	}
}

// TestSharedHostBroken: a host whose resource cannot be built any more has its
// streams wait, says so, and goes on by itself.
func TestSharedHostBroken(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {}")
	p.expect(t, 200, "POST", "/streams/a", usesCache("mine"))
	assert.Equal(t, "one", operate(t, p.client, "a", "set", "k", "one"))
	host := hostOf(t, p.client, p.runners)
	require.NoError(t, syscall.Kill(host, syscall.SIGSTOP))
	// A call waits, and is answered when the host goes on.
	answered := make(chan string, 1)
	go func() {
		a, err := p.ask(t.Context(), request{Method: http.MethodPost, Path: "/a/op", Body: "x", Header: map[string]string{"Op": "get", "Key": "k"}})
		answered <- a.Text() + fmt.Sprint(errors.Join(err))
	}()
	await(t, changeTimeout, "the fault to be told", func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/ready"})
		if err == nil && !strings.Contains(a.Text(), "@resources") {
			err = fmt.Errorf("it answers %s", a)
		}
		return err
	})
	select {
	case text := <-answered:
		t.Fatal("the call was answered: " + text)
	default:
	}
	require.NoError(t, syscall.Kill(host, syscall.SIGCONT))
	assert.Equal(t, "one<nil>", <-answered)
}

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAsyncCrash kills the supervisor at random moments while clients make
// asynchronous calls. Every call that was acknowledged has its result in the end.
func TestAsyncCrash(t *testing.T) {
	t.Parallel()
	const (
		clients = 4
		rounds  = 12
		wanted  = 400
	)
	r := newRestartable(t)
	h := startHooks(t)
	args := []string{"--set", "calls.callbacks.allow=[127.0.0.1]", "--set", "calls.callbacks.backoff.initial=50ms", "--set", "calls.backoff.initial=50ms"}
	r.start(t, args...)
	for n := range 2 {
		r.expect(t, 200, "POST", fmt.Sprintf("/streams/s%d", n), strings.Replace(echo(fmt.Sprintf("s%d", n)), "processors: [", "processors: [{sleep: {duration: 2ms}}, ", 1))
	}

	var mu sync.Mutex
	fetched, sent := map[string]string{}, map[string]string{}
	cut := 0
	for round := 0; round < rounds || len(fetched)+len(sent) < wanted; round++ {
		stop := make(chan struct{})
		var calling sync.WaitGroup
		for n := range clients {
			calling.Go(func() {
				own := newClient(r.Base)
				defer own.close()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					stream, body := fmt.Sprintf("s%d", n%2), fmt.Sprintf("%d-%d-%d", round, n, i)
					ask := request{Method: http.MethodPost, Path: "/" + stream + "/post", Body: body, Header: map[string]string{asyncHeader: "true"}}
					back := i%3 == 0
					if back {
						ask.Header["X-Penstock-Callback-Url"] = h.URL
					}
					a, err := own.ask(t.Context(), ask)
					mu.Lock()
					var call asyncCall
					switch {
					case err != nil:
						cut++
					case a.Status != 202 || json.Unmarshal(a.Body, &call) != nil:
						assert.Fail(t, "a call was not accepted", a)
					case back:
						sent[call.ID] = stream + ":" + body
					default:
						fetched[call.ID] = stream + ":" + body
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(rand.Int64N(int64(200 * time.Millisecond))))
		r.kill9(t)
		close(stop)
		calling.Wait()
		r.start(t, args...)
	}
	t.Logf("%d calls to fetch and %d to be delivered were acknowledged, %d were cut off", len(fetched), len(sent), cut)

	again := 0
	for id, want := range fetched {
		call := callEnded(t, r.client, id)
		require.Equal(t, "done", call.Status, call.Reason)
		require.Equal(t, want, r.expect(t, 200, "GET", "/calls/"+id+"/result", "").Text())
		if call.Attempts > 1 {
			again++
		}
	}
	got := map[string]string{}
	await(t, 60*time.Second, "all callbacks", func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, d := range h.all {
			got[d.Header.Get("X-Penstock-Call-Id")] = d.Body
		}
		missing := 0
		for id := range sent {
			if got[id] == "" {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d are missing", missing)
		}
		return nil
	})
	for id, want := range sent {
		require.Equal(t, want, got[id])
	}
	t.Logf("%d of those that were fetched may have been carried out more than once", again)
	r.stop(t)
}

// What was not answered when the server ends is answered by the next.
func TestAsyncEndOfTheServer(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stop", "detach"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			args := []string{"--on-exit=" + how, "--set", "calls.concurrency=2", "--set", "calls.attempts=1"}
			r.start(t, args...)
			r.expect(t, 200, "POST", "/streams/slow", slowly("50ms"))
			var all []asyncCall
			for range 40 {
				all = append(all, submit(t, r.client, "/slow/post", "x"))
			}
			callEnded(t, r.client, all[3].ID)
			r.stop(t)
			r.start(t, args...)
			first := 0
			for _, call := range all {
				call = callEnded(t, r.client, call.ID)
				assert.Equal(t, "done", call.Status, "an end in good order is no failed attempt: %s", call.Reason)
				if call.Attempts == 1 {
					first++
				}
			}
			assert.GreaterOrEqual(t, first, 38, "what was not begun has its first attempt still")
			r.stop(t)
		})
	}
}

// A stream that is deleted, with calls that wait, just before a crash.
func TestAsyncStreamIsGoneAfterACrash(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	r.expect(t, 200, "POST", "/streams/a/pause", "")
	call := submit(t, r.client, "/a/post", "x")
	r.expect(t, 200, "DELETE", "/streams/a", "")
	r.kill9(t)
	r.start(t)
	failed := callEnded(t, r.client, call.ID)
	assert.Equal(t, "failed", failed.Status)
	assert.Contains(t, failed.Reason, "was deleted")
	r.stop(t)
}

// TestAsyncCorrupt: a server whose file of calls is damaged refuses to start,
// names it and leaves it as it is.
func TestAsyncCorrupt(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	const marked = "the-one-to-be-damaged"
	call := submit(t, r.client, "/a/post", marked)
	callEnded(t, r.client, call.ID)
	r.stop(t)
	path := filepath.Join(r.DataDir, "calls.db")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, damaged := range map[string][]byte{
		"empty":         {},
		"half of it":    whole[:len(whole)/2],
		"another file":  []byte("this is not a file of calls\n"),
		"zeros":         make([]byte, len(whole)),
		"a flipped bit": bytes.ReplaceAll(whole, []byte(marked), []byte("The-one-to-be-damaged")),
		"of streams":    readState(t, r.DataDir),
	} {
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		code, said := serveToEnd(t, r.Penstock, "--data-dir", r.DataDir, "--runner", r.Runner, "--log-level", "error")
		assert.Equal(t, 1, code, name)
		assert.Contains(t, said, path, name)
		assert.Contains(t, said, "it was left as it is: put a backup in its place, or move it away to begin without calls", name)
		assert.Equal(t, 1, strings.Count(said, "\n"), "%s: one line: %s", name, said)
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(damaged, now), "%s: the file was changed", name)
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	r.start(t)
	assert.Equal(t, "a:"+marked, r.expect(t, 200, "GET", "/calls/"+call.ID+"/result", "").Text())
	r.stop(t)
	require.NoError(t, os.Remove(path))
	r.start(t)
	r.expect(t, 404, "GET", "/calls/"+call.ID, "")
	r.stop(t)
}

func readState(t testing.TB, dataDir string) []byte {
	t.Helper()
	text, err := os.ReadFile(stateFile(dataDir))
	require.NoError(t, err)
	return text
}

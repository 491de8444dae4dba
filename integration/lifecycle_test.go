package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// This file holds what the tests of isolation, life cycles and leaks share.

const (
	// changeTimeout bounds the wait for what follows a change at once: a
	// runner that starts, answers, or is gone.
	changeTimeout = 15 * time.Second
	// margin is what a bounded operation may take beyond its bound: the way
	// there and back, on a machine that is busy.
	margin = time.Second
)

// echo is a stream that answers every POST to /{id}/post with the tag, a
// colon, and what was posted.
func echo(tag string) string {
	return fmt.Sprintf(`
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = "%s:" + content().string()'}]}
output: {sync_response: {}}
`, tag)
}

// echoAt is echo on an address of its own, at /post.
func echoAt(tag, address string) string {
	return strings.Replace(echo(tag), "{path: /post}", fmt.Sprintf("{address: '%s', path: /post}", address), 1)
}

const (
	// blockedYAML holds a message that nobody fetches.
	blockedYAML = `
input: {generate: {interval: "", mapping: 'root = "x"'}}
output: {http_server: {path: /get}}
`
	// misspeltYAML does not lint.
	misspeltYAML = `
input: {http_server: {path: /post, no_such_field: 1}}
output: {sync_response: {}}
`
	// unbuildableYAML lints, but what it refers to does not exist.
	unbuildableYAML = `
input: {http_server: {path: /post}}
pipeline: {processors: [{dedupe: {cache: no_such_cache, key: '${! content() }'}}]}
output: {sync_response: {}}
`
)

// slowToBuild is a config whose mapping keeps the engine's parser busy for
// half a minute or more, in less than 300 MB.
func slowToBuild() string {
	var b strings.Builder
	b.WriteString("input: {generate: {mapping: 'root = 1', count: 1}}\npipeline:\n  processors:\n    - mapping: |\n")
	for i := range 80_000 {
		fmt.Fprintf(&b, "        root.a%d = this.b\n", i)
	}
	b.WriteString("output: {drop: {}}\n")
	return b.String()
}

// stuckInBuild is a config whose mapping reads a file while it is parsed, and
// the file is a pipe that nobody writes to.
func stuckInBuild(t testing.TB) string {
	t.Helper()
	return "input: {generate: {interval: 1h, mapping: 'root = {}'}}\n" + stuckPipeline(t) + "output: {drop: {}}\n"
}

// stuckPipeline is the part of it that a PATCH can add to any stream.
func stuckPipeline(t testing.TB) string {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	return fmt.Sprintf("pipeline: {processors: [{mapping: 'root = file(\"%s\")'}]}\n", pipe)
}

// listed is what GET /streams tells of one stream.
type listed struct {
	Active bool    `json:"active"`
	Uptime float64 `json:"uptime"`
}

func listStreams(ctx context.Context, c *client) (map[string]listed, error) {
	list := map[string]listed{}
	a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/streams"})
	if err != nil {
		return nil, err
	}
	if a.Status != 200 {
		return nil, fmt.Errorf("GET /streams answered %s", a)
	}
	return list, json.Unmarshal(a.Body, &list)
}

// pidOf returns the process id of a stream's runner, as its statistics tell.
func pidOf(c *client, id string) (int, error) {
	a, err := c.ask(context.Background(), request{Method: http.MethodGet, Path: "/streams/" + id + "/stats"})
	if err != nil {
		return 0, err
	}
	var stats struct {
		Process struct {
			PID int `json:"pid"`
		} `json:"process"`
	}
	if err := json.Unmarshal(a.Body, &stats); err != nil || stats.Process.PID == 0 {
		return 0, fmt.Errorf("no pid in %s", a)
	}
	return stats.Process.PID, nil
}

// awaitPID waits until a stream has a runner whose process id is none of those
// given.
func awaitPID(t testing.TB, c *client, id string, former ...int) int {
	t.Helper()
	var pid int
	await(t, changeTimeout, "a new runner of "+id, func() (err error) {
		if pid, err = pidOf(c, id); err != nil {
			return err
		}
		for _, f := range former {
			if pid == f {
				return fmt.Errorf("it has runner %d still", pid)
			}
		}
		return nil
	})
	return pid
}

// awaitGone waits until a process has ended and was reaped.
func awaitGone(t testing.TB, pid int) {
	t.Helper()
	await(t, changeTimeout, "the end of a process", func() error { return gone(pid) })
}

func gone(pid int) error {
	p, err := readProcess(pid)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("process %d is there: %v %w", pid, p, err)
}

// echoed posts text and wants it back with the tag before it.
func echoed(ctx context.Context, c *client, path, tag, text string) error {
	a, err := c.ask(ctx, request{Method: http.MethodPost, Path: path, Body: text})
	if err != nil {
		return err
	}
	if want := tag + ":" + text; a.Status != 200 || string(a.Body) != want {
		return fmt.Errorf("POST %s answered %s instead of %q", path, a, want)
	}
	return nil
}

// awaitEcho waits until a path answers with a tag.
func awaitEcho(t testing.TB, c *client, path, tag string) {
	t.Helper()
	await(t, changeTimeout, path+" to answer", func() error {
		return echoed(t.Context(), c, path, tag, "hello")
	})
}

// awaitReady waits until /ready has nothing to complain about.
func awaitReady(t testing.TB, c *client) {
	t.Helper()
	await(t, changeTimeout, "/ready", func() error {
		a, err := c.ask(t.Context(), request{Method: http.MethodGet, Path: "/ready"})
		if err == nil && a.Status != 200 {
			err = errors.New(a.String())
		}
		return err
	})
}

// outcome is how a request in the background ended, and how long it took.
type outcome struct {
	answer
	err  error
	took time.Duration
}

// begin sends a request in the background, from a client of its own.
func begin(t testing.TB, c *client, r request) <-chan outcome {
	t.Helper()
	own := newClient(c.Base)
	done := make(chan outcome, 1)
	go func() {
		defer own.close()
		began := time.Now()
		a, err := own.ask(t.Context(), r)
		done <- outcome{a, err, time.Since(began)}
	}()
	return done
}

// end waits for the outcome of begin, which has to be an answer.
func end(t testing.TB, what string, pending <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-pending:
		require.NoError(t, o.err, what)
		return o
	case <-time.After(requestTimeout):
		require.Fail(t, "no answer", what)
		return outcome{}
	}
}

// timed calls f and tells how long it took.
func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	warmUpCycles = 20
	leakCycles   = 2000
	leakWorkers  = 4
	// eventfulEvery is how many cycles there are for one in which more happens
	// than a stream's creation and its end.
	eventfulEvery = 10

	// growthLimit is how much resident memory may come on top over all cycles:
	// the heap of a garbage collector breathes.
	growthLimit = 24 << 20
	// threadLimit is how many threads may come on top. The runtime keeps those
	// that once were needed for blocking calls.
	threadLimit = 8
	// goroutineLimit is how many goroutines a supervisor without streams may
	// have: those of a server that has just become idle.
	goroutineLimit = 60
	// stateLimit is how large the state file may become, in bytes, when there
	// are never more streams than workers.
	stateLimit = 1 << 20
)

// holdings are what a supervisor holds of the system.
type holdings struct {
	Files, Threads, RSS int
	// Data lists the data directory.
	Data []string
}

// TestLeaks creates, changes and deletes streams over and over, and compares
// what the supervisor holds before and after.
func TestLeaks(t *testing.T) {
	p := startPenstock(t, "--log-level", "error")
	cycleAll(t, p, "warm", warmUpCycles, eventful)
	before := settled(t, p, holdings{})
	took := timed(func() {
		cycleAll(t, p, "leak", leakCycles, func(ctx context.Context, c *client, id string, i int) error {
			if i%eventfulEvery == 0 {
				return eventful(ctx, c, id, i/eventfulEvery)
			}
			return brief(ctx, c, id, i)
		})
	})
	after := settled(t, p, before)

	t.Logf("%d cycles in %s; before: %+v; after: %+v", leakCycles, took.Round(time.Millisecond), before, after)
	assert.LessOrEqual(t, after.Files, before.Files, "open files")
	assert.LessOrEqual(t, after.Threads, before.Threads+threadLimit, "threads")
	assert.LessOrEqual(t, after.RSS, before.RSS+growthLimit, "resident memory in bytes")
	assert.Equal(t, before.Data, after.Data, "files in the data directory")
	assert.Empty(t, children(p.PID), "children, zombies too")
	assert.Empty(t, p.runners())
	assert.Empty(t, socketsBelow(t, p.DataDir))

	goroutines := goroutinesAtQuit(t, p)
	t.Logf("%d goroutines", len(goroutines))
	assert.Less(t, len(goroutines), goroutineLimit, "goroutines:\n%s", strings.Join(goroutines, "\n\n"))
	size := assertStoreEmpty(t, p.DataDir)
	t.Logf("the state file has %d bytes", size)
	assert.Less(t, size, int64(stateLimit))
}

// cycleAll runs n cycles, some at a time.
func cycleAll(t *testing.T, p *penstock, prefix string, n int, cycle func(ctx context.Context, c *client, id string, i int) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	numbers := make(chan int)
	errs := make(chan error, leakWorkers)
	var workers sync.WaitGroup
	for range leakWorkers {
		workers.Go(func() {
			c := newClient(p.Base)
			defer c.close()
			for i := range numbers {
				if err := cycle(ctx, c, fmt.Sprintf("%s%d", prefix, i), i); err != nil {
					errs <- fmt.Errorf("cycle %d: %w", i, err)
					cancel()
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case numbers <- i:
		case <-ctx.Done():
		}
	}
	close(numbers)
	workers.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

// expectStatus is ask for goroutines that may not end the test.
func expectStatus(ctx context.Context, c *client, status int, method, path, body string) error {
	a, err := c.ask(ctx, request{Method: method, Path: path, Body: body})
	if err == nil && a.Status != status {
		err = fmt.Errorf("%s %s answered %s", method, path, a)
	}
	return err
}

// brief is the life of a stream that is created and deleted. i chooses whether
// it is paused or finished by then, or runs.
func brief(ctx context.Context, c *client, id string, i int) error {
	path := "/streams/" + id
	config := "{input: {generate: {interval: 1h, mapping: root = 1}}, output: {drop: {}}}"
	if i%4 == 1 {
		config = "{input: {generate: {count: 1, mapping: root = 1}}, output: {drop: {}}}"
	}
	err := expectStatus(ctx, c, 200, http.MethodPost, path, config)
	if err == nil && i%4 == 3 {
		err = expectStatus(ctx, c, 200, http.MethodPost, path+"/pause", "")
	}
	if err != nil {
		return err
	}
	return expectStatus(ctx, c, 200, http.MethodDelete, path, "")
}

// eventful is the life of one stream; i chooses what befalls it between its
// creation and its end.
func eventful(ctx context.Context, c *client, id string, i int) error {
	path := "/streams/" + id
	ask := func(status int, method, path, body string) error {
		return expectStatus(ctx, c, status, method, path, body)
	}
	if err := ask(200, http.MethodPost, path, echo("old")); err != nil {
		return err
	}
	var err error
	switch i % 20 {
	case 1:
		err = errors.Join(ask(400, http.MethodPut, path, misspeltYAML), ask(400, http.MethodPut, path, unbuildableYAML))
	case 5:
		var pid int
		if pid, err = pidOf(c, id); err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
	case 10:
		err = ask(200, http.MethodGet, "/ready", "")
		// Another stream may be between two runners.
		if err != nil && strings.Contains(err.Error(), "answered 503") {
			err = nil
		}
	case 15:
		err = ask(200, http.MethodPatch, path, `{"input": {"http_server": {"path": "/patched"}}}`)
	default:
		err = echoed(ctx, c, "/"+id+"/post", "old", "hello")
	}
	if err != nil {
		return err
	}
	if err := ask(200, http.MethodPut, path, echo("new")); err != nil {
		return err
	}
	return errors.Join(echoed(ctx, c, "/"+id+"/post", "new", "hello"), ask(200, http.MethodDelete, path, ""))
}

// TestLeaksContention has many requests fight over two streams, while their
// runners are killed, and then wants nothing of them to be left.
func TestLeaksContention(t *testing.T) {
	const workers, rounds = 6, 12
	p := startPenstock(t)
	var fighting sync.WaitGroup
	answers := make(chan string, workers*rounds)
	for w := range workers {
		fighting.Go(func() {
			c := newClient(p.Base)
			defer c.close()
			for i := range rounds {
				id := fmt.Sprintf("s%d", (w+i)%2)
				r := request{Method: http.MethodPost, Path: "/streams/" + id, Body: echo(fmt.Sprint(w, i))}
				switch (w*5 + i) % 6 {
				case 0:
					r.Method = http.MethodPut
				case 1:
					r.Method = http.MethodPatch
				case 2:
					r.Method, r.Path, r.Body = http.MethodDelete, r.Path+"?timeout=100ms", ""
				case 3:
					r.Path, r.Body = "/streams", id+":\n"+indent(r.Body)
				case 4:
					if pid, err := pidOf(c, id); err == nil {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
				a, err := c.ask(t.Context(), r)
				if err != nil || a.Status >= 500 {
					answers <- fmt.Sprintf("%s %s answered %s %v", r.Method, r.Path, a, err)
				}
			}
		})
	}
	fighting.Wait()
	close(answers)
	for a := range answers {
		assert.Fail(t, "the fault is not the client's", a)
	}
	for _, id := range []string{"s0", "s1"} {
		p.call(t, "DELETE", "/streams/"+id, "")
		p.expect(t, 404, "GET", "/streams/"+id, "")
	}
	assert.Empty(t, p.runners())
	assert.Empty(t, children(p.PID), "children, zombies too")
	h, err := held(p)
	require.NoError(t, err)
	assert.Len(t, h.Data, 8, "the data directory with its lock, its state, its calls, run, streams, and what its runner says of itself: %v", h.Data)
}

// settled returns what a supervisor holds once it holds no more than former,
// or after some time. A zero former asks for what it holds when two looks in a
// row see the same.
func settled(t *testing.T, p *penstock, former holdings) holdings {
	t.Helper()
	p.close()
	var now holdings
	err := poll(changeTimeout, func() error {
		last := now
		var err error
		if now, err = held(p); err != nil {
			return err
		}
		if former.Files == 0 {
			former.Files = last.Files
			defer func() { former.Files = 0 }()
		}
		if now.Files > former.Files || now.Files == 0 {
			return fmt.Errorf("%d open files", now.Files)
		}
		return nil
	})
	if err != nil {
		t.Logf("%v; the files are %v", err, links(p.PID))
	}
	return now
}

func held(p *penstock) (holdings, error) {
	var h holdings
	var err error
	if h.Files, err = openFiles(p.PID); err != nil {
		return h, err
	}
	status, err := os.ReadFile(procFile(p.PID, "status"))
	if err != nil {
		return h, err
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		switch f[0] {
		case "Threads:":
			h.Threads, err = strconv.Atoi(f[1])
		case "VmRSS:":
			h.RSS, err = strconv.Atoi(f[1])
			h.RSS <<= 10
		}
		if err != nil {
			return h, err
		}
	}
	err = filepath.WalkDir(p.DataDir, func(path string, _ fs.DirEntry, err error) error {
		h.Data = append(h.Data, path)
		return err
	})
	return h, err
}

// links tells what the open files of a process are.
func links(pid int) []string {
	fds, _ := filepath.Glob(procFile(pid, "fd/*"))
	for i, fd := range fds {
		target, err := os.Readlink(fd)
		fds[i] = fmt.Sprint(target, err)
	}
	return fds
}

// socketsBelow lists the unix sockets of the system whose path is in a folder.
func socketsBelow(t *testing.T, dir string) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	require.NoError(t, err)
	return slices.DeleteFunc(strings.Split(string(table), "\n"), func(line string) bool {
		return !strings.Contains(line, dir)
	})
}

// goroutinesAtQuit ends a supervisor with SIGQUIT, to which a Go process
// answers with the stacks of its goroutines, and returns these.
func goroutinesAtQuit(t *testing.T, p *penstock) []string {
	t.Helper()
	p.stopped = true
	p.close()
	require.NoError(t, p.signal(syscall.SIGQUIT))
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		p.kill()
		require.Fail(t, "SIGQUIT did not end the supervisor")
	}
	log, err := os.ReadFile(p.LogFile)
	require.NoError(t, err)
	assert.NotContains(t, string(log), "DATA RACE")
	var stacks []string
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, len(log)+1)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "goroutine "):
			stacks = append(stacks, line)
		case len(stacks) > 0 && line != "":
			stacks[len(stacks)-1] += "\n" + line
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, stacks, "the supervisor printed no stacks")
	return stacks
}

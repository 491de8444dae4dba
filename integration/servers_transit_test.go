package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// posters is how many messages are on their way into a server at once.
	posters = 16
	// transitTimeout bounds what one server takes for all messages.
	transitTimeout = 2 * time.Minute
)

// patient are settings for large runners beside all other tests.
var patient = []string{"--set", "timeouts.start=30s", "--set", "timeouts.prepare=30s"}

// numbered is message i of a test: no two are the same, in length neither, and
// they hold what a protocol may spoil.
func numbered(i int) string {
	text, _ := json.Marshal(map[string]any{"id": i, "text": fmt.Sprintf("żółw 漢 \"%d\" 'x' \\ \n\t %s", i*7919, strings.Repeat("·-", i%97))})
	return string(text)
}

// tally takes numbered messages over HTTP and counts them.
type tally struct {
	*httptest.Server
	// reached tells the mark that was reached. Until pass is called nothing is
	// acknowledged any more.
	reached chan int

	mu      sync.Mutex
	arrived map[int]int // how often each message came
	wrong   []string
	marks   []int
	gate    chan struct{}
}

// newTally returns a tally that stops acknowledging as soon as so many
// different messages as each of the marks have arrived.
func newTally(t testing.TB, marks ...int) *tally {
	c := &tally{arrived: map[int]int{}, marks: marks, reached: make(chan int, len(marks))}
	c.Server = httptest.NewServer(c)
	t.Cleanup(func() {
		c.pass()
		c.Close()
	})
	return c
}

// ServeHTTP implements http.Handler.
func (c *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever sent it is dead
	}
	if gate := c.count(body); gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// count counts a message, and returns what its acknowledgement has to wait for.
func (c *tally) count(body []byte) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	var message struct{ ID int }
	if err := json.Unmarshal(body, &message); err != nil || string(body) != numbered(message.ID) {
		c.wrong = append(c.wrong, string(body))
	}
	c.arrived[message.ID]++
	if len(c.marks) > 0 && len(c.arrived) >= c.marks[0] {
		c.gate = make(chan struct{})
		c.reached <- c.marks[0]
		c.marks = c.marks[1:]
	}
	return c.gate
}

// pass has the messages acknowledged again.
func (c *tally) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gate != nil {
		close(c.gate)
		c.gate = nil
	}
}

// has tells whether message i has come.
func (c *tally) has(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrived[i] > 0
}

// result is how many different messages of the first n have come, how many came
// again, and what came with another content than was sent.
func (c *tally) result(n int) (arrived, again int, wrong []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wrong = append(wrong, c.wrong...)
	for id, times := range c.arrived {
		if id >= n {
			continue // what was sent after them
		}
		arrived++
		again += times - 1
	}
	return arrived, again, wrong
}

// transit is what is to be shown of a server: numbered messages go into it
// through one stream and out of it through another, whose runners are killed.
type transit struct {
	// Start starts the server and returns its address, which {{server}} stands
	// for in the configs.
	Start func(t testing.TB) string
	// Into is the output of the stream that fills the server, From the input
	// of the one that empties it.
	Into, From string
	// Map, if set, makes the message of what From reads.
	Map string
	// Once says that From reads what is there and ends: the stream that
	// empties the server starts when it is full.
	Once bool
	// InHand is how many messages a runner may lose that ends while it
	// empties the server, since its input acknowledges before the output has
	// delivered; no stream with a better input loses any.
	InHand int
	// Gently has the stream that empties the server restarted in order, in place
	// of its runner being killed: what is in hand is delivered before.
	Gently bool
	// Runner is the runner that the catalogue chooses for both streams.
	Runner string
}

// kills says at which of n messages a runner is killed.
func kills(n int) []int { return []int{n / 8, n / 3, n * 2 / 3} }

// run moves n messages through the server.
func (e transit) run(t *testing.T, n int) {
	t.Helper()
	server := e.Start(t)
	c := newTally(t, kills(n)...)
	p := startConnected(t, append(patient, "--set", "restart.max=500ms")...)
	fill := "input: {http_server: {path: /post}}\noutput:\n" + indented(e.Into)
	empty := "input:\n" + indented(e.From) + "output: {http_client: {url: " + quoted(c.URL) + ", verb: POST, max_in_flight: 16, retry_period: 10ms}}\n"
	if e.Map != "" {
		empty += "pipeline: {processors: [{mapping: " + quoted(e.Map) + "}]}\n"
	}
	create := func(id, config string) {
		p.expect(t, 200, "POST", "/streams/"+id, strings.ReplaceAll(config, "{{server}}", server))
		assertRunner(t, p.client, id, e.Runner)
		// What subscribes must have done so before there is anything to read.
		awaitReady(t, p.client)
	}
	if !e.Once {
		create("empty", empty)
	}
	create("fill", fill)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), transitTimeout)
	defer cancel()
	filled := make(chan error, 1)
	go func() { filled <- fillServer(ctx, p.client, n) }()
	if e.Once {
		require.NoError(t, <-filled)
		filled <- nil
		create("empty", empty)
	}
	for range kills(n) {
		select {
		case <-c.reached:
		case <-ctx.Done():
			arrived, again, wrong := c.result(n)
			require.Fail(t, "the messages do not arrive", "%d of %d, %d again, wrong %v; %s", arrived, n, again, wrong, mustStatus(t, p.client, "empty"))
		}
		if e.Gently {
			c.pass()
			p.expect(t, 200, "POST", "/streams/empty/restart", "")
			continue
		}
		kill(t, p, "empty")
		c.pass()
	}
	require.NoError(t, <-filled)
	if e.InHand > 0 {
		// One more after all others: those that it overtakes were in hand.
		require.NoError(t, postUntilTaken(ctx, p.client, numbered(n)))
	}
	var arrived, again int
	var wrong []string
	await(t, transitTimeout, "all messages", func() error {
		if arrived, again, wrong = c.result(n); arrived < n && (e.InHand == 0 || !c.has(n)) {
			return fmt.Errorf("%d of %d have arrived", arrived, n)
		}
		return nil
	})
	if e.InHand > 0 {
		require.GreaterOrEqual(t, arrived, n-e.InHand*len(kills(n)))
	}
	require.Empty(t, wrong)
	ended := "killed"
	if e.Gently {
		ended = "restarted"
	}
	t.Logf("%d messages in %s; the runner that fills it killed %d times, the one that empties it %s %d times; lost %d, came again %d",
		n, time.Since(began).Round(10*time.Millisecond), len(kills(n)), ended, len(kills(n)), n-arrived, again)
	if e.InHand == 0 && !e.Gently {
		require.Positive(t, again, "messages that were in hand at a kill come again")
	}
}

// fillServer posts n messages to the stream fill, each until it was taken, and
// kills its runner meanwhile.
func fillServer(ctx context.Context, c *client, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken markCounter
	taken.marks = kills(n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range posters {
		wg.Go(func() {
			for i := range next {
				if err := postUntilTaken(ctx, c, numbered(i)); err != nil {
					cancel(fmt.Errorf("message %d: %w", i, err))
					return
				}
				if !taken.add() {
					continue
				}
				pid, err := pidOf(c, "fill")
				if err == nil {
					err = syscall.Kill(pid, syscall.SIGKILL)
				}
				if err != nil {
					cancel(fmt.Errorf("killing the runner: %w", err))
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// postUntilTaken sends a message again and again until it is acknowledged.
func postUntilTaken(ctx context.Context, c *client, message string) error {
	return poll(transitTimeout, func() error {
		a, err := c.ask(ctx, request{Method: http.MethodPost, Path: "/fill/post", Body: message})
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errHopeless, context.Cause(ctx))
		}
		if err == nil && a.Status != http.StatusOK {
			err = errors.New(a.String())
		}
		return err
	})
}

// markCounter counts up to marks.
type markCounter struct {
	mu    sync.Mutex
	n     int
	marks []int
}

// add counts one and tells whether that has reached a mark.
func (c *markCounter) add() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if len(c.marks) == 0 || c.n < c.marks[0] {
		return false
	}
	c.marks = c.marks[1:]
	return true
}

// indented is a block of YAML below a key.
func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

package integration

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
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
	// minChaosMessages and chaosRate choose how many messages there are: as
	// many a second as two cores move beside other tests, and never too few.
	minChaosMessages = 200_000
	chaosRate        = 2000
	// drainTimeout bounds the time from the last kill to the last message.
	drainTimeout = 2 * time.Minute
	// settledAge is how long a runner has been there before it is expected to
	// outlive its supervisor: one that is only being started may be discarded.
	settledAge = 3 * time.Second
)

// chaosPlan is what a run does. Each field but Streams and AckWait can be set
// by the environment.
type chaosPlan struct {
	// Duration (CHAOS_DURATION) is how long messages are published and
	// processes are killed. Messages (CHAOS_MESSAGES) is for all streams.
	Duration time.Duration
	Messages int
	// RunnerEvery (CHAOS_RUNNER_EVERY) is the mean time between two kills of
	// a runner, SupervisorEvery (CHAOS_SUPERVISOR_EVERY) that between two
	// kills of the supervisor. 0 is never.
	RunnerEvery, SupervisorEvery time.Duration

	Streams int
	// AckWait is how long the broker keeps a message that a killed runner had
	// from its successor.
	AckWait time.Duration
}

func newChaosPlan(t testing.TB) chaosPlan {
	t.Helper()
	duration := func(name string, otherwise time.Duration) time.Duration {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		d, err := time.ParseDuration(text)
		require.NoError(t, err, name)
		require.GreaterOrEqual(t, d, time.Duration(0), name)
		return d
	}
	p := chaosPlan{
		Duration:        duration("CHAOS_DURATION", 2*time.Minute),
		RunnerEvery:     duration("CHAOS_RUNNER_EVERY", time.Second),
		SupervisorEvery: duration("CHAOS_SUPERVISOR_EVERY", 10*time.Second),
		Streams:         8,
		AckWait:         5 * time.Second,
	}
	p.Messages = max(minChaosMessages, int(p.Duration.Seconds()*chaosRate))
	if text := os.Getenv("CHAOS_MESSAGES"); text != "" {
		var err error
		p.Messages, err = strconv.Atoi(text)
		require.NoError(t, err, "CHAOS_MESSAGES")
	}
	return p
}

// TestChaos moves numbered messages from a broker through streams and back to
// it while runners and supervisors are killed. No message may be lost. What
// comes twice is counted: at-least-once delivery allows it.
func TestChaos(t *testing.T) {
	t.Parallel()
	plan := newChaosPlan(t)
	bin, err := chaosBinaries()
	require.NoError(t, err)
	b := startBroker(t, plan)
	r := newRestartable(t)
	r.Runner = bin.Runner
	// No stream is stable for a minute here, so that a longer wait would leave
	// ever fewer runners to kill.
	args := []string{"--set", "restart.max=500ms"}
	r.start(t, args...)
	for n := range plan.Streams {
		r.expect(t, 200, "POST", fmt.Sprintf("/streams/s%d", n+1), chaosStream(b.URL, n+1))
	}

	began := time.Now()
	b.publish(t)
	hunt := &hunt{restartable: r, seen: map[prey]time.Time{}, killed: map[prey]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
	}()
	wg.Go(func() { hunt.run(ctx, plan.RunnerEvery) })

	// bereft are the runners that lost their supervisor, adopted those that
	// were still there when the next one was about to die.
	var gaps []time.Duration
	var settled []prey
	var bereft, adopted int
	until := time.After(plan.Duration)
	for over := false; !over; {
		select {
		case <-until:
			over = true
		case <-after(plan.SupervisorEvery):
			adopted += hunt.checkLeft(t, settled)
			settled = hunt.settled()
			bereft += len(settled)
			r.kill9(t)
			gaps = append(gaps, r.start(t, args...))
			list, err := listStreams(t.Context(), r.client)
			require.NoError(t, err)
			require.Len(t, list, plan.Streams, "the streams of a supervisor that was started again")
		}
	}
	cancel()
	wg.Wait()
	adopted += hunt.checkLeft(t, settled)
	lasted := time.Since(began)

	var report brokerReport
	await(t, drainTimeout, "all messages", func() error {
		if err := r.alive(); err != nil {
			return err
		}
		if report, err = b.report(); err == nil && (report.Published < plan.Messages || report.Arrived < plan.Messages) {
			err = fmt.Errorf("%s", report)
		}
		return err
	})
	t.Logf("%d messages through %d streams; %d kills of runners and %d of supervisors in %s; the rest took %s",
		plan.Messages, plan.Streams, len(hunt.killed), len(gaps), lasted.Round(time.Second), (time.Since(began) - lasted).Round(time.Millisecond))
	t.Logf("lost: %d; duplicates: %d, %.2f a kill", plan.Messages-report.Arrived, report.Duplicates, float64(report.Duplicates)/float64(max(1, len(hunt.killed))))
	if len(gaps) > 0 {
		slices.Sort(gaps)
		t.Logf("from a supervisor's start to its first pong: median %s, longest %s; of %d runners that it found serving, %d lived to lose it, too, and the others were killed",
			gaps[len(gaps)/2], gaps[len(gaps)-1], bereft, adopted)
	}
	assert.Empty(t, report.Wrong)
	// A run that killed hardly anything would prove hardly anything.
	if plan.RunnerEvery > 0 {
		assert.GreaterOrEqual(t, len(hunt.killed), int(plan.Duration/plan.RunnerEvery)/2, "kills of runners")
	}
	if plan.SupervisorEvery > 0 {
		assert.GreaterOrEqual(t, len(gaps), int(plan.Duration/plan.SupervisorEvery)/2, "kills of the supervisor")
	}
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// chaosStream is the config of the stream with that number.
func chaosStream(url string, n int) string {
	return fmt.Sprintf(`
input: {nats_jetstream: {urls: ['%[1]s'], stream: IN, durable: '%[2]d', bind: true}}
pipeline: {threads: 2, processors: [{mapping: 'root = this.assign({"sum": this.stream + this.n})'}]}
output: {nats_jetstream: {urls: ['%[1]s'], subject: out.%[2]d}}
`, url, n)
}

// after is a channel that delivers after mean, give or take half of it; never
// when mean is 0.
func after(mean time.Duration) <-chan time.Time {
	if mean == 0 {
		return nil
	}
	return time.After(mean/2 + rand.N(mean))
}

// prey is a runner, told from a later process with the same id.
type prey struct {
	pid     int
	started string // in the kernel's ticks since boot
}

// hunt kills runners and keeps account of them.
type hunt struct {
	*restartable

	mu     sync.Mutex
	seen   map[prey]time.Time // when each runner was seen first
	killed map[prey]bool
}

// run kills one runner after another, each chosen by chance, until ctx ends.
func (h *hunt) run(ctx context.Context, every time.Duration) {
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	next := after(every)
	for {
		select {
		case <-look.C:
			h.look()
		case <-next:
			next = after(every)
			if live := h.look(); len(live) > 0 {
				h.strike(live[rand.IntN(len(live))])
			}
		case <-ctx.Done():
			return
		}
	}
}

// look returns the runners that live and were not killed, and remembers them.
func (h *hunt) look() []prey {
	var live []prey
	for _, p := range h.runners() {
		if started, err := startTicks(p.PID); err == nil {
			live = append(live, prey{p.PID, started})
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	live = slices.DeleteFunc(live, func(p prey) bool { return h.killed[p] })
	for _, p := range live {
		if _, known := h.seen[p]; !known {
			h.seen[p] = time.Now()
		}
	}
	return live
}

func (h *hunt) strike(p prey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if syscall.Kill(p.pid, syscall.SIGKILL) == nil {
		h.killed[p] = true
	}
}

// settled returns the live runners that have been there for settledAge.
func (h *hunt) settled() []prey {
	live := h.look()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(live, func(p prey) bool { return time.Since(h.seen[p]) < settledAge })
}

// checkLeft fails the test when one of runners is gone that was not killed by
// the hunt: a supervisor must neither end nor replace a runner that serves.
// How many of them live on is the answer.
func (h *hunt) checkLeft(t testing.TB, runners []prey) int {
	t.Helper()
	live := h.look()
	h.mu.Lock()
	defer h.mu.Unlock()
	left := 0
	for _, p := range runners {
		switch {
		case slices.Contains(live, p):
			left++
		case !h.killed[p]:
			assert.Fail(t, "a runner that nobody killed is gone", "pid %d of %v", p.pid, runners)
		}
	}
	return left
}

// startTicks tells when a process was started, in the kernel's own terms.
func startTicks(pid int) (string, error) {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return "", err
	}
	// The second field is the name in parentheses and may hold anything; the
	// start is the 22nd.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("unexpected /proc/%d/stat: %s", pid, stat)
	}
	return fields[19], nil
}

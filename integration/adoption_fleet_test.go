package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

const (
	// fleetSize is how many streams are adopted at once.
	fleetSize = 200
	// adoptionLimit is what that may take, from the first pong on. Not counted
	// is how long client and server were ready to run and had no CPU.
	adoptionLimit = time.Second
	// scrapeLimit is what a scrape of the fleet may take, likewise.
	scrapeLimit = time.Second
	// fleetWorkers is how many streams are created or asked at a time.
	fleetWorkers = 8
)

// TestAdoptionOfAFleet kills a supervisor of many streams. The next one has
// them all at once, with the same processes; requests fail only while there is
// none. The same streams then show what /metrics costs.
func TestAdoptionOfAFleet(t *testing.T) {
	r := newRestartable(t)
	r.start(t, "--log-level", "info")
	ids := make([]string, fleetSize)
	for i := range ids {
		ids[i] = fmt.Sprintf("s%03d", i)
	}
	took := timed(func() {
		forAll(t, ids, func(ctx context.Context, id string) error {
			a, err := r.ask(ctx, request{Method: http.MethodPost, Path: "/streams/" + id, Body: echo(id)})
			if err == nil && a.Status != http.StatusOK {
				err = fmt.Errorf("creating %s: %s", id, a)
			}
			return err
		})
	})
	t.Logf("%d streams created in %s", fleetSize, took.Round(time.Millisecond))
	before := pidsOf(t, r.client, ids)
	requests := newSteady(t)
	for _, i := range []int{0, 40, 80, 120, 160, 199} {
		requests.post(r.Base, ids[i], 10*time.Millisecond)
	}
	requests.awaitAnswers(t)

	killed := time.Now()
	r.kill9(t)
	start := r.start(t, "--log-level", "info")
	pong := time.Now()
	queue := newCPUQueue(r.PID, os.Getpid())
	var adopted float64
	await(t, 30*time.Second, "all to be adopted", func() error {
		adopted = r.adoptions(t)["adopted"]
		if adopted != fleetSize {
			return fmt.Errorf("%v of %d are", adopted, fleetSize)
		}
		return nil
	})
	raw := time.Since(pong)
	waited := queue.since()
	t.Logf("from SIGKILL to the next pong: %s, of it from exec %s; from there until all %d were adopted: %s, of it waiting for a CPU %s",
		pong.Sub(killed).Round(time.Millisecond), start.Round(time.Millisecond), fleetSize, raw.Round(time.Millisecond), waited.Round(time.Millisecond))
	assert.Less(t, raw-waited, adoptionLimit)

	assert.Equal(t, before, pidsOf(t, r.client, ids), "the runners' process ids")
	assert.Len(t, r.runners(), fleetSize)
	assert.Equal(t, map[string]float64{"adopted": fleetSize}, positive(r.adoptions(t)))
	awaitReady(t, r.client)
	requests.awaitAnswers(t)
	served := requests.sum()
	wrong, failures := requests.outside(killed, pong)
	t.Logf("requests: %s; the longest time without an answer %s", served, requests.takeGap())
	assert.Empty(t, wrong, "requests that failed while a supervisor listened")
	assert.NotZero(t, failures, "the load was there")

	t.Run("scrape", func(t *testing.T) { scrapeFleet(t, r, ids, before) })

	took = timed(func() { r.stop(t) })
	t.Logf("%d streams stopped in %s", len(ids), took.Round(time.Millisecond))
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// forAll does something for each stream, some at a time.
func forAll(t *testing.T, ids []string, do func(ctx context.Context, id string) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(fleetWorkers)
	for _, id := range ids {
		group.Go(func() error { return do(ctx, id) })
	}
	require.NoError(t, group.Wait())
}

// pidsOf reads the process id of each stream's runner. Each has to run, and
// never to have been restarted.
func pidsOf(t *testing.T, c *client, ids []string) map[string]int {
	t.Helper()
	var mu sync.Mutex
	pids := map[string]int{}
	forAll(t, ids, func(ctx context.Context, id string) error {
		var s wholeStatus
		// On a busy machine a runner may not answer as soon as a status is told.
		err := poll(changeTimeout, func() (err error) {
			if s, err = askStatus(ctx, c, id); err == nil && s.Unanswered != "" {
				err = errors.New(s.String())
			}
			return err
		})
		if err != nil {
			return err
		}
		if s.State != "running" || s.PID == 0 || s.Restarts != 0 {
			return errors.New(s.String())
		}
		mu.Lock()
		defer mu.Unlock()
		pids[id] = s.PID
		return nil
	})
	return pids
}

// scrapeFleet reads the metrics of many streams: all there, then with one
// runner that hangs, then with one stream deleted.
func scrapeFleet(t *testing.T, r *restartable, ids []string, pids map[string]int) {
	all := scrapeInTime(t, r)
	for _, id := range ids {
		for _, series := range []string{
			`input_received{label="",path="root.input",stream="%s"}`,
			`output_connection_up{label="",path="root.output",stream="%s"}`,
			`output_sent{label="",path="root.output",stream="%s"}`,
			`processor_received{label="",path="root.pipeline.processors.0",stream="%s"}`,
			`penstock_runner_resident_memory_bytes{stream="%s"}`,
			`penstock_runner_cpu_seconds_total{stream="%s"}`,
		} {
			if _, found := all[fmt.Sprintf(series, id)]; !found {
				require.Fail(t, "a series is missing", series, id)
			}
		}
		require.Zero(t, all[fmt.Sprintf(`penstock_scrape_error{stream=%q}`, id)])
	}
	assert.Positive(t, all[fmt.Sprintf(`input_received{label="",path="root.input",stream=%q}`, ids[0])], "the load was counted")
	assert.EqualValues(t, fleetSize, all[`penstock_streams{state="running"}`])

	hung := ids[7]
	freeze(t, pids[hung])
	defer func() { _ = syscall.Kill(pids[hung], syscall.SIGCONT) }()
	failed := fmt.Sprintf(`penstock_scrape_error{stream=%q}`, hung)
	await(t, changeTimeout, "it to hang", func() error {
		if scrape(t, r.client)[failed] != 1 {
			return errors.New("it answers")
		}
		return nil
	})
	some := scrapeInTime(t, r)
	assert.EqualValues(t, 1, some[failed])
	for series := range some {
		delete(all, series)
	}
	for series := range all {
		assert.Contains(t, series, fmt.Sprintf(`stream=%q`, hung), "a series that is missing is the hung stream's")
		assert.NotContains(t, series, "penstock_")
	}
	assert.NotEmpty(t, all, "the hung stream's series are missing")
	require.NoError(t, syscall.Kill(pids[hung], syscall.SIGCONT))
	await(t, changeTimeout, "the stream's metrics", func() error {
		if scrape(t, r.client)[failed] != 0 {
			return errors.New("it does not answer")
		}
		return nil
	})

	r.expect(t, 200, "DELETE", "/streams/"+hung, "")
	for series := range scrapeInTime(t, r) {
		require.NotContains(t, series, fmt.Sprintf(`stream=%q`, hung), "a stream's series go with it")
	}
}

// scrapeInTime is scrape with an eye on the clock.
func scrapeInTime(t *testing.T, r *restartable) (series map[string]float64) {
	t.Helper()
	queue := newCPUQueue(r.PID, os.Getpid())
	took := timed(func() { series = scrape(t, r.client) })
	waited := queue.since()
	t.Logf("a scrape of %d streams, %d series: %s, of it waiting for a CPU %s", fleetSize, len(series), took.Round(time.Millisecond), waited.Round(time.Millisecond))
	assert.Less(t, took-waited, scrapeLimit)
	return series
}

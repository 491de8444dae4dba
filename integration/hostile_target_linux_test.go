package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// hostileGetLimit is what hostileGetShare of the GETs of one kind may take,
	// waits for a CPU left out. What slows a single one down can be the rest of the
	// machine, on which other tests run as well.
	hostileGetLimit = 100 * time.Millisecond
	hostileGetShare = 0.99
	neighbourID     = "neighbour"
)

// hostileLimits are what each stream may use.
var hostileLimits = []string{
	"limits.default.memory=128MiB", "limits.default.cpu=0.4", "limits.default.pids=96",
	"limits.default.nofile=256", "limits.default.disk=32MiB", "isolation.tmp_size=8MiB",
	"timeouts.prepare=5s", "stream_logs.max_megabytes=1", "stream_metrics.max_series=1000",
}

// hostileOperators are the settings of the servers under attack, by what their
// operators allow.
var hostileOperators = map[string][]string{
	"":                nil,
	hostileComponents: append(allComponents, "isolation.uids=300000-300999"),
	hostilePrograms:   append(allComponents, "isolation.uids=301000-301999", "isolation.allow_exec=[/bin/sh, /usr/bin/ln, /usr/bin/mkfifo]"),
}

// allComponents lifts what strict denies by itself.
var allComponents = []string{
	"isolation.components.inputs.allow=[subprocess]", "isolation.components.outputs.allow=[subprocess]",
	"isolation.components.processors.allow=[command, subprocess]",
	"isolation.components.functions.allow=[file, file_rel, env, import]",
}

// target is a server under attack.
type target struct {
	*penstock
	// Words are filled into configs beside the world's.
	Words []string
	// Neighbour is the load on a stream that has nothing to do with it.
	Neighbour *steady
	// Gets are requests to the API, which Clock times.
	Gets  *load
	Clock *hostileClock
	// resident is how much memory the supervisor had before.
	resident int64
}

// newTargets starts a server for each kind of operator.
func newTargets(t *testing.T, world *hostileWorld) map[string]*target {
	t.Helper()
	targets := map[string]*target{}
	for allowed, settings := range hostileOperators {
		targets[allowed] = newTarget(t, world, settings...)
	}
	return targets
}

// newTarget starts a strict server with a neighbour that is called all the
// time.
func newTarget(t *testing.T, world *hostileWorld, settings ...string) *target {
	t.Helper()
	// What attacks is to be in runners that were started ahead as well.
	args := []string{"--set", "warm_pool.size=2"}
	for _, set := range append(hostileLimits, settings...) {
		args = append(args, "--set", set)
	}
	s := &target{penstock: startPenstockIn(t, world, strictArgs(args...)...)}
	s.expect(t, 200, "POST", "/streams/"+neighbourID, neighbour(world))
	awaitEcho(t, s.client, "/"+neighbourID+"/post", neighbourID)
	pid := mustStatus(t, s.client, neighbourID).PID
	own := filepath.Join(streamFolder(s.DataDir, neighbourID), "secret")
	require.NoError(t, os.WriteFile(own, []byte(world.secrets["neighbour"]), 0o600))
	require.NoError(t, os.Chmod(own, 0o644))
	address := strings.TrimPrefix(s.Base, "http://")
	s.Words = []string{
		"{{api}}", address, "{{port}}", address[strings.LastIndexByte(address, ':')+1:], "{{pid}}", fmt.Sprint(s.PID),
		"{{data}}", s.DataDir, "{{neighbour}}", filepath.Dir(own), "{{neighbour_socket}}", socketOf(t, s.DataDir, pid),
	}
	s.resident = residentMemory(t, s.PID)
	s.Neighbour, s.Gets = newSteady(t), newLoad(t)
	s.Clock = newHostileClock(os.Getpid(), s.PID, pid)
	s.Neighbour.where, s.Gets.where = world, world
	s.Neighbour.post(s.Base, neighbourID, 20*time.Millisecond)
	s.Gets.loop(s.Base, 50*time.Millisecond, s.Clock.ask)
	return s
}

// neighbour is echo with a secret in its config.
func neighbour(world *hostileWorld) string {
	secret, made := world.secrets["neighbour"]
	if !made {
		secret = world.secret("neighbour")
	}
	return strings.Replace(echo(neighbourID), "processors: [", "processors: [{log: {level: TRACE, message: "+secret+"}}, ", 1)
}

// attacked runs one config, and says what is wrong with how that went.
func (s *target) attacked(ctx context.Context, a *attack) error {
	defer a.server.close()
	s.Clock.watch(a.ID)
	defer s.Clock.forget(a.ID)
	errs := []error{a.run(ctx)}
	for _, path := range []string{"/streams/" + a.ID, "/streams/" + a.ID + "/stats", "/metrics", "/ready"} {
		if _, err := a.get(ctx, path); err != nil {
			errs = append(errs, fmt.Errorf("GET %s: %w", path, err))
		}
	}
	leaks, err := a.world.leaksBelow(filepath.Join(s.DataDir, "streams", a.ID))
	if leaks = append(leaks, a.leaks()...); len(leaks) > 0 {
		err = errors.Join(err, fmt.Errorf("it got hold of the secret of the %s", strings.Join(leaks, ", ")))
	}
	errs = append(errs, err)
	if a.Outcome != hostileRefused {
		gone, err := a.ask(ctx, request{Method: http.MethodDelete, Path: "/streams/" + a.ID + "?timeout=2s"})
		if err != nil || gone.Status != http.StatusOK {
			errs = append(errs, fmt.Errorf("deleting it: %s %w", gone, err))
		}
	}
	return errors.Join(errs...)
}

// hostileGrowth is how much memory the supervisor may take for all that.
const hostileGrowth = 256 << 20

// held checks that nobody else has noticed.
func (s *target) held(t *testing.T, world *hostileWorld) {
	t.Helper()
	served, gets := s.Neighbour.sum(), s.Gets.sum()
	t.Logf("the neighbour: %s; the API: %s", served, gets)
	assert.Empty(t, served.Failures, "the neighbour's requests")
	assert.Empty(t, gets.Failures, "the API")
	assert.NotZero(t, served.Count)
	for what, took := range s.Clock.took {
		slices.Sort(took)
		most := took[int(hostileGetShare*float64(len(took)-1))]
		t.Logf("%d times %s: %.0f in 100 within %s, the slowest %s, without the waits for a CPU",
			len(took), what, 100*hostileGetShare, most, took[len(took)-1])
		assert.Less(t, most, hostileGetLimit, what)
	}
	status := mustStatus(t, s.client, neighbourID)
	assert.Equal(t, "running", status.State)
	assert.Zero(t, status.Restarts, "the neighbour's restarts")
	log, err := os.ReadFile(s.LogFile)
	require.NoError(t, err)
	assert.Empty(t, world.leaks(log), "secrets in the supervisor's log")
	grown := residentMemory(t, s.PID) - s.resident
	t.Logf("the supervisor's memory has grown by %d MiB", grown>>20)
	assert.Less(t, grown, int64(hostileGrowth), "the supervisor's memory")
	require.NoError(t, s.alive())
}

// What hostileClock asks for.
const (
	askedOfAll       = "GET /streams"
	askedOfNeighbour = "GET the neighbour's status"
	askedOfAttackers = "GET an attacker's status"
)

// hostileClock asks the API for this and that, and takes down how long the
// answers took: without the time for which those that a request passes, the
// client, the supervisor, the neighbour's runner and the kernel's threads that
// deliver packets, were ready to run and had no CPU.
type hostileClock struct {
	pids []int

	mu   sync.Mutex
	ids  []string
	took map[string][]time.Duration
}

func newHostileClock(pids ...int) *hostileClock {
	for _, p := range processes() {
		if comm, err := os.ReadFile(procFile(p.PID, "comm")); err == nil && strings.HasPrefix(string(comm), "ksoftirqd/") {
			pids = append(pids, p.PID)
		}
	}
	return &hostileClock{pids: pids, took: map[string][]time.Duration{}}
}

// waits reads how long each thread on a request's way has waited so far.
func (c *hostileClock) waits() []map[string]time.Duration {
	var all []map[string]time.Duration
	for _, pid := range c.pids {
		all = append(all, cpuWaits(pid))
	}
	return all
}

// waited is how long a request was kept waiting at least. It passes two threads
// of each process, one that listens and one that serves: those of each that have
// waited longest are counted.
func (c *hostileClock) waited(before []map[string]time.Duration) (sum time.Duration) {
	for i, threads := range c.waits() {
		var longest, next time.Duration
		for thread, total := range threads {
			waited := total - before[i][thread]
			longest, next = max(longest, waited), max(next, min(longest, waited))
		}
		sum += longest + next
	}
	return sum
}

// watch has a stream's status asked for, among others.
func (c *hostileClock) watch(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, id)
}

func (c *hostileClock) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = slices.DeleteFunc(c.ids, func(other string) bool { return other == id })
}

// ask is for one loop only.
func (c *hostileClock) ask(ctx context.Context, from *client, n int) error {
	what, path := askedOfAll, "/streams"
	switch n % 3 {
	case 1:
		what, path = askedOfNeighbour, "/streams/"+neighbourID+"/status"
	case 2:
		c.mu.Lock()
		if len(c.ids) > 0 {
			what, path = askedOfAttackers, "/streams/"+c.ids[n%len(c.ids)]+"/status"
		}
		c.mu.Unlock()
	}
	before := c.waits()
	began := time.Now()
	a, err := from.ask(ctx, request{Method: http.MethodGet, Path: path})
	took := time.Since(began) - c.waited(before)
	if err == nil && a.Status != http.StatusOK && what != askedOfAttackers {
		err = fmt.Errorf("%s answered %s", what, a)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took[what] = append(c.took[what], max(took, 0))
	return err
}

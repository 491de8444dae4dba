package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// crashRoundsEnv and crashSeedEnv choose how often the supervisor is killed
	// and what the choices are drawn from.
	crashRoundsEnv = "CRASH_ROUNDS"
	crashSeedEnv   = "CRASH_SEED"
	crashRounds    = 300

	// crashClients are those that call at the same time, each about two
	// streams of its own, so that what is to be of them is known.
	crashClients = 3
	// longestCrashRound bounds the time from the first call to the kill.
	longestCrashRound = 250 * time.Millisecond
	// firstContact is how long a runner waits for a supervisor to speak to it.
	firstContact = 30 * time.Second
)

// crashTest is a supervisor that is killed again and again, and what it is to
// hold.
type crashTest struct {
	*restartable
	rng *rand.Rand

	// calls is held for reading by a call about one stream or resource, for
	// writing by one about all streams.
	calls sync.RWMutex
	// killed is set before the supervisor is.
	killed atomic.Bool

	mu    sync.Mutex
	world crashWorld
	cut   []crashCall
	// acknowledged counts the calls that were answered.
	acknowledged int
	faults       []error
}

// TestCrashConsistency kills the supervisor while several clients change
// streams and resources. Whatever was acknowledged holds after the next start;
// what was not holds wholly or not at all.
func TestCrashConsistency(t *testing.T) {
	t.Parallel()
	rounds, seed := crashRounds, rand.Uint64()
	if text := os.Getenv(crashRoundsEnv); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		require.NoError(t, err, crashRoundsEnv)
	}
	if text := os.Getenv(crashSeedEnv); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, crashSeedEnv)
	}
	t.Logf("%d rounds; the choices are those of %s=%d", rounds, crashSeedEnv, seed)

	c := &crashTest{
		restartable: newRestartable(t),
		rng:         rand.New(rand.NewPCG(seed, 0)),
		world:       crashWorld{Streams: map[string]*crashStream{}, Resources: map[string]int{}},
	}
	var clients []*crashClient
	for n := range crashClients {
		own := &crashClient{crashTest: c, choose: &chooser{Rand: rand.New(rand.NewPCG(seed, uint64(n+1))), next: n * 10_000_000}}
		for i := range 2 {
			own.ids = append(own.ids, fmt.Sprintf("c%d-%d", n, i))
			c.world.Streams[own.ids[i]] = nil
		}
		own.resource = fmt.Sprintf("r%d", n)
		c.world.Resources[own.resource] = 0
		clients = append(clients, own)
	}

	began := time.Now()
	c.start(t)
	var cut, held, twice int
	for round := range rounds {
		if c.round(t, clients) {
			twice++
		}
		n := c.check(t, round)
		held += n
		cut += len(c.cut)
		c.cut = nil
	}
	t.Logf("%d rounds in %s, %d of them with a crash of the next supervisor's start; %d calls were acknowledged, %d were cut off, %d of these hold",
		rounds, time.Since(began).Round(time.Millisecond), twice, c.acknowledged, cut, held)
	assert.Greater(t, c.acknowledged, rounds, "the calls that were acknowledged")
	assert.Greater(t, cut, rounds/2, "the calls that were cut off")
	c.clear(t)
}

// round has the clients call until the supervisor is killed, and starts the
// next one. Now and then that one dies as it starts.
func (c *crashTest) round(t *testing.T, clients []*crashClient) (twice bool) {
	c.killed.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calling sync.WaitGroup
	for _, own := range clients {
		calling.Go(func() { own.run(ctx) })
	}
	time.Sleep(time.Duration(c.rng.Int64N(int64(longestCrashRound))))
	c.killed.Store(true)
	c.kill9(t)
	calling.Wait()
	require.NoError(t, errors.Join(c.faults...))

	if twice = c.rng.IntN(10) == 0; twice {
		require.NoError(t, c.exec())
		time.Sleep(time.Duration(c.rng.Int64N(int64(longestCrashRound / 2))))
		require.NoError(t, c.alive(), "a supervisor that starts")
		c.kill()
	}
	c.start(t)
	return twice
}

// check compares what the next supervisor holds with what it is to hold, and
// returns how many of the calls that were cut off hold.
func (c *crashTest) check(t *testing.T, round int) int {
	t.Helper()
	seen, err := observe(t.Context(), c.client, c.world)
	require.NoError(t, err, "round %d", round)
	var held int
	c.world, held, err = c.world.settle(seen, c.cut)
	require.NoError(t, err, "round %d, calls that were cut off: %v", round, c.cut)
	await(t, changeTimeout, fmt.Sprintf("one process for each running stream in round %d", round), func() error {
		return errors.Join(c.alive(), c.world.runs(t.Context(), c.restartable))
	})
	return held
}

// clear removes all there is and wants nothing to be left.
func (c *crashTest) clear(t *testing.T) {
	t.Helper()
	c.expect(t, 200, "POST", "/streams", "{}")
	for id, ttl := range c.world.Resources {
		if ttl > 0 {
			c.expect(t, 200, "DELETE", "/resources/cache/"+id, "")
		}
	}
	none := crashWorld{}
	assert.NoError(t, none.runs(t.Context(), c.restartable))
	await(t, firstContact+changeTimeout, "the end of runners that no supervisor has spoken to", func() error {
		if left := c.runners(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
	assert.NoError(t, none.holdsFiles(c.DataDir))
	c.stop(t)
	assertStoreEmpty(t, c.DataDir)
}

// crashClient makes one call after the other.
type crashClient struct {
	*crashTest
	choose   *chooser
	ids      []string
	resource string
}

// run calls until the supervisor is gone.
func (c *crashClient) run(ctx context.Context) {
	own := newClient(c.Base)
	defer own.close()
	for ctx.Err() == nil && !c.killed.Load() {
		if !c.step(ctx, own) {
			return
		}
	}
}

// step makes one call. It returns false when there is no more to be done.
func (c *crashClient) step(ctx context.Context, own *client) bool {
	var call crashCall
	switch n := c.choose.IntN(20); n {
	case 0:
		c.calls.Lock()
		defer c.calls.Unlock()
		call = c.choose.onAll(c.present())
	case 1:
		c.calls.RLock()
		defer c.calls.RUnlock()
		call = c.choose.onResource(c.resource, c.present().Resources[c.resource])
	default:
		c.calls.RLock()
		defer c.calls.RUnlock()
		id := c.ids[c.choose.IntN(len(c.ids))]
		call = c.choose.onStream(id, c.present().Streams[id])
	}
	if c.killed.Load() {
		return false
	}
	a, err := own.ask(ctx, call.request)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && !c.killed.Load():
		c.faults = append(c.faults, fmt.Errorf("%s: %w", call, err))
	case errors.Is(err, syscall.ECONNREFUSED):
		// Nobody has heard of it.
	case err != nil:
		c.cut = append(c.cut, call)
	case a.Status != call.Status:
		c.faults = append(c.faults, fmt.Errorf("%s was to be answered with %d: %s", call, call.Status, a))
	default:
		c.world = c.world.after(call)
		c.acknowledged++
		return true
	}
	return false
}

// present is the world as it is.
func (c *crashTest) present() crashWorld {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.world
}

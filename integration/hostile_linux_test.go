package integration

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sync/errgroup"
)

// hostileAtOnce is how many hostile streams there are at a time.
const hostileAtOnce = 6

// TestHostile runs every hostile config under the profile strict, some at a
// time. Whatever they try: no secret is seen, nobody is reached, the neighbour's
// requests all succeed, the supervisor answers in time, and what has happened is
// said.
func TestHostile(t *testing.T) {
	needRoot(t)
	configs := hostileConfigs(t)
	world := newHostileWorld(t)
	targets := newTargets(t, world)
	results := attackAll(t, world, targets, configs)
	for _, h := range configs {
		t.Run(h.Name, func(t *testing.T) {
			t.Log(results[h.Name].told)
			assert.NoError(t, results[h.Name].err)
		})
	}
	for _, s := range targets {
		s.held(t, world)
	}
	assert.Empty(t, world.found(), "what was reached and touched of the host")
}

// hostileResult is what came of a config: in words, and what is wrong with it.
type hostileResult struct {
	told string
	err  error
}

// attackAll runs configs, some at a time.
func attackAll(t *testing.T, world *hostileWorld, targets map[string]*target, configs []hostileConfig) map[string]hostileResult {
	t.Helper()
	var mu sync.Mutex
	results := map[string]hostileResult{}
	var group errgroup.Group
	group.SetLimit(hostileAtOnce)
	for _, h := range configs {
		group.Go(func() error {
			on := targets[h.Allowed]
			a := newAttack(h, world, on.client, on.Words...)
			err := on.attacked(t.Context(), a)
			mu.Lock()
			defer mu.Unlock()
			results[h.Name] = hostileResult{world.mask(a.told(), a.words), err}
			return nil
		})
	}
	_ = group.Wait()
	return results
}

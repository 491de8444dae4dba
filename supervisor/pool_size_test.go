package supervisor

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/options"
)

func TestWantedWarm(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	// ago are times before now.
	ago := func(durations ...time.Duration) (times []time.Time) {
		for _, d := range durations {
			times = append(times, now.Add(-d))
		}
		return times
	}
	const s, ms = time.Second, time.Millisecond
	for name, c := range map[string]struct {
		arrivals []time.Time
		limit    int
		want     int
	}{
		"nobody came":                  {nil, 8, 1},
		"one":                          {ago(0), 8, 1},
		"two at once":                  {ago(10*ms, 0), 8, 2},
		"two, one after the other":     {ago(3*s, 0), 8, 1},
		"a burst some minutes ago":     {ago(200*s, 200*s, 199500*ms, 199*s, 0), 8, 4},
		"a burst that is long gone":    {ago(310*s, 310*s, 310*s, 1*s), 8, 1},
		"a burst at the edge":          {ago(301*s, 300*s, 300*s), 8, 2},
		"the larger of two bursts":     {ago(100*s, 100*s, 100*s, 10*s, 10*s), 8, 3},
		"more than the most":           {ago(0, 0, 0, 0, 0), 3, 3},
		"a steady stream of creations": {ago(900*ms, 750*ms, 600*ms, 450*ms, 300*ms, 150*ms, 0), 8, 7},
	} {
		assert.Equal(t, c.want, wantedWarm(c.arrivals, now, c.limit), name)
	}
}

func TestArrivedForgets(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	old := []time.Time{now.Add(-2 * recently), now.Add(-recently - 1), now.Add(-recently)}
	assert.Equal(t, []time.Time{now.Add(-recently), now}, arrived(old, now))
	var many []time.Time
	for range 2 * remembered {
		many = arrived(many, now)
	}
	assert.Len(t, many, remembered)
}

func TestWarmRoom(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	// small is a host of 1 GiB, large one of 64 GiB, with nothing on them.
	small := warmMemory{each: 32 * mib, budget: 922 * mib, total: gib, available: 800 * mib}
	large := warmMemory{each: 32 * mib, budget: 58 * gib, total: 64 * gib, available: 60 * gib}
	for name, c := range map[string]struct {
		of     warmMemory
		change func(*warmMemory)
		want   int
	}{
		"a small host":                     {small, func(*warmMemory) {}, 1},
		"a large host":                     {large, func(*warmMemory) {}, 116},
		"a bound":                          {large, func(m *warmMemory) { m.bound = options.Bytes(100 * mib) }, 3},
		"a bound below one":                {large, func(m *warmMemory) { m.bound = options.Bytes(mib) }, 0},
		"a thousand streams with limits":   {large, func(m *warmMemory) { m.promised = 58*gib - 70*mib }, 2},
		"all is promised":                  {large, func(m *warmMemory) { m.promised = 58 * gib }, 0},
		"more than all is promised":        {large, func(m *warmMemory) { m.promised = 59 * gib }, 0},
		"a thousand streams without":       {large, func(m *warmMemory) { m.available = 6*gib + 40*mib }, 1},
		"nothing is left":                  {large, func(m *warmMemory) { m.available = gib }, 0},
		"those that are there are counted": {large, func(m *warmMemory) { m.available, m.have = 6*gib+40*mib, 3 }, 4},
		"those that are there have to go":  {large, func(m *warmMemory) { m.available, m.have = 6*gib-70*mib, 3 }, 1},
		"nobody knows how much there is":   {large, func(m *warmMemory) { m.budget, m.total, m.available = 0, 0, gib }, 32},
	} {
		c.change(&c.of)
		assert.Equal(t, c.want, c.of.room(), name)
	}
}

func TestWarmSizeText(t *testing.T) {
	for text, want := range map[string]WarmSize{"auto": WarmAuto, "0": 0, "12": 12} {
		var got WarmSize
		assert.NoError(t, got.UnmarshalText([]byte(text)))
		assert.Equal(t, want, got)
		assert.Equal(t, text, got.String())
	}
	for _, text := range []string{"", "-1", "many", "1.5", "auto "} {
		var got WarmSize
		assert.ErrorContains(t, got.UnmarshalText([]byte(text)), "write a whole number, 0 for none, or auto", text)
	}
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	assert.NoError(t, cfg.Validate())
	cfg.WarmPool = WarmPool{Size: 1001}
	err := cfg.Validate()
	assert.ErrorContains(t, err, "warm_pool.size is 1001: it must be 0 to 1000, or auto")
	assert.ErrorContains(t, err, "warm_pool.max is 0: it must be 1 to 1000")
}

// TestPoolLeavesProcessorsToStreams: a runner is started ahead beside streams that
// are being started only where they leave a processor.
func TestPoolLeavesProcessorsToStreams(t *testing.T) {
	p := &pool{wake: make(chan struct{}, 1), processors: 2}
	assert.True(t, p.spare())
	first := p.begin()
	assert.True(t, p.spare())
	second := p.begin()
	assert.False(t, p.spare())
	first()
	assert.True(t, p.spare())
	assert.Len(t, p.wake, 1, "nobody looks whether one is missing")
	second()

	p.processors = 1
	assert.True(t, p.spare())
	defer p.begin()()
	assert.False(t, p.spare())
}

// TestPoolEndsWhatComesLate: a runner whose start was over when the supervisor's end
// had come is nobody's, and would live on.
func TestPoolEndsWhatComesLate(t *testing.T) {
	s := newScripted(t)
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, "input: {}"), Change{}))
	of := s.streams["a"].seen.Load().current
	proc := of.proc
	w := &warmRunner{started: started{proc: proc, followed: of.follower}, taken: make(chan struct{})}
	over, end := context.WithCancel(t.Context())
	end()
	s.pool.came(over, s.hostFiles(), w, nil)
	select {
	case <-proc.Exited():
	case <-time.After(patience):
		require.Fail(t, "it lives on")
	}
	assert.True(t, s.pool.empty())
	require.NoError(t, inTime(t, "close", func() error { return s.Close(context.Background()) }))
}

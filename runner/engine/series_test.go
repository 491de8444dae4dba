package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// measured runs a stream that makes so many messages, with the processor, to
// its end.
func measured(t *testing.T, messages, maxSeries int, mapping, processor string) *Stream {
	t.Helper()
	s, err := prepare(t, fmt.Sprintf(`
input: {generate: {count: %d, interval: "", batch_size: 100, mapping: '%s'}}
pipeline: {processors: [%s]}
output: {drop: {}}`, messages, mapping, processor), func(r *rpc.PrepareRequest) { r.MaxSeries = maxSeries })
	require.NoError(t, err)
	s.Run()
	select {
	case <-s.Done():
	case <-time.After(4 * patience):
		t.Fatal("the stream does not end")
	}
	require.NoError(t, s.Err())
	return s
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func warningsOf(t *testing.T, s *Stream) []string {
	t.Helper()
	ready, err := s.Ready()
	require.NoError(t, err)
	return ready.Warnings
}

// TestSeriesAreBounded has labels of random content, at full speed and of every
// kind of metric.
func TestSeriesAreBounded(t *testing.T) {
	const messages, maxSeries = 15000, 2000
	for _, kind := range []string{"counter", "gauge", "timing"} {
		t.Run(kind, func(t *testing.T) {
			before := heap()
			s := measured(t, messages, maxSeries, "root = uuid_v4()",
				`{metric: {type: `+kind+`, name: mine, value: '7', labels: {id: '${! content() }'}}}`)
			metrics := s.Metrics()
			assert.Len(t, metrics, maxSeries)
			assert.Less(t, float64(heap())-float64(before), float64(20<<20))
			var own, received int64
			for _, m := range metrics {
				switch m.Name {
				case "mine":
					own++
					assert.Len(t, m.Labels["id"], 36)
				case "input_received":
					received += m.Number
				}
			}
			assert.Positive(t, own)
			assert.EqualValues(t, messages, received, "what the engine measures is still measured")
			assert.Equal(t, []string{"the stream has more than 2000 metric series: at least 10000 are dropped"}, warningsOf(t, s))
		})
	}
}

func TestRefusedSeriesAreCounted(t *testing.T) {
	// Each of a hundred, many times.
	s := measured(t, 5000, 50, "root = count(\"x\") % 100", `{metric: {type: counter, name: mine, labels: {id: '${! content() }'}}}`)
	var own int
	for _, m := range s.Metrics() {
		if m.Name == "mine" {
			own++
			assert.EqualValues(t, 50, m.Number, "those that there was room for are whole")
		}
	}
	// Some of the engine's own may have come when there was no room any more.
	warnings := warningsOf(t, s)
	require.Len(t, warnings, 1)
	var dropped int
	_, err := fmt.Sscanf(warnings[0], "the stream has more than 50 metric series: %d are dropped", &dropped)
	require.NoError(t, err, warnings[0])
	assert.GreaterOrEqual(t, dropped, 100-own)
	assert.Less(t, dropped, 200-own, "each once, however often it was asked for")

	s = measured(t, 500, 0, "root = count(\"y\") % 100", `{metric: {type: counter, name: mine, labels: {id: '${! content() }'}}}`)
	assert.Empty(t, warningsOf(t, s), "a hundred are few")
}

// TestLongLabelsAreBounded has few metrics with much text, which goes into one
// message and into the record of the end.
func TestLongLabelsAreBounded(t *testing.T) {
	before := heap()
	s := measured(t, 1000, 0, `root = "%" + uuid_v4() + "x".repeat(100000)`,
		`{metric: {type: counter, name: mine, labels: {id: '${! content() }'}}}`)
	metrics := s.Metrics()
	assert.Less(t, float64(heap())-float64(before), float64(2*maxSeriesBytes))
	warnings := warningsOf(t, s)
	require.Len(t, warnings, 1)
	assert.Regexp(t, `^the labels of the stream's metric series take more than 48 MiB: \d+ are dropped$`, warnings[0])

	dir := t.TempDir()
	require.NoError(t, rpc.WriteExitRecord(dir, rpc.ExitRecord{Reason: rpc.ExitStopped, Metrics: metrics}))
	data, err := os.ReadFile(filepath.Join(dir, rpc.ExitFile))
	require.NoError(t, err)
	record, err := rpc.DecodeExitRecord(data)
	require.NoError(t, err)
	assert.Equal(t, rpc.ExitStopped, record.Reason)
	assert.Empty(t, record.Metrics, "they are too much")
}

// TestLongLabelsAreBoundedByTheMemory: what is told of a stream takes several
// times their room, and is to leave it its own.
func TestLongLabelsAreBoundedByTheMemory(t *testing.T) {
	before := debug.SetMemoryLimit(128 << 20)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	s := measured(t, 500, 0, `root = uuid_v4() + "x".repeat(100000)`,
		`{metric: {type: counter, name: mine, labels: {id: '${! content() }'}}}`)
	var taken int
	for _, m := range s.Metrics() {
		taken += len(m.Labels["id"])
	}
	assert.Greater(t, taken, 7<<20)
	assert.LessOrEqual(t, taken, 8<<20)
	warnings := warningsOf(t, s)
	require.Len(t, warnings, 1)
	assert.Regexp(t, `^the labels of the stream's metric series take more than 8.0 MiB: \d+ are dropped$`, warnings[0])

	debug.SetMemoryLimit(1 << 20)
	c := newCollector(0)
	assert.NotNil(t, c.NewCounterCtor("n", "a")(strings.Repeat("x", fewSeriesBytes/2)), "some may always be had")
	c.NewCounterCtor("n", "a")(strings.Repeat("y", fewSeriesBytes/2))
	assert.Len(t, c.snapshot(), 1)
}

func TestSeriesAreToldApartByTheirLabels(t *testing.T) {
	c := newCollector(0)
	one := c.NewCounterCtor("n", "a", "b")("x", "y")
	assert.Same(t, one, c.NewCounterCtor("n", "b", "a")("y", "x"), "in whatever order")
	assert.Same(t, one, c.NewCounterCtor("n", "a", "a", "b")("z", "x", "y"), "of two with one key the last counts")
	assert.Same(t, one, c.NewGaugeCtor("n", "a", "b")("x", "y"), "a counter and a gauge are one, as upstream")
	for name, other := range map[string]any{
		"another value":     c.NewCounterCtor("n", "a", "b")("x", "z"),
		"another name":      c.NewCounterCtor("m", "a", "b")("x", "y"),
		"another key":       c.NewCounterCtor("n", "a", "c")("x", "y"),
		"a timer":           c.NewTimerCtor("n", "a", "b")("x", "y"),
		"no second value":   c.NewCounterCtor("n", "a", "b")("x"),
		"an empty value":    c.NewCounterCtor("n", "a", "b")("x", ""),
		"another division":  c.NewCounterCtor("n", "a", "b")("xy", ""),
		"no values":         c.NewCounterCtor("n", "a", "b")(),
		"other keys for it": c.NewCounterCtor("n", "ab")("xy"),
	} {
		assert.NotSame(t, one, other, name)
	}
	assert.Len(t, c.snapshot(), 10)
	labels := map[string]string{}
	for _, m := range c.snapshot() {
		labels[fmt.Sprint(m.Name, m.Kind, m.Labels)] = ""
	}
	assert.Len(t, labels, 10, "each has its own labels")
}

func BenchmarkSeries(b *testing.B) {
	for name, c := range map[string]*collector{"known": newCollector(0), "refused": newCollector(1)} {
		c.NewCounterCtor("first")()
		with := c.NewCounterCtor("mine", "label", "path", "id")
		ids := make([]string, 5000)
		for i := range ids {
			ids[i] = fmt.Sprint("0123456789-", i)
		}
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					with("", "root.pipeline.processors.0", ids[i%len(ids)]).Incr(1)
				}
			})
		})
	}
}

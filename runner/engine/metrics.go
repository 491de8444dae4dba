package engine

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	gometrics "github.com/rcrowley/go-metrics"
	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// exporterName is the metrics component by which the engine hands us its
// metrics.
const exporterName = "penstock"

// The sampling of timers is upstream's, so that percentiles compare.
const (
	reservoirSize  = 1028
	reservoirAlpha = 0.015
)

func registerExporter(env *service.Environment, c *collector) error {
	spec := service.NewConfigSpec().Summary("Hands all metrics to the runner of the stream.")
	err := env.RegisterMetricsExporter(exporterName, spec,
		func(*service.ParsedConfig, *service.Logger) (service.MetricsExporter, error) { return c, nil })
	if err != nil {
		return fmt.Errorf("registering the metrics exporter: %w", err)
	}
	return nil
}

// collector keeps the value of every metric of the stream. It implements
// service.MetricsExporter.
type collector struct {
	mu      sync.Mutex
	entries map[string]*entry
}

// entry is one metric with one set of labels.
type entry struct {
	name   string
	labels map[string]string
	kind   rpc.Kind
	// number is the value; for a timer, how often it was used.
	number atomic.Int64
	// sum is how long a timer has timed, in nanoseconds.
	sum atomic.Int64
	// sample is set for a timer.
	sample gometrics.Sample
}

func newCollector() *collector { return &collector{entries: map[string]*entry{}} }

func (c *collector) NewCounterCtor(name string, keys ...string) service.MetricsExporterCounterCtor {
	return func(values ...string) service.MetricsExporterCounter {
		return c.entry(rpc.KindCounter, name, keys, values)
	}
}

func (c *collector) NewGaugeCtor(name string, keys ...string) service.MetricsExporterGaugeCtor {
	return func(values ...string) service.MetricsExporterGauge {
		return c.entry(rpc.KindGauge, name, keys, values)
	}
}

func (c *collector) NewTimerCtor(name string, keys ...string) service.MetricsExporterTimerCtor {
	return func(values ...string) service.MetricsExporterTimer {
		return c.entry(rpc.KindTimer, name, keys, values)
	}
}

func (c *collector) Close(context.Context) error { return nil }

// entry finds or makes a metric. A counter and a gauge of one name and labels
// are one metric, as they are upstream: the first that asks says which.
func (c *collector) entry(kind rpc.Kind, name string, keys, values []string) *entry {
	labels := make(map[string]string, len(keys))
	for i, key := range keys {
		if i < len(values) {
			labels[key] = values[i]
		}
	}
	// Printing a map sorts its keys.
	id := fmt.Sprintf("%t%q%q", kind == rpc.KindTimer, name, labels)
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		e = &entry{name: name, labels: labels, kind: kind}
		if kind == rpc.KindTimer {
			e.sample = gometrics.NewExpDecaySample(reservoirSize, reservoirAlpha)
		}
		c.entries[id] = e
	}
	return e
}

func (c *collector) snapshot() []rpc.Metric {
	c.mu.Lock()
	entries := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		entries = append(entries, e)
	}
	c.mu.Unlock()

	out := make([]rpc.Metric, 0, len(entries))
	for _, e := range entries {
		m := rpc.Metric{Name: e.name, Labels: maps.Clone(e.labels), Kind: e.kind}
		if e.sample != nil {
			p := e.sample.Snapshot().Percentiles([]float64{0.5, 0.9, 0.99})
			m.Timing = &rpc.Timing{P50: p[0], P90: p[1], P99: p[2], Count: uint64(e.number.Load()), Sum: float64(e.sum.Load())}
		} else {
			m.Number = e.number.Load()
		}
		out = append(out, m)
	}
	return out
}

// Incr implements service.MetricsExporterCounter.
func (e *entry) Incr(count int64) { e.number.Add(count) }

// IncrFloat64 is used by the engine where it is implemented.
func (e *entry) IncrFloat64(count float64) { e.number.Add(int64(count)) }

// Set implements service.MetricsExporterGauge.
func (e *entry) Set(value int64) { e.number.Store(value) }

// SetFloat64 is used by the engine where it is implemented.
func (e *entry) SetFloat64(value float64) { e.number.Store(int64(value)) }

// Timing implements service.MetricsExporterTimer; delta is in nanoseconds.
func (e *entry) Timing(delta int64) {
	e.sample.Update(delta)
	e.sum.Add(delta)
	e.number.Add(1)
}

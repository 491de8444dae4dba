package engine

import (
	"context"
	"fmt"
	"maps"
	"sync/atomic"

	gometrics "github.com/rcrowley/go-metrics"
	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// exporterName is the metrics component by which the engine hands us its
// metrics.
const exporterName = "penstock"

func registerExporter(env *service.Environment, c *collector) error {
	spec := service.NewConfigSpec().Summary("Hands all metrics to the runner of the stream.")
	err := env.RegisterMetricsExporter(exporterName, spec,
		func(*service.ParsedConfig, *service.Logger) (service.MetricsExporter, error) { return c, nil })
	if err != nil {
		return fmt.Errorf("registering the metrics exporter: %w", err)
	}
	return nil
}

// NewCounterCtor implements service.MetricsExporter.
func (c *collector) NewCounterCtor(name string, keys ...string) service.MetricsExporterCounterCtor {
	f := c.family(rpc.KindCounter, name, keys)
	return func(values ...string) service.MetricsExporterCounter {
		if e := f.with(values); e != nil {
			return e
		}
		return refused{}
	}
}

// NewGaugeCtor implements service.MetricsExporter.
func (c *collector) NewGaugeCtor(name string, keys ...string) service.MetricsExporterGaugeCtor {
	f := c.family(rpc.KindGauge, name, keys)
	return func(values ...string) service.MetricsExporterGauge {
		if e := f.with(values); e != nil {
			return e
		}
		return refused{}
	}
}

// NewTimerCtor implements service.MetricsExporter.
func (c *collector) NewTimerCtor(name string, keys ...string) service.MetricsExporterTimerCtor {
	f := c.family(rpc.KindTimer, name, keys)
	return func(values ...string) service.MetricsExporterTimer {
		if e := f.with(values); e != nil {
			return e
		}
		return refused{}
	}
}

// Close implements service.MetricsExporter.
func (c *collector) Close(context.Context) error { return nil }

func (c *collector) snapshot() []rpc.Metric {
	c.mu.RLock()
	entries := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		entries = append(entries, e)
	}
	c.mu.RUnlock()

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

// refused takes the values of a metric that is one too many.
type refused struct{}

// Incr implements service.MetricsExporterCounter.
func (refused) Incr(int64) {}

// Set implements service.MetricsExporterGauge.
func (refused) Set(int64) {}

// Timing implements service.MetricsExporterTimer.
func (refused) Timing(int64) {}

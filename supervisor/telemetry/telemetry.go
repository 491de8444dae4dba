package telemetry

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc/status"
)

// Telemetry keeps what the supervisor counts. Its methods may be called by any
// number of goroutines.
type Telemetry struct {
	registry  *prometheus.Registry
	restarts  *prometheus.CounterVec
	exits     *prometheus.CounterVec
	oomKills  prometheus.Counter
	adoptions *prometheus.CounterVec
	starts    *prometheus.CounterVec
	warm      prometheus.Gauge
	create    prometheus.Histogram
	stop      prometheus.Histogram
	rpc       *prometheus.HistogramVec
	calls     callCounters
}

// The bounds of durations, in seconds.
var (
	lifeBuckets = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	rpcBuckets  = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30}
)

// New makes a Telemetry that has counted nothing.
func New() *Telemetry {
	t := &Telemetry{
		registry: prometheus.NewRegistry(),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_restarts_total", Help: "Restarts of streams, by the reason.",
		}, []string{"reason"}),
		exits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_runner_exits_total", Help: "Runners that have ended, by the reason.",
		}, []string{"reason"}),
		oomKills: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_oom_kills_total", Help: "Runners that were killed for want of memory.",
		}),
		adoptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_adoptions_total", Help: "Runners of an earlier supervisor that were found at the start, by what became of them.",
		}, []string{"result"}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_runner_starts_total", Help: "Runners that streams were given, by whether they had been started ahead (warm) or not (cold).",
		}, []string{"kind"}),
		warm: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "penstock_warm_runners", Help: "Runners that were started ahead and are nobody's yet.",
		}),
		create: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "penstock_create_duration_seconds", Help: "How long creating a stream took.", Buckets: lifeBuckets,
		}),
		stop: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "penstock_stop_duration_seconds", Help: "How long stopping a stream took.", Buckets: lifeBuckets,
		}),
		rpc: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "penstock_rpc_duration_seconds", Help: "How long calls of runners took, by method and gRPC code.", Buckets: rpcBuckets,
		}, []string{"method", "code"}),
	}
	t.registry.MustRegister(
		t.restarts, t.exits, t.oomKills, t.adoptions, t.starts, t.warm, t.create, t.stop, t.rpc,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	t.calls = newCallCounters(t.registry)
	// A counter that begins at its first event has no rate for it.
	for _, reason := range []string{"exited", "signaled", reasonOOM, "disk", "killed", "lost"} {
		t.exits.WithLabelValues(reason)
	}
	for _, kind := range []string{"warm", "cold"} {
		t.starts.WithLabelValues(kind)
	}
	for _, result := range []string{"adopted", "gone", "foreign", "refused", "orphan"} {
		t.adoptions.WithLabelValues(result)
	}
	return t
}

// reasonOOM is the reason of a runner's exit that the kernel killed for want
// of memory.
const reasonOOM = "oom"

// Created takes note that a stream was created, and how long that took.
func (t *Telemetry) Created(d time.Duration) { t.create.Observe(d.Seconds()) }

// Stopped takes note that a stream was stopped, and how long that took.
func (t *Telemetry) Stopped(d time.Duration) { t.stop.Observe(d.Seconds()) }

// Restarted takes note that a stream was started again.
func (t *Telemetry) Restarted(reason string) { t.restarts.WithLabelValues(reason).Inc() }

// Exited takes note that a runner has ended. The reason "oom" counts as a kill
// for want of memory as well.
func (t *Telemetry) Exited(reason string) {
	t.exits.WithLabelValues(reason).Inc()
	if reason == reasonOOM {
		t.oomKills.Inc()
	}
}

// Adopted takes note of what became of an earlier supervisor's runner: adopted,
// gone, foreign, refused or orphan.
func (t *Telemetry) Adopted(result string) { t.adoptions.WithLabelValues(result).Inc() }

// RunnerStarted takes note that a stream was given a runner: warm, which had been
// started ahead, or cold.
func (t *Telemetry) RunnerStarted(kind string) { t.starts.WithLabelValues(kind).Inc() }

// Warm takes note of how many runners are nobody's yet.
func (t *Telemetry) Warm(runners int) { t.warm.Set(float64(runners)) }

// RPC takes note of a call of a runner. The method may be its full name
// (/package.Service/Method).
func (t *Telemetry) RPC(method string, took time.Duration, err error) {
	t.rpc.WithLabelValues(path.Base(method), codeOf(err)).Observe(took.Seconds())
}

// codeOf names the gRPC code of an error, which may be a context's.
func codeOf(err error) string {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Code().String()
	}
	return status.Code(err).String()
}

package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

// Target is a stream that is scraped.
type Target struct {
	// Stream is its id, and Replica the number of the runner where a stream has
	// several, from 1; else 0. No two targets of a scrape have the same.
	Stream  string
	Replica int
	// State is counted by penstock_streams; empty where there is no stream.
	State string
	// Restarts is how often it was started again.
	Restarts uint64
	// PID is that of its runner, 0 for none.
	PID int
	// Stats asks for its metrics; nil when there is nobody to ask. It must
	// return when the context ends.
	Stats func(ctx context.Context) ([]rpc.Metric, error)
	// Usage reads what its runner has used, and false when that cannot be read;
	// nil when nothing counts it. It must not wait for anybody.
	Usage func() (cgroup.Usage, bool)
	// MemoryLimit and DiskLimit are in bytes, 0 for none.
	MemoryLimit, DiskLimit int64
	// DiskBytes is what its folders took up when they were measured last, 0 when
	// they were not.
	DiskBytes int64
}

// scrapeShare is how much of the time that Prometheus has for a scrape may be
// spent on waiting for runners: what comes too late is no use to anybody.
const scrapeShare = 0.8

// Handler serves the metrics of the targets and the gateway's own in the
// Prometheus text format, or another one that the client asks for. The runners
// have the timeout to answer, or less when Prometheus says that it has less.
// Making a handler costs nothing: one may be made for each request.
func (t *Telemetry) Handler(targets func() []Target, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		budget := timeout
		seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
		if err == nil && seconds > 0 && seconds < timeout.Seconds()/scrapeShare {
			budget = time.Duration(seconds * scrapeShare * float64(time.Second))
		}
		ctx, cancel := context.WithTimeout(r.Context(), budget)
		defer cancel()
		gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return t.gather(ctx, targets()) })
		// Whatever could be gathered is served.
		promhttp.HandlerFor(gather, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	})
}

// gather asks all targets and puts their metrics beside the gateway's own.
func (t *Telemetry) gather(ctx context.Context, targets []Target) ([]*dto.MetricFamily, error) {
	began := time.Now()
	answers := ask(ctx, targets)
	asked := time.Since(began)
	own, err := t.registry.Gather()
	return merge(append(own, streamFamilies(answers, asked)...), answers), err
}

package telemetry

import "github.com/prometheus/client_golang/prometheus"

// callCounters are of asynchronous calls.
type callCounters struct {
	accepted  prometheus.Counter
	refused   *prometheus.CounterVec
	ended     *prometheus.CounterVec
	callbacks *prometheus.CounterVec
}

func newCallCounters(registry *prometheus.Registry) callCounters {
	c := callCounters{
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_calls_accepted_total", Help: "Asynchronous calls that were accepted.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_calls_refused_total", Help: "Asynchronous calls that were not accepted, by the reason.",
		}, []string{"reason"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_calls_ended_total", Help: "Asynchronous calls that are done, have failed or were canceled.",
		}, []string{"result"}),
		callbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_callbacks_total", Help: "Attempts to deliver the result of a call, by what became of them.",
		}, []string{"result"}),
	}
	registry.MustRegister(c.accepted, c.refused, c.ended, c.callbacks)
	for _, reason := range []string{"too_large", "busy", "full", "forbidden"} {
		c.refused.WithLabelValues(reason)
	}
	for _, result := range []string{"done", "failed", "canceled"} {
		c.ended.WithLabelValues(result)
	}
	for _, result := range []string{"delivered", "retried", "failed"} {
		c.callbacks.WithLabelValues(result)
	}
	return c
}

// CallAccepted takes note of an asynchronous call that was accepted.
func (t *Telemetry) CallAccepted() { t.calls.accepted.Inc() }

// CallRefused takes note of one that was not: too_large, busy, full or forbidden.
func (t *Telemetry) CallRefused(reason string) { t.calls.refused.WithLabelValues(reason).Inc() }

// CallEnded takes note of one that is done, failed or canceled.
func (t *Telemetry) CallEnded(result string) { t.calls.ended.WithLabelValues(result).Inc() }

// CallbackTried takes note of an attempt to deliver a result: delivered, retried
// or failed.
func (t *Telemetry) CallbackTried(result string) { t.calls.callbacks.WithLabelValues(result).Inc() }

// WatchCalls has every scrape tell how many asynchronous calls there are of each
// status, and how many bytes they take. It is to be called once.
func (t *Telemetry) WatchCalls(figures func() (byStatus map[string]int, bytes int64)) {
	t.registry.MustRegister(&callGauges{
		figures: figures,
		calls:   prometheus.NewDesc("penstock_calls", "Asynchronous calls that are kept, by their status.", []string{"status"}, nil),
		bytes:   prometheus.NewDesc("penstock_calls_stored_bytes", "What asynchronous calls and their results take.", nil, nil),
	})
}

// callGauges are read at each scrape.
type callGauges struct {
	figures      func() (map[string]int, int64)
	calls, bytes *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (g *callGauges) Describe(to chan<- *prometheus.Desc) {
	to <- g.calls
	to <- g.bytes
}

// Collect implements prometheus.Collector.
func (g *callGauges) Collect(to chan<- prometheus.Metric) {
	byStatus, bytes := g.figures()
	for status, count := range byStatus {
		to <- prometheus.MustNewConstMetric(g.calls, prometheus.GaugeValue, float64(count), status)
	}
	to <- prometheus.MustNewConstMetric(g.bytes, prometheus.GaugeValue, float64(bytes))
}

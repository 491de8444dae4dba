package stats

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/rpc"
)

// Labels by which the engine says where a metric comes from.
const (
	labelLabel  = "label"
	labelPath   = "path"
	labelStream = "stream"
)

const uptimeKey = "uptime_ns"

// Report is what is known of a stream at one moment.
type Report struct {
	// Stream is the id of the stream.
	Stream string
	// Config is the stream's, as decoded from JSON. It gives the tree the
	// components that have no metrics; it may be nil.
	Config any
	// Metrics are the runner's, in any order.
	Metrics []rpc.Metric
	// Process is nil when the stream has no process.
	Process *Process
	// Usage is what it has used of what it may; nil when that is not known.
	Usage *Usage
	// Uptime is how long the stream has run, or ran.
	Uptime time.Duration
}

// Flat is the report as upstream's streams mode gives it: one key for each
// metric of the stream, with its labels in braces, and `uptime_ns`. Metrics of
// resources are not among them.
func (r Report) Flat() map[string]any {
	out := make(map[string]any, len(r.Metrics)+1)
	for _, it := range ordered(r.Metrics) {
		if _, ok := resourceType(it.segments); ok {
			continue
		}
		out[labelled(it.metric.Name, r.withStream(it.labels))] = value(it.metric)
	}
	out[uptimeKey] = r.Uptime.Nanoseconds()
	return out
}

// withStream adds the label of the stream. A metric that has one of its own
// gets its own twice, which is what upstream's keys show then.
func (r Report) withStream(labels []label) []label {
	stream := label{labelStream, r.Stream}
	if i := slices.IndexFunc(labels, func(l label) bool { return l.name == labelStream }); i >= 0 {
		stream = labels[i]
	}
	return append(slices.Clone(labels), stream)
}

// percentiles is a timer's value, in nanoseconds.
type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

func value(m rpc.Metric) any {
	if t := m.Timing; t != nil {
		return percentiles{finite(t.P50), finite(t.P90), finite(t.P99)}
	}
	return m.Number
}

// finite replaces what JSON has no number for.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

type label struct{ name, value string }

// labelled is a metric's name with its labels, as upstream writes it.
func labelled(name string, labels []label) string {
	if len(labels) == 0 {
		return name
	}
	labels = slices.Clone(labels)
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString(name)
	for i, l := range labels {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(l.name)
		b.WriteByte('=')
		b.WriteString(strconv.QuoteToASCII(l.value))
	}
	b.WriteByte('}')
	return b.String()
}

package telemetry

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"penstock/rpc"
)

// maxSeries is how many series one stream may give. Labels can be made of what
// messages hold, so that there is no end to them.
const maxSeries = 10_000

// kind is the type of a metric.
type kind int

const (
	counter kind = iota
	gauge
	timer
	kinds
)

// kindTexts are what a metric's name gets where another type has it, its type
// as Prometheus calls it, and its help, which is upstream's.
var kindTexts = [kinds]struct {
	suffix string
	dto    dto.MetricType
	help   string
}{
	counter: {"_counter", dto.MetricType_COUNTER, "Benthos Counter metric"},
	gauge:   {"_gauge", dto.MetricType_GAUGE, "Benthos Gauge metric"},
	timer:   {"_timer", dto.MetricType_SUMMARY, "Benthos Timing metric"},
}

func kindOf(m *rpc.Metric) kind {
	switch {
	case m.Timing != nil:
		return timer
	case m.Kind == rpc.KindCounter:
		return counter
	}
	return gauge
}

// series is one metric of a stream on its way to Prometheus.
type series struct {
	name string
	kind kind
	dto  *dto.Metric
	from *rpc.Metric
}

// seriesOf turns a stream's metrics into series, sorted, each one once.
func (a *answer) seriesOf() []series {
	metrics := a.metrics
	labels, timings := 0, 0
	for i := range metrics {
		labels += len(metrics[i].Labels)
		if metrics[i].Timing != nil {
			timings++
		}
	}
	b := &arena{
		own:     a.pairs(),
		pairs:   make([]dto.LabelPair, 0, labels),
		texts:   make([]string, 0, 2*labels),
		refs:    make([]*dto.LabelPair, 0, labels+2*len(metrics)),
		metrics: make([]dto.Metric, len(metrics)),
		numbers: make([]float64, 0, len(metrics)+7*timings),
	}
	out := make([]series, len(metrics))
	for i := range metrics {
		kind := kindOf(&metrics[i])
		b.metrics[i].Label = b.labels(metrics[i].Labels, kind)
		b.value(&b.metrics[i], &metrics[i], kind)
		out[i] = series{metricName(metrics[i].Name), kind, &b.metrics[i], &metrics[i]}
	}
	slices.SortFunc(out, func(a, b series) int {
		// The same one of those that have become the same is given each time.
		return cmp.Or(a.compare(b), strings.Compare(a.from.Name, b.from.Name), cmp.Compare(a.from.Number, b.from.Number))
	})
	out = slices.CompactFunc(out, func(a, b series) bool { return a.compare(b) == 0 })
	out = out[:min(len(out), maxSeries)]
	a.dropped = len(metrics) - len(out)
	return out
}

func (s series) compare(other series) int {
	if c := cmp.Or(strings.Compare(s.name, other.name), cmp.Compare(s.kind, other.kind)); c != 0 {
		return c
	}
	return slices.CompareFunc(s.dto.Label, other.dto.Label, func(a, b *dto.LabelPair) int {
		if c := strings.Compare(*a.Name, *b.Name); c != 0 {
			return c
		}
		return strings.Compare(*a.Value, *b.Value)
	})
}

// arena holds all that one stream's series consist of in few allocations. Its
// slices never grow, since pointers into them are given away.
type arena struct {
	own     []*dto.LabelPair
	pairs   []dto.LabelPair
	texts   []string
	refs    []*dto.LabelPair
	metrics []dto.Metric
	numbers []float64
	// keys is only used while a metric's labels are sorted.
	keys []string
}

// text returns where a text is kept.
func (b *arena) text(s string) *string {
	b.texts = append(b.texts, s)
	return &b.texts[len(b.texts)-1]
}

func (b *arena) number(n float64) *float64 {
	b.numbers = append(b.numbers, n)
	return &b.numbers[len(b.numbers)-1]
}

// pairs are the labels of the target.
func (a *answer) pairs() []*dto.LabelPair {
	out := []*dto.LabelPair{{Name: new(streamLabel), Value: &a.Stream}}
	if a.Replica > 0 {
		out = append(out, &dto.LabelPair{Name: new(replicaLabel), Value: new(strconv.Itoa(a.Replica))})
	}
	return out
}

// labels returns a metric's labels and the stream's, sorted, each name once.
func (b *arena) labels(labels map[string]string, kind kind) []*dto.LabelPair {
	begin := len(b.refs)
	b.refs = append(b.refs, b.own...)
	b.keys = b.keys[:0]
	for name := range labels {
		b.keys = append(b.keys, name)
	}
	slices.Sort(b.keys)
	for _, name := range b.keys {
		clean := labelName(name, kind)
		for slices.ContainsFunc(b.refs[begin:], func(p *dto.LabelPair) bool { return *p.Name == clean }) {
			clean += "_"
		}
		b.pairs = b.pairs[:len(b.pairs)+1]
		pair := &b.pairs[len(b.pairs)-1]
		pair.Name, pair.Value = b.text(clean), b.text(strings.ToValidUTF8(labels[name], "\uFFFD"))
		b.refs = append(b.refs, pair)
	}
	out := b.refs[begin:len(b.refs):len(b.refs)]
	slices.SortFunc(out, func(a, b *dto.LabelPair) int { return strings.Compare(*a.Name, *b.Name) })
	return out
}

// quantiles are those of upstream's summaries.
var quantiles = [...]float64{0.5, 0.9, 0.99}

// value sets a metric's value.
func (b *arena) value(out *dto.Metric, m *rpc.Metric, kind kind) {
	switch kind {
	case counter:
		out.Counter = &dto.Counter{Value: b.number(float64(m.Number))}
	case gauge:
		out.Gauge = &dto.Gauge{Value: b.number(float64(m.Number))}
	case timer:
		summary := &dto.Summary{
			SampleCount: &m.Timing.Count, SampleSum: b.number(m.Timing.Sum),
			Quantile: make([]*dto.Quantile, len(quantiles)),
		}
		values := [...]float64{m.Timing.P50, m.Timing.P90, m.Timing.P99}
		for i := range quantiles {
			if m.Timing.Count == 0 {
				// As upstream has it: nothing was seen yet.
				values[i] = math.NaN()
			}
			summary.Quantile[i] = &dto.Quantile{Quantile: &quantiles[i], Value: b.number(values[i])}
		}
		out.Summary = summary
	}
}

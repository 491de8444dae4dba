package telemetry

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// group is all series of one name.
type group struct {
	metrics [kinds][]*dto.Metric
	// streams is how many streams give the name this type.
	streams [kinds]int
	last    [kinds]string
}

// winner is the type that keeps the name.
func (g *group) winner() kind {
	best := counter
	for k := range kinds {
		if g.streams[k] > g.streams[best] {
			best = k
		}
	}
	return best
}

// merge adds the streams' series to the gateway's own families, and sorts all
// by name.
func merge(families []*dto.MetricFamily, answers []answer) []*dto.MetricFamily {
	groups := map[string]*group{}
	dropped := newFamily("penstock_scrape_dropped_series", "Series of a stream that this scrape leaves out: there are too many, or others like them.", dto.MetricType_GAUGE)
	for i := range answers {
		a := &answers[i]
		for _, s := range a.seriesOf() {
			g := groups[s.name]
			if g == nil {
				g = &group{}
				groups[s.name] = g
			}
			if len(g.metrics[s.kind]) == 0 || g.last[s.kind] != a.Stream {
				g.last[s.kind] = a.Stream
				g.streams[s.kind]++
			}
			g.metrics[s.kind] = append(g.metrics[s.kind], s.dto)
		}
		if a.dropped > 0 {
			dropped.ofStream(a, float64(a.dropped))
		}
	}
	families = dropped.appendTo(families)

	taken := make(names, len(families)+len(groups))
	for _, f := range families {
		taken[f.GetName()] = f.GetType()
	}
	sorted := slices.Sorted(maps.Keys(groups))
	// The names that need no change first, so that a changed one takes none of
	// them.
	for _, changed := range []bool{false, true} {
		for _, name := range sorted {
			g := groups[name]
			winner := g.winner()
			for k := range kinds {
				if len(g.metrics[k]) == 0 || (k != winner) != changed {
					continue
				}
				final := name
				if changed {
					final += kindTexts[k].suffix
				}
				families = append(families, &dto.MetricFamily{
					Name: new(taken.claim(final, k)), Help: new(kindTexts[k].help),
					Type: kindTexts[k].dto.Enum(), Metric: g.metrics[k],
				})
			}
		}
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families
}

// names are those of families, with their types.
type names map[string]dto.MetricType

// claim takes the name, or one like it when it is taken.
func (n names) claim(name string, k kind) string {
	for n.clashes(name, k) {
		name += kindTexts[k].suffix
	}
	n[name] = kindTexts[k].dto
	return name
}

// clashes says whether a family of that name, or the series that it would
// consist of, are there already.
func (n names) clashes(name string, k kind) bool {
	if _, ok := n[name]; ok {
		return true
	}
	for _, suffix := range []string{"_sum", "_count", "_bucket"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			of, ok := n[base]
			if ok && (of == dto.MetricType_HISTOGRAM || of == dto.MetricType_SUMMARY && suffix != "_bucket") {
				return true
			}
		}
		if _, ok := n[name+suffix]; ok && k == timer && suffix != "_bucket" {
			return true
		}
	}
	return false
}

// family is one of the gateway's own that is made anew for each scrape.
type family struct{ dto.MetricFamily }

func newFamily(name, help string, t dto.MetricType) *family {
	return &family{dto.MetricFamily{Name: &name, Help: &help, Type: t.Enum()}}
}

// add adds a series with these labels: name, value, and so on.
func (f *family) add(number float64, labels ...string) {
	m := &dto.Metric{}
	for i := 0; i < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	if f.GetType() == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &number}
	} else {
		m.Gauge = &dto.Gauge{Value: &number}
	}
	f.Metric = append(f.Metric, m)
}

func (f *family) ofStream(a *answer, number float64) { f.add(number, a.labelled()...) }

// labelled are labels and those of the target.
func (a *answer) labelled(labels ...string) []string {
	if a.Replica > 0 {
		labels = append(labels, replicaLabel, strconv.Itoa(a.Replica))
	}
	return append(labels, streamLabel, a.Stream)
}

// appendTo leaves out a family that has no series.
func (f *family) appendTo(families []*dto.MetricFamily) []*dto.MetricFamily {
	if len(f.Metric) == 0 {
		return families
	}
	return append(families, &f.MetricFamily)
}

// knownStates are counted also when no stream is in them.
var knownStates = []string{"pending", "starting", "running", "backoff", "finished", "failed", "paused", "idle", "stopping"}

// streamFamilies are the gateway's own metrics about the streams.
func streamFamilies(answers []answer, asked time.Duration) []*dto.MetricFamily {
	streams := newFamily("penstock_streams", "Streams, by their state.", dto.MetricType_GAUGE)
	restarts := newFamily("penstock_stream_restarts_total", "Restarts of a stream.", dto.MetricType_COUNTER)
	cpu := newFamily("penstock_runner_cpu_seconds_total", "CPU time that the stream's runner has taken.", dto.MetricType_COUNTER)
	rss := newFamily("penstock_runner_resident_memory_bytes", "Resident memory of the stream's runner.", dto.MetricType_GAUGE)
	failed := newFamily("penstock_scrape_error", "1 when the stream's runner did not answer this scrape.", dto.MetricType_GAUGE)
	took := newFamily("penstock_scrape_duration_seconds", "How long this scrape waited for runners.", dto.MetricType_GAUGE)

	states := make(map[string]int, len(knownStates))
	for _, state := range knownStates {
		states[state] = 0
	}
	for i := range answers {
		a := &answers[i]
		if a.Replica <= 1 && a.State != "" {
			states[a.State]++
		}
		restarts.ofStream(a, float64(a.Restarts))
		if a.figures != nil {
			cpu.ofStream(a, a.figures.cpuSeconds)
			rss.ofStream(a, float64(a.figures.rssBytes))
		}
		switch {
		case a.failed:
			failed.ofStream(a, 1)
		case a.Stats != nil:
			failed.ofStream(a, 0)
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		streams.add(float64(states[state]), "state", state)
	}
	took.add(asked.Seconds())

	var out []*dto.MetricFamily
	for _, f := range []*family{streams, restarts, cpu, rss, failed, took} {
		out = f.appendTo(out)
	}
	return append(out, usageFamilies(answers)...)
}

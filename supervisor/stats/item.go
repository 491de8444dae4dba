package stats

import (
	"cmp"
	"slices"
	"strings"

	"penstock/rpc"
)

// maxSegments bounds how deep a path nests. No config that is accepted nests
// deeper; the rest of a longer path counts as one segment.
const maxSegments = 128

const resourcesSuffix = "_resources"

// resourceTypes are the kinds of components that streams share.
var resourceTypes = []string{"cache", "input", "output", "processor", "rate_limit"}

// kinds are the kinds of components that put their name before their metrics'.
var kinds = append([]string{"buffer"}, resourceTypes...)

var unescape = strings.NewReplacer("~1", ".", "~0", "~")

// item is a metric with what is derived from its labels.
type item struct {
	metric rpc.Metric
	labels []label
	// label and path are those of the component; empty when there is none.
	label, path string
	// segments are those of the path, unescaped, without the leading root.
	// They are empty when the path does not start at the root.
	segments []string
	// short is the name without the component's kind; own says that there was
	// one to cut off, thus that the engine counts this and not a user.
	short string
	own   bool
	// full is the name with all labels.
	full string
}

// ordered gives every metric its place in an order that depends on nothing but
// the metrics themselves. Those that the engine counts are before the users'
// of the same component.
func ordered(metrics []rpc.Metric) []item {
	items := make([]item, 0, len(metrics))
	for _, m := range metrics {
		items = append(items, newItem(m))
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(
			cmp.Compare(a.path, b.path),
			-compareBool(a.own, b.own),
			cmp.Compare(a.label, b.label),
			cmp.Compare(a.metric.Name, b.metric.Name),
			cmp.Compare(a.full, b.full),
			compareTiming(a.metric.Timing, b.metric.Timing),
			cmp.Compare(a.metric.Number, b.metric.Number),
		)
	})
	return items
}

func newItem(m rpc.Metric) item {
	it := item{metric: m, label: m.Labels[labelLabel], path: m.Labels[labelPath], short: m.Name}
	for name, value := range m.Labels {
		it.labels = append(it.labels, label{name, value})
	}
	it.full = labelled(m.Name, it.labels)
	if rest, ok := strings.CutPrefix(it.path, "root."); ok {
		it.segments = split(rest)
	}
	for _, kind := range kinds {
		rest, ok := strings.CutPrefix(m.Name, kind+"_")
		if ok && rest != "" && slices.ContainsFunc(it.segments, func(s string) bool { return names(s, kind) }) {
			it.short, it.own = rest, true
		}
	}
	return it
}

// names reports whether components of the kind are found below the segment.
func names(segment, kind string) bool {
	rest, ok := strings.CutPrefix(segment, kind)
	return ok && (rest == "" || rest == "s" || rest == resourcesSuffix)
}

func split(path string) []string {
	segments := strings.SplitN(path, ".", maxSegments)
	for i, s := range segments {
		segments[i] = unescape.Replace(s)
	}
	return segments
}

// resourceType reports whether a path leads to or below a resource.
func resourceType(segments []string) (string, bool) {
	if len(segments) == 0 {
		return "", false
	}
	typ, ok := strings.CutSuffix(segments[0], resourcesSuffix)
	return typ, ok && slices.Contains(resourceTypes, typ)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// compareTiming puts what is no timer first.
func compareTiming(a, b *rpc.Timing) int {
	if a == nil || b == nil {
		return compareBool(a != nil, b != nil)
	}
	return cmp.Or(cmp.Compare(a.P50, b.P50), cmp.Compare(a.P90, b.P90), cmp.Compare(a.P99, b.P99))
}

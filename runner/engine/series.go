package engine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	gometrics "github.com/rcrowley/go-metrics"

	"penstock/rpc"
)

const (
	// defaultMaxSeries is how many metrics a stream may have unless the
	// supervisor says otherwise.
	defaultMaxSeries = 10000
	// maxSeriesBytes bounds what all names and labels take together, so that
	// they fit into one answer to the supervisor.
	maxSeriesBytes = rpc.MaxMessageBytes / 4 * 3
	// seriesShare is the part of the memory that the stream is to keep to which
	// they may take: each answer is made of several copies. fewSeriesBytes may
	// always be taken.
	seriesShare    = 16
	fewSeriesBytes = 1 << 20
	// seriesBytes is what a metric takes in that answer beside its texts, and
	// labelBytes what each of its labels takes.
	seriesBytes = 80
	labelBytes  = 8
	// maxRefused is up to how many metrics the refused ones are told apart.
	maxRefused = 10000
)

// The sampling of timers is upstream's, so that percentiles compare. A full
// sample is 16 kB: a stream that has very many timers gets rougher ones.
const (
	reservoirSize  = 1028
	reservoirAlpha = 0.015
	fullReservoirs = 500
	smallReservoir = 64
)

// collector keeps the value of every metric of the stream. It implements
// service.MetricsExporter.
//
// A label's value can come from a message, so that a stream can have as many
// metrics as it has messages: what is beyond the bounds is refused.
type collector struct {
	maxSeries int
	seed      maphash.Seed

	mu      sync.RWMutex
	entries map[string]*entry
	// bytes is what the entries take in an answer.
	bytes, timers int
	// outgrown is how many bytes did not suffice, if they did not.
	outgrown int
	// refused are the metrics that found no room, by their hashes, up to
	// maxRefused.
	refused map[uint64]struct{}

	// full says that there is no room for any metric.
	full atomic.Bool
}

func newCollector(maxSeries int) *collector {
	return &collector{
		maxSeries: cmp.Or(maxSeries, defaultMaxSeries),
		seed:      maphash.MakeSeed(),
		entries:   map[string]*entry{},
		refused:   map[uint64]struct{}{},
	}
}

// family is what the metrics of one name and kind have in common.
type family struct {
	*collector
	kind rpc.Kind
	name string
	keys []string
	// order are the indices of the keys that count, sorted by key: the same
	// labels in another order are the same metric.
	order []int
	// prefix begins the identity of each of its metrics.
	prefix string
}

func (c *collector) family(kind rpc.Kind, name string, keys []string) *family {
	f := &family{collector: c, kind: kind, name: name, keys: slices.Clone(keys)}
	for i, key := range f.keys {
		// Of two labels with one key the last counts.
		if !slices.Contains(f.keys[i+1:], key) {
			f.order = append(f.order, i)
		}
	}
	slices.SortFunc(f.order, func(a, b int) int { return strings.Compare(f.keys[a], f.keys[b]) })
	sorted := make([]string, len(f.order))
	for i, index := range f.order {
		sorted[i] = f.keys[index]
	}
	// A counter and a gauge of one name and labels are one metric, as they are
	// upstream: the first that asks says which.
	f.prefix = fmt.Sprintf("%t%q%q", kind == rpc.KindTimer, name, sorted)
	return f
}

// with finds or makes the metric with these labels; nil when there is no room
// for it. It is called for every message where labels come from messages.
func (f *family) with(values []string) *entry {
	var space [256]byte
	id := append(space[:0], f.prefix...)
	for _, i := range f.order {
		if i < len(values) {
			id = binary.AppendUvarint(id, uint64(len(values[i]))+1)
			id = append(id, values[i]...)
		} else {
			id = append(id, 0)
		}
	}
	full := f.full.Load()
	f.mu.RLock()
	e := f.entries[string(id)]
	known := full && e == nil && (len(f.refused) == maxRefused || f.isRefused(id))
	f.mu.RUnlock()
	if e != nil || known {
		return e
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(string(id), values)
}

// add makes a metric if there is none and there is room.
func (f *family) add(id string, values []string) *entry {
	if e := f.entries[id]; e != nil {
		return e
	}
	labels := make(map[string]string, len(f.order))
	size := seriesBytes + len(f.name)
	at := len(f.prefix)
	for _, i := range f.order {
		if i >= len(values) {
			at++
			continue
		}
		// The value that came may be a part of a message, all of which it
		// would keep: it is taken from the identity, which is a copy.
		at += len(binary.AppendUvarint(nil, uint64(len(values[i]))+1))
		value := id[at : at+len(values[i])]
		at += len(value)
		labels[f.keys[i]] = value
		size += labelBytes + len(f.keys[i]) + len(value)
		if !utf8.ValidString(value) {
			size += 2 * len(value)
		}
	}
	full := len(f.entries) >= f.maxSeries
	if full || !f.hasRoom(size) {
		f.full.Store(full)
		f.refuse(id)
		return nil
	}
	e := &entry{name: f.name, labels: labels, kind: f.kind}
	if f.kind == rpc.KindTimer {
		reservoir := reservoirSize
		if f.timers++; f.timers > fullReservoirs {
			reservoir = smallReservoir
		}
		e.sample = gometrics.NewExpDecaySample(reservoir, reservoirAlpha)
	}
	f.bytes += size
	f.entries[id] = e
	return e
}

// hasRoom says whether the entries may take so many bytes more, and takes note
// of how many they may when not.
func (c *collector) hasRoom(size int) bool {
	if c.bytes+size <= fewSeriesBytes {
		return true
	}
	// A change of the stream's limits changes it.
	limit := []metrics.Sample{{Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(limit)
	most := max(int(min(limit[0].Value.Uint64()/seriesShare, maxSeriesBytes)), fewSeriesBytes)
	if c.bytes+size <= most {
		return true
	}
	c.outgrown = most
	return false
}

func (c *collector) isRefused(id []byte) bool {
	_, refused := c.refused[maphash.Bytes(c.seed, id)]
	return refused
}

// refuse takes note of a metric that there is no room for.
func (c *collector) refuse(id string) {
	if len(c.refused) < maxRefused {
		c.refused[maphash.String(c.seed, id)] = struct{}{}
	}
}

// warnings tells people what is missing among the metrics.
func (c *collector) warnings() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.refused) == 0 {
		return nil
	}
	refused := fmt.Sprint(len(c.refused))
	if len(c.refused) == maxRefused {
		refused = "at least " + refused
	}
	if c.outgrown > 0 {
		return []string{fmt.Sprintf("the labels of the stream's metric series take more than %s: %s are dropped",
			humanize.IBytes(uint64(c.outgrown)), refused)}
	}
	return []string{fmt.Sprintf("the stream has more than %d metric series: %s are dropped", c.maxSeries, refused)}
}

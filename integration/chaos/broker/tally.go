package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// maxListed bounds the lists of a report.
const maxListed = 10

// report is a line of standard output. The test has its own copy of the type.
type report struct {
	// URL is where the server listens.
	URL string
	// Published is how many messages the server has stored on in.*.
	Published int
	// Arrived is how many of the numbers have been seen on out.*, Duplicates
	// how many messages were seen there besides.
	Arrived, Duplicates int
	// Wrong lists messages that nobody published or that missed the mapping,
	// and Missing published ones that have not arrived: the first few each.
	Wrong, Missing []string
}

// tally counts what arrives.
type tally struct {
	mu sync.Mutex
	// seen is how often each message came, by stream and number.
	seen   [][]uint32
	counts report
	// last is the place in OUT of the last message counted.
	last uint64
}

func newTally(o options) *tally {
	t := &tally{seen: make([][]uint32, o.Streams)}
	for i := range t.seen {
		t.seen[i] = make([]uint32, (o.Messages-i+o.Streams-1)/o.Streams)
	}
	return t
}

// consume counts everything in OUT, from its beginning, until end is called.
func (t *tally) consume(ctx context.Context, js jetstream.JetStream) (end func(), err error) {
	consumer, err := js.OrderedConsumer(ctx, "OUT", jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, fmt.Errorf("creating the consumer of OUT: %w", err)
	}
	consuming, err := consumer.Consume(t.count)
	if err != nil {
		return nil, fmt.Errorf("consuming OUT: %w", err)
	}
	return consuming.Stop, nil
}

func (t *tally) count(m jetstream.Msg) {
	t.mu.Lock()
	defer t.mu.Unlock()
	meta, err := m.Metadata()
	if err != nil {
		t.wrong("%s without a place in the stream: %s", m.Subject(), err)
		return
	}
	if meta.Sequence.Stream <= t.last {
		return // the same message once more, not a second one
	}
	t.last = meta.Sequence.Stream
	var got message
	switch err := json.Unmarshal(m.Data(), &got); {
	case err != nil:
		t.wrong("%s: %s: %s", m.Subject(), m.Data(), err)
	case got.Stream < 1 || got.Stream > len(t.seen) || got.N < 0 || got.N >= len(t.seen[got.Stream-1]),
		got.Sum == nil || *got.Sum != got.Stream+got.N,
		m.Subject() != fmt.Sprintf("out.%d", got.Stream):
		t.wrong("%s: %s", m.Subject(), m.Data())
	default:
		times := &t.seen[got.Stream-1][got.N]
		*times++
		if *times == 1 {
			t.counts.Arrived++
		} else {
			t.counts.Duplicates++
		}
	}
}

func (t *tally) wrong(format string, args ...any) {
	if len(t.counts.Wrong) < maxListed {
		t.counts.Wrong = append(t.counts.Wrong, fmt.Sprintf(format, args...))
	}
}

// report tells what has been counted so far. Missing are the lowest numbers
// that have not come, whether or not they were published yet.
func (t *tally) report() report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.counts
	for i, numbers := range t.seen {
		for n, times := range numbers {
			if times > 0 {
				continue
			}
			r.Missing = append(r.Missing, fmt.Sprintf("%d/%d", i+1, n))
			if len(r.Missing) == maxListed {
				return r
			}
		}
	}
	return r
}

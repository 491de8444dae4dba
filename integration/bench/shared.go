package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// sharedOperation is a stream that does nothing but ask a shared resource, with so
// many messages under way at once.
const sharedOperation = `
input: {generate: {interval: "", mapping: 'root.k = random_int(max: 999)'}}
pipeline: {threads: %d, processors: [%s]}
output: {drop: {}}
`

// shared counts the operations of resources that all streams use, at Penstock and
// at the reference, where each is in the streams' own process.
func (b *bench) shared(ctx context.Context, rep *report) error {
	penstock, err := b.startPenstock(ctx, host{})
	if err != nil {
		return err
	}
	defer penstock.stop()
	reference, err := b.startStreamsMode(ctx)
	if err != nil {
		return err
	}
	defer reference.stop()
	for _, s := range []*server{penstock, reference} {
		for path, config := range map[string]string{
			"/resources/cache/bench":          "memory: {}",
			"/resources/rate_limit/benchmark": "local: {count: 1000000000, interval: 1s}",
		} {
			if _, err := s.call(ctx, http.MethodPost, path, config); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	out := section{
		Name: "shared", First: "Penstock", Second: "reference",
		Title: fmt.Sprintf("Shared resources: operations on one instance of all streams, %d rounds of %s", b.opts.Rounds, b.opts.EngineWindow),
		Notes: []string{"The reference's instance is in the process of all its streams; Penstock's is in another process than each of them."},
	}
	const set = "cache: {resource: bench, operator: set, key: '${! this.k }', value: x}"
	for _, m := range []struct {
		name, processor  string
		streams, threads int
	}{
		{"cache, operations/s of one stream, one at a time", set, 1, 1},
		{"cache, operations/s of one stream, 64 at a time", set, 1, 64},
		{fmt.Sprintf("cache, operations/s of %d streams, 8 at a time each", crew), set, crew, 8},
		{fmt.Sprintf("rate limit, operations/s of %d streams, 8 at a time each", crew), "rate_limit: {resource: benchmark}", crew, 8},
	} {
		var rates [2][]float64
		for range b.opts.Rounds {
			for i, s := range []*server{penstock, reference} {
				rate, err := s.operations(ctx, m.streams, fmt.Sprintf(sharedOperation, m.threads, "{"+m.processor+"}"), b.opts.EngineWindow)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				rates[i] = append(rates[i], rate)
			}
		}
		out.Rows = append(out.Rows, rounds(m.name, perSecond, rates[0], rates[1]))
	}
	rep.Sections = append(rep.Sections, out)
	return nil
}

// operations has new streams work for a while and returns how many messages they
// have got through in a second.
func (s *server) operations(ctx context.Context, streams int, config string, d time.Duration) (rate float64, err error) {
	ids := make([]string, streams)
	for i := range ids {
		ids[i] = fmt.Sprintf("shared%d", i)
		if _, err := s.call(ctx, http.MethodPost, "/streams/"+ids[i], config); err != nil {
			return 0, err
		}
		defer func() {
			_, gone := s.call(ctx, http.MethodDelete, "/streams/"+ids[i], "")
			err = errors.Join(err, gone)
		}()
	}
	for _, id := range ids {
		if _, err := s.awaitSent(ctx, id, 1000); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, settle); err != nil {
		return 0, err
	}
	sum := func() (all int64, at time.Time, err error) {
		for _, id := range ids {
			sent, err := s.sent(ctx, id)
			if err != nil {
				return 0, at, err
			}
			all += sent
		}
		return all, time.Now(), nil
	}
	before, begun, err := sum()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, err
	}
	after, ended, err := sum()
	return float64(after-before) / ended.Sub(begun).Seconds(), err
}

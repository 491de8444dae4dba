package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// crew is how many streams work at the same time, beside one alone.
const crew = 8

// engine counts the messages of streams that never wait, at Penstock and at two
// references in turn.
func (b *bench) engine(ctx context.Context, rep *report) error {
	targets, leave, err := b.startTargets(ctx)
	defer leave()
	if err != nil {
		return err
	}
	s := section{
		Name: "engine", First: "Penstock", Second: "reference",
		Title: fmt.Sprintf("Messages: generate → mapping → drop, counted where they end, %d rounds of %s", b.opts.Rounds, b.opts.EngineWindow),
	}
	for _, m := range []struct {
		name    string
		streams int
		goal    float64
	}{{"messages/s of one stream", 1, 0.98}, {fmt.Sprintf("messages/s of %d streams in total", crew), crew, 1.0}} {
		// The streams of each round are new, and warm up by themselves.
		windows, err := alternate(ctx, rep, targets, 0, b.opts.Rounds, func(t target) (window, error) {
			rate, err := t.flow(ctx, m.streams, b.opts.EngineWindow)
			return window{rate: rate}, err
		})
		if err != nil {
			return err
		}
		rate := func(w window) float64 { return w.rate }
		rates := rounds(m.name, perSecond, column(windows[0], rate), column(windows[1], rate))
		s.Rows = append(s.Rows, rates)
		rep.controlRounds(m.name, perSecond, column(windows[2], rate), column(windows[1], rate))
		rep.judgeRatio(7, rates, atLeast, m.goal)
	}
	rep.Sections = append(rep.Sections, s)
	return nil
}

// flow has new streams work for a while and returns their messages a second.
func (s *server) flow(ctx context.Context, streams int, d time.Duration) (rate float64, err error) {
	counted, err := newSink()
	if err != nil {
		return 0, err
	}
	defer counted.close()
	for i := range streams {
		path := fmt.Sprintf("/streams/flow%d", i)
		if _, err := s.call(ctx, http.MethodPost, path, counted.config()); err != nil {
			return 0, err
		}
		defer func() {
			_, gone := s.call(ctx, http.MethodDelete, path, "")
			err = errors.Join(err, gone)
		}()
	}
	if err := counted.awaitAll(ctx, streams, time.Time{}); err != nil {
		return 0, err
	}
	if err := pause(ctx, settle); err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := pause(ctx, d); err != nil {
		return 0, err
	}
	// A machine with other work may have left one without.
	if err := counted.awaitAll(ctx, streams, begun); err != nil {
		return 0, err
	}
	rates, err := counted.rates(begun)
	for _, r := range rates {
		rate += r
	}
	return rate, err
}

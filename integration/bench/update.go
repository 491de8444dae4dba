package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// updateRate is how many calls are due in a second while a stream is changed.
	updateRate = 500
	// updatePause is the time from one change to the next.
	updatePause = 500 * time.Millisecond
)

// updated is what came of the calls of a stream that was changed meanwhile.
type updated struct {
	answered, failed, changes int
	// slowest is in ms.
	slowest float64
	failure error
}

// update changes a stream while it is called, at Penstock and at the reference
// in turn, and counts the calls that fail.
func (b *bench) update(ctx context.Context, rep *report) error {
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

	var all [2]updated
	for round := range b.opts.UpdateRounds {
		for i, s := range []*server{penstock, reference} {
			// Each round has a stream of its own: what became of the last one is
			// not counted again.
			u, err := s.change(ctx, fmt.Sprintf("changed%d", round), b.opts.UpdateWindow)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			all[i].add(u)
		}
	}
	ours, theirs := all[0], all[1]
	rep.Answered += int64(ours.answered + theirs.answered)
	failed := row{Measure: "failed requests", Unit: requests, First: float64(ours.failed), Second: new(float64(theirs.failed))}
	s := section{
		Name: "update", First: "Penstock", Second: "reference",
		Title: fmt.Sprintf("Changes under load: %d calls a second, a PUT each %s, %d rounds of %s", updateRate, updatePause, b.opts.UpdateRounds, b.opts.UpdateWindow),
		Rows: []row{
			{Measure: "requests", Unit: requests, First: float64(ours.answered + ours.failed), Second: new(float64(theirs.answered + theirs.failed))},
			failed,
			{Measure: "changes", Unit: changes, First: float64(ours.changes), Second: new(float64(theirs.changes))},
			ratio("slowest call", milliseconds, ours.slowest, theirs.slowest),
		},
	}
	for i, name := range []string{"Penstock", "the reference"} {
		if all[i].failure != nil {
			s.Notes = append(s.Notes, fmt.Sprintf("The first failure of %s: %v", name, all[i].failure))
		}
	}
	rep.Sections = append(rep.Sections, s)
	failed.Measure = fmt.Sprintf("failed requests of %d a second under PUTs", updateRate)
	rep.judge(6, failed, 0)
	return nil
}

func (u *updated) add(more updated) {
	u.answered += more.answered
	u.failed += more.failed
	u.changes += more.changes
	u.slowest = max(u.slowest, more.slowest)
	if u.failure == nil {
		u.failure = more.failure
	}
}

// change creates a stream, changes it again and again while it is called, and
// deletes it.
func (s *server) change(ctx context.Context, id string, d time.Duration) (u updated, err error) {
	if _, err := s.call(ctx, http.MethodPost, "/streams/"+id, streamConfig); err != nil {
		return u, err
	}
	path := "/" + id + "/post"
	if err := s.awaitAnswer(ctx, path, answer); err != nil {
		return u, err
	}
	var h heard
	group, working := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		h, err = s.hear(working, regular{path: path, rate: updateRate, right: []string{answer, changedAnswer}, tolerant: true}, d)
		return err
	})
	group.Go(func() error {
		end := time.Now().Add(d)
		for next := time.Now().Add(updatePause); next.Before(end); next = next.Add(updatePause) {
			if err := pause(working, time.Until(next)); err != nil {
				return err
			}
			config := []string{changedConfig, streamConfig}[u.changes%2]
			if _, err := s.call(working, http.MethodPut, "/streams/"+id, config); err != nil {
				return err
			}
			u.changes++
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return u, err
	}
	u.answered, u.failed, u.failure = len(h.took), h.failed, h.failure
	if u.answered > 0 {
		u.slowest = percentile(h.took, 1)
	}
	_, err = s.call(ctx, http.MethodDelete, "/streams/"+id, "")
	return u, err
}

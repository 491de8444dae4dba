package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"time"
)

// sleepers is how many streams are let fall asleep, so that another one is
// asleep already while the last one goes to sleep again.
const sleepers = 10

// wake measures the first byte of a stream whose runner was ended for want of
// calls.
func (b *bench) wake(ctx context.Context, rep *report) error {
	const measure = "wake from zero → first byte, p50"
	s, err := b.startPenstock(ctx, host{})
	if err != nil {
		return err
	}
	defer s.stop()
	for i := range sleepers {
		if _, err := s.call(ctx, http.MethodPost, "/streams/"+sleeperID(i), streamConfig+"runtime: {idle_timeout: 1s}\n"); err != nil {
			if refused := refusal(err, "runtime.idle_timeout"); refused != "" {
				rep.notMeasured(2, measure, refused)
				return nil
			}
			return err
		}
	}
	var took []float64
	for i := range warmUps + b.opts.Wakes {
		id := sleeperID(i % sleepers)
		if err := s.awaitIdle(ctx, id); err != nil {
			return err
		}
		if err := pause(ctx, pace); err != nil {
			return err
		}
		d, err := s.firstByte(ctx, "/"+id+"/post")
		if err != nil {
			return err
		}
		if i >= warmUps {
			took = append(took, d.Seconds()*1e3)
		}
	}
	var rows []row
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		rows = append(rows, row{Measure: "first byte, " + p.name, Unit: milliseconds, First: percentile(took, p.at)})
	}
	rep.Sections = append(rep.Sections, section{
		Name: "wake", First: "Penstock", Rows: rows,
		Title: fmt.Sprintf("Wake from zero: %d calls of streams that were idle, one each %s", b.opts.Wakes, pace),
	})
	rep.judge(2, row{Measure: measure, Unit: milliseconds, First: rows[0].First}, 10)
	return nil
}

func sleeperID(n int) string { return fmt.Sprintf("sleeper%d", n) }

// awaitIdle waits until a stream has no runner any more.
func (s *server) awaitIdle(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		status, err := s.status(ctx, id)
		if err != nil || status.State == "idle" {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("stream %s is %s and not idle: %w", id, status.State, err)
		}
	}
}

// firstByte calls a stream and tells when the answer began.
func (s *server) firstByte(ctx context.Context, path string) (time.Duration, error) {
	var first time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	begun := time.Now()
	err := s.answers(ctx, path, answer)
	return first.Sub(begun), err
}

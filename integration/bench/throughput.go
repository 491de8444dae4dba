package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// streamID is the stream that takes the load.
const streamID = "load"

// target is a server with the processes that answer for its stream.
type target struct {
	*server
	runners []int
}

// window is what one server did in one round.
type window struct {
	answered int64
	// rate is in requests a second.
	rate float64
	// server, runners and generator are CPU seconds a request.
	server, runners, generator float64
}

func (w window) cpu() float64 { return w.server + w.runners }

// throughput loads Penstock and two references in turn. The references'
// difference is the noise of the measurement.
func (b *bench) throughput(ctx context.Context, rep *report) error {
	penstock, err := b.startPenstock(ctx, host{})
	if err != nil {
		return err
	}
	defer penstock.stop()
	targets := []target{{server: penstock}}
	for range 2 {
		reference, err := b.startStreamsMode(ctx)
		if err != nil {
			return err
		}
		defer reference.stop()
		targets = append(targets, target{server: reference})
	}
	for _, t := range targets {
		if _, err := t.call(ctx, http.MethodPost, "/streams/"+streamID, streamConfig); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if err := t.awaitAnswer(ctx, streamID, answer); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if targets[0].runners, err = penstock.runners(1); err != nil {
		return err
	}

	windows := make([][]window, len(targets))
	for round := range 1 + b.opts.Rounds {
		for i := range targets {
			// Another one begins each round, so that none has the best place.
			at := (round + i) % len(targets)
			w, err := targets[at].measure(ctx, b.opts.Window)
			if err != nil {
				return fmt.Errorf("%s: %w", targets[at].name, err)
			}
			rep.Answered += w.answered
			if round > 0 { // the first one warms up
				windows[at] = append(windows[at], w)
			}
		}
	}

	ours, theirs, again := windows[0], windows[1], windows[2]
	rate := func(w window) float64 { return w.rate }
	cpu := func(w window) float64 { return w.cpu() * 1e6 }
	rep.compareRounds(fmt.Sprintf("requests/s, %d connections", connections), perSecond, column(ours, rate), column(theirs, rate))
	rep.compareRounds("CPU per request", microseconds, column(ours, cpu), column(theirs, cpu))
	rep.alone("of it the supervisor", microseconds, median(column(ours, func(w window) float64 { return w.server * 1e6 })))
	rep.alone("of it the runner", microseconds, median(column(ours, func(w window) float64 { return w.runners * 1e6 })))
	generator := func(w window) float64 { return w.generator * 1e6 }
	rep.compareRounds("CPU per request of the load generator", microseconds, column(ours, generator), column(theirs, generator))
	rep.controlRounds("requests/s", perSecond, column(again, rate), column(theirs, rate))
	rep.controlRounds("CPU per request", microseconds, column(again, cpu), column(theirs, cpu))
	return nil
}

// column lists one figure of all rounds.
func column(windows []window, of func(window) float64) []float64 {
	out := make([]float64, len(windows))
	for i, w := range windows {
		out[i] = of(w)
	}
	return out
}

// measure loads the target for a while. Every request must be answered right.
func (t target) measure(ctx context.Context, d time.Duration) (window, error) {
	l, err := dialLoad(ctx, t.server, "/"+streamID+"/post")
	if err != nil {
		return window{}, err
	}
	defer l.close()
	before, err := t.usage()
	if err != nil {
		return window{}, err
	}
	begun := time.Now()
	answered, err := l.run(ctx, d)
	elapsed := time.Since(begun)
	if err != nil {
		return window{}, err
	}
	after, err := t.usage()
	if err != nil {
		return window{}, err
	}
	each := func(after, before time.Duration) float64 { return (after - before).Seconds() / float64(answered) }
	return window{
		answered:  answered,
		rate:      float64(answered) / elapsed.Seconds(),
		server:    each(after.server, before.server),
		runners:   each(after.runners, before.runners),
		generator: each(after.generator, before.generator),
	}, nil
}

// usage is CPU time since the start of the processes.
type usage struct {
	server, runners, generator time.Duration
}

func (t target) usage() (usage, error) {
	var u usage
	var err error
	if u.server, err = cpuOf([]int{t.cmd.Process.Pid}); err != nil {
		return u, err
	}
	if u.runners, err = cpuOf(t.runners); err != nil {
		return u, err
	}
	u.generator, err = ownCPU()
	return u, err
}

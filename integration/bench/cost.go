package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// profiles are how streams are kept, from nothing to all. The last one needs
// root and a network of its own, where its egress rules are nobody else's.
var profiles = []string{"none", "standard", strictProfile}

const strictProfile = "strict"

// What the sandbox may cost.
const (
	// goalStart is in milliseconds, more than without.
	goalStart = 5
	// goalLoss is the share of throughput, in percent.
	goalLoss = 3
)

// busyConfig is a stream that is never short of messages.
const busyConfig = `input:
  generate:
    interval: ""
    mapping: root = "hello there"
pipeline:
  processors:
    - mapping: root = range(0, 20).map_each(n -> content().uppercase() + n.string()).join(" ").hash("sha256").encode("hex")
output:
  drop: {}
`

const busyID = "busy"

// cost compares the profiles.
func (b *bench) cost(ctx context.Context, rep *report) error {
	rep.Cost = &costReport{}
	var targets []target
	for _, profile := range profiles {
		s, leave, err := b.startConfined(ctx, profile)
		if err != nil && profile == strictProfile {
			rep.Cost.LeftOut = "strict is left out, since it cannot be had here: " + strings.Join(strings.Fields(err.Error()), " ")
			break
		}
		if err != nil {
			return err
		}
		defer leave()
		targets = append(targets, target{server: s})
	}
	for _, measure := range []func(context.Context, *report, []target) error{b.costOfStart, b.costOfMessages, b.costOfRequests} {
		if err := measure(ctx, rep, targets); err != nil {
			return err
		}
	}
	return nil
}

// startConfined starts a supervisor with a profile, in a network of its own if
// there can be one: the way to each of them is the same then.
func (b *bench) startConfined(ctx context.Context, profile string, args ...string) (*server, func(), error) {
	var where place = host{}
	leave := func() {}
	n, err := newNetns()
	switch {
	case err == nil:
		where, leave = n, n.close
	case profile == strictProfile:
		return nil, nil, fmt.Errorf("%w: run it as root", err)
	}
	s, err := b.startPenstock(ctx, where, append([]string{"--isolation", profile}, args...)...)
	if err != nil {
		leave()
		return nil, nil, err
	}
	return s, func() { s.stop(); leave() }, nil
}

// costOfStart creates and deletes streams, in each profile in turn.
func (b *bench) costOfStart(ctx context.Context, rep *report, targets []target) error {
	creates, calls := make([][]float64, len(targets)), make([][]float64, len(targets))
	for n := range warmUps + b.opts.Cycles {
		for i := range targets {
			at := (n + i) % len(targets)
			create, call, err := targets[at].begin(ctx, fmt.Sprintf("start%d", n))
			if err != nil {
				return fmt.Errorf("%s: %w", targets[at].name, err)
			}
			if n >= warmUps {
				creates[at] = append(creates[at], create.Seconds()*1e3)
				calls[at] = append(calls[at], call.Seconds()*1e3)
			}
		}
	}
	rep.Cost.add("create → 200", milliseconds, creates, new(float64(goalStart)))
	rep.Cost.add("create → first call answered", milliseconds, calls, nil)
	return nil
}

// begin creates a stream and deletes it again. It tells the time until its
// creation was answered, and until it answered a call.
func (s *server) begin(ctx context.Context, id string) (create, call time.Duration, err error) {
	begun := time.Now()
	if _, err := s.call(ctx, http.MethodPost, "/streams/"+id, streamConfig); err != nil {
		return 0, 0, err
	}
	create = time.Since(begun)
	if err := s.awaitAnswer(ctx, "/"+id+"/post", answer); err != nil {
		return 0, 0, err
	}
	call = time.Since(begun)
	_, err = s.call(ctx, http.MethodDelete, "/streams/"+id, "")
	return create, call, err
}

// costOfMessages lets a stream work that never waits, in each profile in turn.
func (b *bench) costOfMessages(ctx context.Context, rep *report, targets []target) error {
	rates, cpus := make([][]float64, len(targets)), make([][]float64, len(targets))
	for round := range b.opts.Rounds {
		for i := range targets {
			at := (round + i) % len(targets)
			rate, cpu, err := targets[at].work(ctx, b.opts.CostWindow)
			if err != nil {
				return fmt.Errorf("%s: %w", targets[at].name, err)
			}
			rates[at] = append(rates[at], rate)
			cpus[at] = append(cpus[at], cpu*1e6)
		}
	}
	rep.Cost.add("messages/s of a stream that never waits", perSecond, rates, new(float64(-goalLoss)))
	rep.Cost.add("CPU per message", microseconds, cpus, nil)
	return nil
}

// work has a new stream work for a while. It tells the messages a second and
// the CPU seconds a message.
func (t target) work(ctx context.Context, d time.Duration) (rate, cpu float64, err error) {
	if _, err := t.call(ctx, http.MethodPost, "/streams/"+busyID, busyConfig); err != nil {
		return 0, 0, err
	}
	defer func() {
		_, gone := t.call(ctx, http.MethodDelete, "/streams/"+busyID, "")
		err = errors.Join(err, gone)
	}()
	status, err := t.status(ctx, busyID)
	if err != nil {
		return 0, 0, err
	}
	type reading struct {
		at   time.Time
		sent int64
		cpu  time.Duration
	}
	read := func() (r reading, err error) {
		if r.sent, err = t.sent(ctx, busyID); err != nil {
			return r, err
		}
		r.at = time.Now()
		r.cpu, err = cpuOf([]int{status.PID})
		return r, err
	}
	if err := pause(ctx, settle); err != nil {
		return 0, 0, err
	}
	before, err := read()
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, 0, err
	}
	after, err := read()
	if err != nil {
		return 0, 0, err
	}
	done := float64(after.sent - before.sent)
	if done < 1 {
		return 0, 0, errors.New("the stream did nothing")
	}
	return done / after.at.Sub(before.at).Seconds(), (after.cpu - before.cpu).Seconds() / done, nil
}

// costOfRequests loads a stream through the server, in each profile in turn.
func (b *bench) costOfRequests(ctx context.Context, rep *report, targets []target) error {
	for i := range targets {
		if err := targets[i].prepare(ctx); err != nil {
			return err
		}
	}
	windows, err := alternate(ctx, rep, targets, warmRounds, b.opts.Rounds, func(t target) (window, error) {
		return t.measure(ctx, small(t.path), b.opts.CostWindow)
	})
	if err != nil {
		return err
	}
	rates, cpus := make([][]float64, len(targets)), make([][]float64, len(targets))
	for i := range targets {
		rates[i] = column(windows[i], func(w window) float64 { return w.rate })
		cpus[i] = column(windows[i], func(w window) float64 { return w.cpu() * 1e6 })
	}
	rep.Cost.add(fmt.Sprintf("requests/s, %d connections", connections), perSecond, rates, new(float64(-goalLoss)))
	rep.Cost.add("CPU per request", microseconds, cpus, nil)
	return nil
}

// pause waits for a while.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

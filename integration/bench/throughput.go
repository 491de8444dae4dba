package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"time"
)

// streamID is the stream that takes the load.
const streamID = "load"

// target is a server with the processes that answer for its stream.
type target struct {
	*server
	runners []int
	// path is where the stream is called.
	path string
}

// window is what one server did in one round.
type window struct {
	answered int64
	// rate is in requests a second.
	rate float64
	// server, runners and generator are CPU seconds a request.
	server, runners, generator float64
	// share is the generator's of the time of all cores.
	share float64
}

func (w window) cpu() float64 { return w.server + w.runners }

// throughput loads Penstock, through its gateway and on the stream's own
// listener, and two references in turn. The references' difference is the noise
// of the measurement.
func (b *bench) throughput(ctx context.Context, rep *report) error {
	targets, leave, err := b.startTargets(ctx)
	defer leave()
	if err != nil {
		return err
	}
	for i := range targets {
		if err := targets[i].prepare(ctx); err != nil {
			return err
		}
	}
	own, refused, err := targets[0].listen(ctx)
	if err != nil {
		return err
	}
	if refused == "" {
		targets = append(targets, own)
	}
	windows, err := alternate(ctx, rep, targets, warmRounds, b.opts.Rounds, func(t target) (window, error) {
		return t.measure(ctx, small(t.path), b.opts.Window)
	})
	if err != nil {
		return err
	}

	ours, theirs, again := windows[0], windows[1], windows[2]
	rate := func(w window) float64 { return w.rate }
	cpu := func(w window) float64 { return w.cpu() * 1e6 }
	rates := rep.compareRounds(fmt.Sprintf("requests/s, %d connections", connections), perSecond, column(ours, rate), column(theirs, rate))
	cpus := rep.compareRounds("CPU per request", microseconds, column(ours, cpu), column(theirs, cpu))
	rep.alone("of it the supervisor", microseconds, median(column(ours, func(w window) float64 { return w.server * 1e6 })))
	rep.alone("of it the runner", microseconds, median(column(ours, func(w window) float64 { return w.runners * 1e6 })))
	generator := func(w window) float64 { return w.generator * 1e6 }
	rep.compareRounds("CPU per request of the load generator", microseconds, column(ours, generator), column(theirs, generator))
	share := func(w window) float64 { return w.share * 100 }
	rep.compareRounds("of all cores the load generator", percent, column(ours, share), column(theirs, share))
	rep.controlRounds("requests/s", perSecond, column(again, rate), column(theirs, rate))
	rep.controlRounds("CPU per request", microseconds, column(again, cpu), column(theirs, cpu))

	rates.Measure, cpus.Measure = "through the gateway, "+rates.Measure, "through the gateway, "+cpus.Measure
	rep.judgeRatio(3, rates, atLeast, 0.80)
	rep.judgeRatio(3, cpus, atMost, 1.5)
	rep.Samples.Requests = []series{
		{"Penstock, gateway", column(ours, rate)}, {"reference", column(theirs, rate)}, {"another reference", column(again, rate)},
	}
	name := fmt.Sprintf("on the stream's own listener, requests/s, %d connections", connections)
	if refused != "" {
		rep.notMeasured(4, name, refused)
		return nil
	}
	direct := windows[3]
	rates = rep.compareRounds(name, perSecond, column(direct, rate), column(theirs, rate))
	rep.compareRounds("on the stream's own listener, CPU per request", microseconds, column(direct, cpu), column(theirs, cpu))
	rep.judgeRatio(4, rates, atLeast, 0.97)
	rep.Samples.Requests = append(rep.Samples.Requests, series{"Penstock, own listener", column(direct, rate)})
	return nil
}

// startTargets starts a supervisor and two references. What was started is
// ended by leave, also after an error.
func (b *bench) startTargets(ctx context.Context) (targets []target, leave func(), err error) {
	leave = func() {
		for _, t := range targets {
			t.stop()
		}
	}
	penstock, err := b.startPenstock(ctx, host{})
	if err != nil {
		return nil, leave, err
	}
	targets = append(targets, target{server: penstock})
	for range 2 {
		reference, err := b.startStreamsMode(ctx)
		if err != nil {
			return targets, leave, err
		}
		targets = append(targets, target{server: reference})
	}
	return targets, leave, nil
}

// prepare creates the stream that takes the load.
func (t *target) prepare(ctx context.Context) error {
	if _, err := t.call(ctx, http.MethodPost, "/streams/"+streamID, streamConfig); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	t.path = "/" + streamID + "/post"
	if err := t.awaitAnswer(ctx, t.path, answer); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	if !t.supervisor {
		return nil
	}
	status, err := t.status(ctx, streamID)
	t.runners = []int{status.PID}
	return err
}

// listen creates a stream with a listener of its own. It tells why there is
// none when the server knows no such thing.
func (t target) listen(ctx context.Context) (own target, refused string, err error) {
	const id = "listened"
	addr, err := freeAddress()
	if err != nil {
		return target{}, "", err
	}
	config := fmt.Sprintf("%sruntime: {http: {listen: %q}}\n", streamConfig, addr)
	if _, err := t.call(ctx, http.MethodPost, "/streams/"+id, config); err != nil {
		if refused := refusal(err, "runtime.http"); refused != "" {
			return target{}, refused, nil
		}
		return target{}, "", err
	}
	status, err := t.status(ctx, id)
	if err != nil {
		return target{}, "", err
	}
	direct := *t.server
	direct.addr = addr
	own = target{server: &direct, runners: []int{status.PID}}
	own.path, err = direct.findPath(ctx, "/post", "/"+id+"/post")
	return own, "", err
}

// warmRounds are unmeasured rounds before the measured ones.
const warmRounds = 1

// alternate measures each target in each round, another one first each time, so
// that none has the best place. The first rounds may only warm up: these are not
// returned.
func alternate(ctx context.Context, rep *report, targets []target, warm, rounds int, measure func(target) (window, error)) ([][]window, error) {
	windows := make([][]window, len(targets))
	for round := range warm + rounds {
		for i := range targets {
			at := (round + i) % len(targets)
			w, err := measure(targets[at])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", targets[at].name, cmp.Or(context.Cause(ctx), err))
			}
			rep.Answered += w.answered
			if round >= warm {
				windows[at] = append(windows[at], w)
			}
		}
	}
	return windows, nil
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
func (t target) measure(ctx context.Context, e exchange, d time.Duration) (window, error) {
	l, err := dialLoad(ctx, t.server, e)
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
		share:     (after.generator - before.generator).Seconds() / elapsed.Seconds() / float64(runtime.NumCPU()),
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

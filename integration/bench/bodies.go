package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

const (
	// largeBody is how much each request sends, and its answer sends back.
	largeBody = 1 << 20
	// largeConnections is how many of them are under way at any time.
	largeConnections = 4
)

// bodies loads Penstock and two references with large bodies, and watches the
// memory of the supervisor through which they pass.
func (b *bench) bodies(ctx context.Context, rep *report) error {
	targets, leave, err := b.startTargets(ctx)
	defer leave()
	if err != nil {
		return err
	}
	for i := range targets {
		if err := targets[i].prepare(ctx); err != nil {
			return err
		}
		// What small requests take has been taken before.
		if _, err := targets[i].measure(ctx, small(targets[i].path), settle); err != nil {
			return fmt.Errorf("%s: %w", targets[i].name, err)
		}
	}
	supervisor := targets[0].cmd.Process.Pid
	before, err := residentOf(supervisor)
	if err != nil {
		return err
	}
	if err := forgetPeak(supervisor); err != nil {
		return err
	}
	large := exchange{
		body: strings.Repeat("a", largeBody), answer: strings.Repeat("A", largeBody), connections: largeConnections,
	}
	windows, err := alternate(ctx, rep, targets, warmRounds, b.opts.BodyRounds, func(t target) (window, error) {
		large.path = t.path
		return t.measure(ctx, large, b.opts.BodyWindow)
	})
	if err != nil {
		return err
	}
	after, err := residentOf(supervisor)
	if err != nil {
		return err
	}

	rate := func(w window) float64 { return w.rate }
	rates := rounds("requests/s of 1 MiB", perSecond, column(windows[0], rate), column(windows[1], rate))
	share := func(w window) float64 { return w.share * 100 }
	grown := float64(after.peak-before.now) / (1 << 20)
	rep.Sections = append(rep.Sections, section{
		Name: "bodies", First: "Penstock", Second: "reference",
		Title: fmt.Sprintf("Large bodies: 1 MiB there and back, %d connections, %d rounds of %s", largeConnections, b.opts.BodyRounds, b.opts.BodyWindow),
		Rows: []row{
			rates,
			rounds("of all cores the load generator", percent, column(windows[0], share), column(windows[1], share)),
			{Measure: "memory (RSS) of the supervisor before", Unit: mebibytes, First: float64(before.now) / (1 << 20)},
			{Measure: "its peak meanwhile", Unit: mebibytes, First: float64(after.peak) / (1 << 20)},
		},
	})
	rep.controlRounds("1 MiB requests/s", perSecond, column(windows[2], rate), column(windows[1], rate))
	rates.Measure = "through the gateway, " + rates.Measure
	rep.judgeRatio(5, rates, atLeast, 0.85)
	rep.judge(5, row{Measure: "what the supervisor's memory grows by meanwhile", Unit: mebibytes, First: grown}, 16)
	return nil
}

// forgetPeak has the kernel measure a process's peak from now on.
func forgetPeak(pid int) error {
	if err := os.WriteFile(procFile(pid, "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("resetting the peak of process %d: %w", pid, err)
	}
	return nil
}

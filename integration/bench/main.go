// Command bench measures Penstock against the public engine's own streams
// mode, both as shipped binaries on this machine in the same minutes: how long
// a stream takes to create, change and delete, what an idle stream costs in
// memory, and what a request through the server costs. Then, of Penstock alone:
// how soon a stream is back whose process was killed, and what it takes to
// adopt and to scrape many. Then what limits are good for, and what the sandbox
// costs. It prints Markdown tables with the ratios. What is measured and how is
// in docs/benchmarks.md.
//
//	go run ./integration/bench            # some minutes
//	go run ./integration/bench -short     # seconds: does it still run?
//
// It needs Linux's /proc. It exits 1 when something could not be measured, and
// never because a figure is large.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// limit bounds a whole run, the builds on empty caches included.
const limit = 30 * time.Minute

func main() {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	release()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// phase is a part of the benchmark that can be run alone.
type phase struct {
	// name is that of the flag, and what is for people.
	name, what string
	measure    func(*bench, context.Context, *report) error
}

var phases = []phase{
	{"life", "create, change, delete", (*bench).latency},
	{"recovery", "recovery", (*bench).recovery},
	{"memory", "memory of idle streams", (*bench).memory},
	{"requests", "requests through the server", (*bench).throughput},
	{"fleet", "many streams", (*bench).fleet},
	{"noise", "noisy neighbours", (*bench).noise},
	{"cost", "cost of the sandbox", (*bench).cost},
}

// phaseNames lists them.
func phaseNames() []string {
	names := make([]string, len(phases))
	for i, p := range phases {
		names[i] = p.name
	}
	return names
}

// run measures everything and writes the report. It leaves no process and no
// file behind but the report's own.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return fmt.Errorf("making the benchmark's folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{opts: opts, dir: dir, progress: stderr}
	rep := newReport(opts)
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, p := range phases {
		if len(opts.Only) > 0 && !slices.Contains(opts.Only, p.name) {
			continue
		}
		b.say("%s", p.what)
		if err := p.measure(b, ctx, rep); err != nil {
			return fmt.Errorf("%s: %w", p.what, err)
		}
	}
	rep.Machine.LoadAfter = loadAverage()
	if err := rep.write(stdout); err != nil {
		return err
	}
	if opts.JSON == "" {
		return nil
	}
	return rep.writeJSON(filepath.Clean(opts.JSON))
}

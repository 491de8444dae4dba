// Command bench measures Penstock against the public engine's own streams
// mode, both as shipped binaries on this machine in the same minutes, and holds
// the figures against the project's goals: how long a stream takes to create,
// change, delete and wake up, what it costs in memory while it is idle, what a
// request and a message cost, what becomes of requests while a stream is
// changed; what it takes to have many streams, and to lose a runner or the
// supervisor; what limits are good for, and what the sandbox costs. A second
// reference tells which differences mean nothing. It prints Markdown tables.
// What is measured and how is in docs/benchmarks.md.
//
//	go run ./integration/bench                        # some minutes
//	go run ./integration/bench -short                 # does it still run?
//	go run ./integration/bench -only '^requests$'     # one section
//	go run ./integration/bench -report docs/benchmarks.md
//
// It needs Linux's /proc. It exits 1 when something could not be measured or was
// answered wrongly, and never because a figure is large.
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

// phases are in the order in which they are measured.
func phases() []phase {
	return []phase{
		{"create", "create → first call", (*bench).create},
		{"life", "create, change, delete", (*bench).latency},
		{"wake", "wake from zero", (*bench).wake},
		{"recovery", "recovery", (*bench).recovery},
		{"requests", "requests through the server", (*bench).throughput},
		{"bodies", "large bodies", (*bench).bodies},
		{"update", "changes under load", (*bench).update},
		{"engine", "messages of streams", (*bench).engine},
		{"shared", "shared resources", (*bench).shared},
		{"memory", "memory of idle streams", (*bench).memory},
		{"runners", "runners of the catalogue", (*bench).runners},
		{"fleet", "many streams", (*bench).fleet},
		{"noise", "noisy neighbours", (*bench).noise},
		{"cost", "cost of the sandbox", (*bench).cost},
		// Last, since the machine is long in getting over it.
		{"thousand", "a thousand streams", (*bench).thousand},
	}
}

// phaseNames lists them.
func phaseNames() []string {
	var names []string
	for _, p := range phases() {
		names = append(names, p.name)
	}
	return names
}

// run gets a report, by measuring or from a file, and writes it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	var rep *report
	if opts.From != "" {
		rep, err = readReport(opts.From)
	} else {
		rep, err = measure(ctx, opts, stderr)
	}
	if err != nil {
		return err
	}
	if err := rep.write(stdout); err != nil {
		return err
	}
	// First, so that the figures are not lost with the document.
	if opts.JSON != "" {
		if err := rep.writeJSON(filepath.Clean(opts.JSON)); err != nil {
			return err
		}
	}
	if opts.Document == "" {
		return nil
	}
	return rep.publish(filepath.Clean(opts.Document))
}

// measure measures what is chosen. It leaves no process and no file behind.
func measure(ctx context.Context, opts options, progress io.Writer) (rep *report, err error) {
	chosen, err := opts.chosen()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return nil, fmt.Errorf("making the benchmark's folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{opts: opts, dir: dir, progress: progress}
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	// After the builds, whose load is not what is measured.
	rep = newReport(opts)
	for _, p := range chosen {
		b.say("%s", p.what)
		if err := p.measure(b, ctx, rep); err != nil {
			return nil, fmt.Errorf("%s: %w", p.what, err)
		}
	}
	rep.Machine.LoadAfter = loadAverage()
	return rep, nil
}

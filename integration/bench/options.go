package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// options say how much is measured.
type options struct {
	// Cycles is how many streams are created and deleted one after another.
	Cycles int `json:"cycles"`
	// Streams is how many idle streams share the memory that is measured.
	Streams int `json:"streams"`
	// Idle is how long they are left alone before.
	Idle time.Duration `json:"idle_ns"`
	// Rounds is how often each server's throughput is measured, for Window.
	Rounds int           `json:"rounds"`
	Window time.Duration `json:"window_ns"`
	// JSON is the file that gets the report's figures, if any.
	JSON string `json:"-"`
}

var (
	full  = options{Cycles: 60, Streams: 20, Idle: 5 * time.Second, Rounds: 7, Window: 3 * time.Second}
	short = options{Cycles: 5, Streams: 3, Idle: time.Second, Rounds: 2, Window: 500 * time.Millisecond}
)

// parseOptions reads the flags. A flag that is given overrides -short.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	opts := full
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("short", false, "measure for a few seconds only: shows that it runs, the figures mean little")
	flags.IntVar(&opts.Cycles, "cycles", full.Cycles, "streams created, changed and deleted one after another")
	flags.IntVar(&opts.Streams, "streams", full.Streams, "idle streams whose memory is measured")
	flags.IntVar(&opts.Rounds, "rounds", full.Rounds, "alternated rounds of throughput")
	flags.StringVar(&opts.JSON, "json", "", "also write the figures to this `file`")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		opts = opts.shortened(given)
	}
	if opts.Cycles < 1 || opts.Streams < 1 || opts.Rounds < 1 {
		return options{}, errors.New("-cycles, -streams and -rounds must be at least 1")
	}
	return opts, nil
}

// shortened takes the short figures, but for those that were given.
func (o options) shortened(given map[string]bool) options {
	out := short
	out.JSON = o.JSON
	if given["cycles"] {
		out.Cycles = o.Cycles
	}
	if given["streams"] {
		out.Streams = o.Streams
	}
	if given["rounds"] {
		out.Rounds = o.Rounds
	}
	return out
}

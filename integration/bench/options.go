package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
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
	// Kills is how many runners are killed, one after another.
	Kills int `json:"kills"`
	// Adopted is how many streams are adopted at once, and Scraped of how many
	// the metrics are read; at least as many.
	Adopted int `json:"adopted"`
	Scraped int `json:"scraped"`
	// NoiseRounds is how often a stream is called beside each sort of
	// neighbours, for NoiseWindow.
	NoiseRounds int           `json:"noise_rounds"`
	NoiseWindow time.Duration `json:"noise_window_ns"`
	// CostWindow is how long the throughput in each profile is measured, in
	// each of the Rounds.
	CostWindow time.Duration `json:"cost_window_ns"`
	// Only lists what is measured; empty is everything.
	Only []string `json:"only,omitempty"`
	// JSON is the file that gets the report's figures, if any.
	JSON string `json:"-"`
}

var (
	full = options{
		Cycles: 60, Streams: 20, Idle: 5 * time.Second, Rounds: 7, Window: 3 * time.Second,
		Kills: 60, Adopted: 200, Scraped: 500,
		NoiseRounds: 3, NoiseWindow: 2 * time.Second, CostWindow: time.Second,
	}
	short = options{
		Cycles: 5, Streams: 3, Idle: time.Second, Rounds: 2, Window: 500 * time.Millisecond,
		Kills: 3, Adopted: 4, Scraped: 8,
		NoiseRounds: 1, NoiseWindow: 300 * time.Millisecond, CostWindow: 300 * time.Millisecond,
	}
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
	flags.IntVar(&opts.Kills, "kills", full.Kills, "runners killed one after another")
	flags.IntVar(&opts.Adopted, "adopted", full.Adopted, "streams adopted at once")
	flags.IntVar(&opts.Scraped, "scraped", full.Scraped, "streams whose metrics are read at once, at least as many as are adopted")
	flags.IntVar(&opts.NoiseRounds, "noise", full.NoiseRounds, "rounds of calls beside noisy neighbours")
	only := flags.String("only", "", "measure these only, a comma between them: "+strings.Join(phaseNames(), ", "))
	flags.StringVar(&opts.JSON, "json", "", "also write the figures to this `file`")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	for name := range strings.SplitSeq(*only, ",") {
		if *only != "" && !slices.Contains(phaseNames(), name) {
			return options{}, fmt.Errorf("-only: there is no %q: choose from %s", name, strings.Join(phaseNames(), ", "))
		}
	}
	if *only != "" {
		opts.Only = strings.Split(*only, ",")
	}
	if *quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		opts = opts.shortened(given)
	}
	if min(opts.Cycles, opts.Streams, opts.Rounds, opts.Kills, opts.Adopted, opts.NoiseRounds) < 1 {
		return options{}, errors.New("-cycles, -streams, -rounds, -kills, -adopted and -noise must be at least 1")
	}
	if opts.Scraped < opts.Adopted {
		return options{}, errors.New("-scraped must be at least what -adopted is")
	}
	return opts, nil
}

// shortened takes the short figures, but for those that were given.
func (o options) shortened(given map[string]bool) options {
	out := short
	out.JSON, out.Only = o.JSON, o.Only
	if given["cycles"] {
		out.Cycles = o.Cycles
	}
	if given["streams"] {
		out.Streams = o.Streams
	}
	if given["rounds"] {
		out.Rounds = o.Rounds
	}
	if given["kills"] {
		out.Kills = o.Kills
	}
	if given["adopted"] {
		out.Adopted = o.Adopted
	}
	if given["scraped"] {
		out.Scraped = o.Scraped
	}
	if given["noise"] {
		out.NoiseRounds = o.NoiseRounds
	}
	return out
}

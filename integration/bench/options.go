package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
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
	// Blocks is how often a block of creations is measured on each side, and
	// BlockSize how many streams are created in one.
	Blocks    int `json:"create_blocks"`
	BlockSize int `json:"create_block_size"`
	// Wakes is how often a stream is woken from zero.
	Wakes int `json:"wakes"`
	// BodyRounds is how often large bodies are sent, for BodyWindow.
	BodyRounds int           `json:"body_rounds"`
	BodyWindow time.Duration `json:"body_window_ns"`
	// UpdateRounds is how often a stream is changed under load, for UpdateWindow.
	UpdateRounds int           `json:"update_rounds"`
	UpdateWindow time.Duration `json:"update_window_ns"`
	// EngineWindow is how long the messages of streams are counted, in each of
	// the Rounds.
	EngineWindow time.Duration `json:"engine_window_ns"`
	// Thousand is how many streams a thousand are, and Quiet how long they are
	// left alone while the supervisor's CPU time is measured.
	Thousand int           `json:"thousand"`
	Quiet    time.Duration `json:"quiet_ns"`
	// Only chooses what is measured; empty is everything.
	Only string `json:"only,omitempty"`
	// JSON is the file that gets the report's figures, if any.
	JSON string `json:"-"`
	// From is the file of an earlier report to take instead of measuring.
	From string `json:"-"`
	// Document is the file whose latest figures are replaced, if any.
	Document string `json:"-"`
}

var (
	full = options{
		Cycles: 60, Streams: 200, Idle: 5 * time.Second, Rounds: 7, Window: 3 * time.Second,
		Kills: 60, Adopted: 200, Scraped: 500,
		NoiseRounds: 3, NoiseWindow: 2 * time.Second, CostWindow: time.Second,
		Blocks: 10, BlockSize: 10, Wakes: 60, BodyRounds: 5, BodyWindow: 2 * time.Second,
		UpdateRounds: 3, UpdateWindow: 5 * time.Second, EngineWindow: 2 * time.Second,
		Thousand: 1000, Quiet: 10 * time.Second,
	}
	short = options{
		Cycles: 5, Streams: 3, Idle: 300 * time.Millisecond, Rounds: 1, Window: 300 * time.Millisecond,
		Kills: 3, Adopted: 4, Scraped: 8,
		NoiseRounds: 1, NoiseWindow: 200 * time.Millisecond, CostWindow: 200 * time.Millisecond,
		Blocks: 1, BlockSize: 2, Wakes: 2, BodyRounds: 1, BodyWindow: 200 * time.Millisecond,
		UpdateRounds: 1, UpdateWindow: 1200 * time.Millisecond, EngineWindow: 100 * time.Millisecond,
		Thousand: 12, Quiet: 300 * time.Millisecond,
	}
)

// count is a flag for how much there is of something.
type count struct {
	name, usage string
	of          func(*options) *int
}

var counts = []count{
	{"cycles", "streams created, changed and deleted one after another", func(o *options) *int { return &o.Cycles }},
	{"streams", "idle streams whose memory is measured", func(o *options) *int { return &o.Streams }},
	{"rounds", "alternated rounds of throughput", func(o *options) *int { return &o.Rounds }},
	{"kills", "runners killed one after another", func(o *options) *int { return &o.Kills }},
	{"adopted", "streams adopted at once", func(o *options) *int { return &o.Adopted }},
	{"scraped", "streams whose metrics are read at once, at least as many as are adopted", func(o *options) *int { return &o.Scraped }},
	{"noise", "rounds of calls beside noisy neighbours", func(o *options) *int { return &o.NoiseRounds }},
	{"blocks", "alternated blocks of creations", func(o *options) *int { return &o.Blocks }},
	{"wakes", "streams woken from zero one after another", func(o *options) *int { return &o.Wakes }},
	{"bodies", "alternated rounds of large bodies", func(o *options) *int { return &o.BodyRounds }},
	{"updates", "alternated rounds of changes under load", func(o *options) *int { return &o.UpdateRounds }},
	{"thousand", "streams of the largest fleet", func(o *options) *int { return &o.Thousand }},
}

// parseOptions reads the flags. A flag that is given overrides -short.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	given := full
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	quick := flags.Bool("short", false, "measure for a few seconds only: shows that it runs, the figures mean little")
	for _, c := range counts {
		flags.IntVar(c.of(&given), c.name, *c.of(&full), c.usage)
	}
	flags.StringVar(&given.Only, "only", "", "measure only what this `regexp` matches of "+strings.Join(phaseNames(), ", "))
	flags.StringVar(&given.JSON, "json", "", "also write the figures to this `file`")
	flags.StringVar(&given.From, "from", "", "measure nothing, and take the figures from this `file` of -json")
	flags.StringVar(&given.Document, "report", "", "replace the latest figures in this Markdown `file`, and the plots beside it")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	opts := given
	if *quick {
		opts = short
		opts.Only, opts.JSON, opts.From, opts.Document = given.Only, given.JSON, given.From, given.Document
		flags.Visit(func(f *flag.Flag) {
			for _, c := range counts {
				if c.name == f.Name {
					*c.of(&opts) = *c.of(&given)
				}
			}
		})
	}
	return opts, opts.validate()
}

// validate returns what is wrong.
func (o options) validate() error {
	for _, c := range counts {
		if *c.of(&o) < 1 {
			return fmt.Errorf("-%s must be at least 1", c.name)
		}
	}
	if o.Scraped < o.Adopted {
		return errors.New("-scraped must be at least what -adopted is")
	}
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return fmt.Errorf("-only: %q matches none of %s", o.Only, strings.Join(phaseNames(), ", "))
	}
	return nil
}

// chosen are the phases to measure.
func (o options) chosen() ([]phase, error) {
	only, err := regexp.Compile(o.Only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(phases()), func(p phase) bool { return !only.MatchString(p.name) }), nil
}

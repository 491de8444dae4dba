package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// pace is the time from one create to the next: a pool of spare runners is
// refilled meanwhile.
const pace = 150 * time.Millisecond

// creator is a way to a new stream.
type creator struct {
	name string
	// first makes a new stream and tells when it had answered a call.
	first func(ctx context.Context, id string) (time.Duration, error)
}

// poolKey is what a server with a pool of spare runners can be told.
const poolKey = "warm_pool.size"

// create measures how soon a new stream answers, at a quiet pace: of tenants'
// streams, of the reference, of another reference, and of a process of the
// engine for itself.
func (b *bench) create(ctx context.Context, rep *report) error {
	creators, missing, notes, leave, err := b.creators(ctx)
	defer leave()
	if err != nil {
		return err
	}
	// took[creator][block] lists the times of a block, in ms.
	took := make([][][]float64, len(creators))
	next := time.Now()
	for block := range 1 + b.opts.Blocks {
		for i := range creators {
			at := (block + i) % len(creators)
			times := make([]float64, b.opts.BlockSize)
			for n := range times {
				if err := pause(ctx, time.Until(next)); err != nil {
					return err
				}
				next = time.Now().Add(pace)
				d, err := creators[at].first(ctx, fmt.Sprintf("new%d-%d", block, n))
				if err != nil {
					return fmt.Errorf("%s: %w", creators[at].name, err)
				}
				times[n] = d.Seconds() * 1e3
			}
			if block > 0 { // the first one warms up
				took[at] = append(took[at], times)
			}
		}
	}

	const ours, theirs, again = 0, 1, 2
	s := section{
		Name: "create", First: "this", Second: "reference", Notes: notes,
		Title: fmt.Sprintf("Create → first call answered, one each %s, in alternated blocks of %d", pace, b.opts.BlockSize),
	}
	medians := make([][]float64, len(creators))
	for i := range creators {
		medians[i] = blockMedians(took[i])
	}
	for i, c := range creators {
		all := flat(took[i])
		rep.Samples.Create = append(rep.Samples.Create, series{Name: c.name, Values: all})
		if i == theirs {
			s.Rows = append(s.Rows,
				row{Measure: c.name + ", p50", Unit: milliseconds, First: median(all)},
				row{Measure: c.name + ", p99", Unit: milliseconds, First: percentile(all, 0.99)})
			continue
		}
		p50 := compareBlocks(c.name+", p50", took[i], took[theirs], medians[i], medians[theirs])
		p99 := ratio(c.name+", p99", milliseconds, percentile(all, 0.99), percentile(flat(took[theirs]), 0.99))
		s.Rows = append(s.Rows, p50, p99)
	}
	rep.Sections = append(rep.Sections, s)
	rep.Control = append(rep.Control, compareBlocks("create → first call answered", took[again], took[theirs], medians[again], medians[theirs]))
	for i, limit := range []float64{8, 40} {
		measured := s.Rows[ours*2+i]
		measured.Measure = "create → first call answered, " + measured.Measure
		if missing != "" {
			rep.notMeasured(1, measured.Measure, missing)
			continue
		}
		rep.judge(1, measured, limit)
	}
	return nil
}

// creators starts all servers. Whatever comes of it, leave ends them. missing
// says why the first of them is not strict, and notes what is different here.
func (b *bench) creators(ctx context.Context) (all []creator, missing string, notes []string, leave func(), err error) {
	var leaves []func()
	leave = func() {
		for _, f := range leaves {
			f()
		}
	}
	add := func(name string, s *server) {
		all = append(all, creator{name, func(ctx context.Context, id string) (time.Duration, error) {
			_, call, err := s.begin(ctx, id)
			return call, err
		}})
	}

	profile := strictProfile
	s, end, err := b.startConfined(ctx, profile)
	if err != nil {
		missing = "strict cannot be had here: " + strings.Join(strings.Fields(err.Error()), " ")
		profile = "standard"
		if s, end, err = b.startConfined(ctx, profile); err != nil {
			return nil, "", nil, leave, err
		}
	}
	leaves = append(leaves, end)
	name := "Penstock, " + profile
	add(name, s)
	for _, name := range []string{"reference", "another reference"} {
		s, err := b.startStreamsMode(ctx)
		if err != nil {
			return nil, "", nil, leave, err
		}
		leaves = append(leaves, s.stop)
		add(name, s)
	}
	all = append(all, creator{"bare `run` process, from exec on", func(ctx context.Context, _ string) (time.Duration, error) { return b.firstAnswer(ctx) }})

	s, end, err = b.startConfined(ctx, profile, "--set", poolKey+"=0")
	switch {
	case err == nil:
		leaves = append(leaves, end)
		add(name+", without a warm pool", s)
	case strings.Contains(err.Error(), `unknown key "`+poolKey+`"`):
		notes = append(notes, "This Penstock has no warm pool: it knows no "+poolKey+".")
	default:
		return nil, "", nil, leave, err
	}
	return all, missing, notes, leave, nil
}

// compareBlocks compares two sides whose blocks alternated: the medians of all
// values, and the ratios of the blocks' own medians.
func compareBlocks(measure string, first, second [][]float64, firstMedians, secondMedians []float64) row {
	r := rounds(measure, milliseconds, firstMedians, secondMedians)
	r.First, r.Second = median(flat(first)), new(median(flat(second)))
	return r
}

func blockMedians(blocks [][]float64) []float64 {
	out := make([]float64, len(blocks))
	for i, block := range blocks {
		out[i] = median(block)
	}
	return out
}

// flat lists the values of all blocks.
func flat(blocks [][]float64) []float64 {
	var out []float64
	for _, block := range blocks {
		out = append(out, block...)
	}
	return out
}

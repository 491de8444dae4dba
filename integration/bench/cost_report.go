package main

import (
	"bytes"
	"fmt"
	"strings"
)

// costReport compares the isolation profiles.
type costReport struct {
	Rows []costRow `json:"rows"`
	// LeftOut says what could not be measured here, and why.
	LeftOut string `json:"left_out,omitempty"`
}

// costRow is one measure in each profile: medians.
type costRow struct {
	Measure string  `json:"measure"`
	Unit    unit    `json:"unit"`
	None    float64 `json:"none"`
	// Others are the profiles with a sandbox, in the order of their strength.
	Others []profileFigure `json:"others"`
	// Goal bounds the difference of the strongest: from above where it is more
	// than 0, else from below.
	Goal *float64 `json:"goal,omitempty"`
}

// profileFigure is what a profile has, and its difference from none in the same
// round, in ms for times of starting and else in percent: the median, and the
// middle half.
type profileFigure struct {
	Profile    string  `json:"profile"`
	Value      float64 `json:"value"`
	Difference float64 `json:"difference"`
	Lower      float64 `json:"difference_lower_quartile"`
	Upper      float64 `json:"difference_upper_quartile"`
}

// add adds a measure, which has a figure for each profile and round.
func (c *costReport) add(measure string, u unit, figures [][]float64, goal *float64) {
	r := costRow{Measure: measure, Unit: u, None: median(figures[0]), Goal: goal}
	for i, profile := range figures[1:] {
		differences := make([]float64, len(profile))
		for round := range profile {
			if u == milliseconds {
				differences[round] = profile[round] - figures[0][round]
			} else {
				differences[round] = (profile[round]/figures[0][round] - 1) * 100
			}
		}
		r.Others = append(r.Others, profileFigure{
			Profile: profiles[1+i], Value: median(profile), Difference: median(differences),
			Lower: percentile(differences, 0.25), Upper: percentile(differences, 0.75),
		})
	}
	c.Rows = append(c.Rows, r)
}

func (c *costReport) write(out *bytes.Buffer) {
	out.WriteString("\nCost of the sandbox: the same stream in each profile, against none in the same round\n\n| measure | none |")
	for _, p := range c.Rows[0].Others {
		fmt.Fprintf(out, " %s | difference, middle half |", p.Profile)
	}
	out.WriteString(" goal |\n|---|--:|" + strings.Repeat("--:|--:|", len(c.Rows[0].Others)) + "---|\n")
	for _, r := range c.Rows {
		fmt.Fprintf(out, "| %s | %s |", r.Measure, r.Unit.text(r.None))
		for _, p := range r.Others {
			fmt.Fprintf(out, " %s | %s, %s to %s |", r.Unit.text(p.Value), r.difference(p.Difference), r.difference(p.Lower), r.difference(p.Upper))
		}
		fmt.Fprintf(out, " %s |\n", r.goal())
	}
	if c.LeftOut != "" {
		fmt.Fprintf(out, "\n%s\n", c.LeftOut)
	}
}

// difference writes one for people.
func (r costRow) difference(v float64) string {
	if r.Unit == milliseconds {
		return fmt.Sprintf("%+.2f ms", v)
	}
	return fmt.Sprintf("%+.1f %%", v)
}

// goal says whether the strongest profile meets it.
func (r costRow) goal() string {
	if r.Goal == nil {
		return ""
	}
	strongest := r.Others[len(r.Others)-1]
	bound, met := "at most", strongest.Difference <= *r.Goal
	if *r.Goal < 0 {
		bound, met = "at least", strongest.Difference >= *r.Goal
	}
	return fmt.Sprintf("%s %s %s: **%s**", strongest.Profile, bound, r.difference(*r.Goal), verdict(met))
}

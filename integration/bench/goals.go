package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// bound says on which side of a goal a figure has to be.
type bound string

const (
	atMost  bound = "at most"
	atLeast bound = "at least"
)

// goal is a measure with what it should reach.
type goal struct {
	// Number is the goal's in the documentation. Several measures may share one.
	Number int `json:"number"`
	row
	// OfRatio says that the ratio has to reach it; else it is the first figure.
	OfRatio bool    `json:"of_ratio"`
	Bound   bound   `json:"bound"`
	Goal    float64 `json:"goal"`
	Met     bool    `json:"met"`
	// NotMeasured says why there are no figures.
	NotMeasured string `json:"not_measured,omitempty"`
}

// judge holds the first figure of a measure against the most that it may be.
func (r *report) judge(number int, measured row, most float64) {
	r.Goals = append(r.Goals, goal{Number: number, row: measured, Bound: atMost, Goal: most, Met: atMost.holds(measured.First, most)})
}

// judgeRatio holds a ratio against a goal.
func (r *report) judgeRatio(number int, measured row, b bound, limit float64) {
	r.Goals = append(r.Goals, goal{
		Number: number, row: measured, OfRatio: true, Bound: b, Goal: limit, Met: b.holds(*measured.Ratio, limit),
	})
}

// notMeasured tells why there is nothing to hold against a goal.
func (r *report) notMeasured(number int, measure, why string) {
	why = strings.Join(strings.Fields(why), " ")
	r.Goals = append(r.Goals, goal{Number: number, row: row{Measure: measure}, NotMeasured: why})
}

func (b bound) holds(v, limit float64) bool {
	if b == atLeast {
		return v >= limit
	}
	return v <= limit
}

// text is what has to be reached, for people.
func (g goal) text() string {
	if g.OfRatio {
		return fmt.Sprintf("%s %.2f ×", g.Bound, g.Goal)
	}
	return fmt.Sprintf("%s %s", g.Bound, g.Unit.text(g.Goal))
}

// verdict is whether it was.
func (g goal) verdict() string {
	if g.NotMeasured != "" {
		return "not measured"
	}
	return "**" + verdict(g.Met) + "**"
}

// writeGoals prints a table of the goals in their order, and a count.
func writeGoals(out *bytes.Buffer, goals []goal) {
	if len(goals) == 0 {
		return
	}
	sorted := slices.SortedStableFunc(slices.Values(goals), func(a, b goal) int { return cmp.Compare(a.Number, b.Number) })
	out.WriteString("| | measure | Penstock | reference | ratio, 95 % interval | goal | |\n|--:|---|--:|--:|--:|---|---|\n")
	var met, missed int
	for _, g := range sorted {
		if g.NotMeasured != "" {
			fmt.Fprintf(out, "| %d | %s |  |  |  |  | %s |\n", g.Number, g.Measure, g.verdict())
			continue
		}
		if g.Met {
			met++
		} else {
			missed++
		}
		var second, ratio string
		if g.Second != nil {
			second = g.Unit.text(*g.Second)
		}
		if g.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *g.Ratio)
		}
		if g.Low != nil {
			ratio += fmt.Sprintf(", %.2f–%.2f", *g.Low, *g.High)
		}
		fmt.Fprintf(out, "| %d | %s | %s | %s | %s | %s | %s |\n",
			g.Number, g.Measure, g.Unit.text(g.First), second, ratio, g.text(), g.verdict())
	}
	fmt.Fprintf(out, "\n%d met, %d missed, %d not measured.\n", met, missed, len(goals)-met-missed)
	for _, g := range sorted {
		if g.NotMeasured != "" {
			fmt.Fprintf(out, "- %d, %s: not measured: %s\n", g.Number, g.Measure, g.NotMeasured)
		}
	}
}

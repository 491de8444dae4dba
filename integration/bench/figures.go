package main

import (
	"cmp"
	"fmt"
	"slices"

	"penstock/integration/bench/plot"
)

// figure is a plot of the report.
type figure struct {
	// name is that of its file, and title what it shows.
	name, title string
	// svg is empty when nothing of it was measured.
	svg []byte
}

// figures draws the report.
func (r *report) figures() []figure {
	return []figure{
		r.goalBars(),
		r.createCurves(),
		r.requestLines(),
		r.thousandLine(),
	}
}

// goalBars draws each measure relative to its goal.
func (r *report) goalBars() figure {
	f := figure{name: "goals", title: "Each measure against its goal"}
	sorted := slices.SortedStableFunc(slices.Values(r.Goals), func(a, b goal) int { return cmp.Compare(a.Number, b.Number) })
	var bars []plot.Bar
	for _, g := range sorted {
		if g.NotMeasured != "" {
			continue
		}
		value, text := g.First, g.Unit.text(g.First)
		if g.OfRatio {
			value, text = *g.Ratio, fmt.Sprintf("%.2f ×", *g.Ratio)
		}
		bars = append(bars, plot.Bar{
			Label: fmt.Sprintf("%d %s", g.Number, shortened(g.Measure)), Value: g.reach(value), Met: g.Met,
			Text: fmt.Sprintf("%s, %s", text, g.text()),
		})
	}
	if len(bars) > 0 {
		f.svg = plot.Bars(f.title, "Horizontal bars, one for each measure. A bar that reaches the line at 1 meets its goal: for what should be large its length is the figure by the goal, for what should be small the goal by the figure.", bars)
	}
	return f
}

// reach is the figure relative to the goal: at 1 and above it is met.
func (g goal) reach(value float64) float64 {
	if g.Bound == atLeast {
		return value / g.Goal
	}
	switch {
	case value > 0:
		return g.Goal / value
	case g.Met && g.Goal == 0:
		return 1
	default:
		return 2 // nothing of what may be a little, or less
	}
}

// longest is how many letters of a measure there is room for.
const longest = 58

func shortened(text string) string {
	if letters := []rune(text); len(letters) > longest {
		return string(letters[:longest-1]) + "…"
	}
	return text
}

// createCurves draws what share of new streams had answered by when.
func (r *report) createCurves() figure {
	f := figure{name: "create", title: "Create → first call answered: share of the streams that had answered by then"}
	panel := plot.Panel{XLabel: "ms, logarithmic", YLabel: "% of the streams", LogX: true}
	for _, s := range r.Samples.Create {
		sorted := slices.Sorted(slices.Values(s.Values))
		line := plot.Series{Name: s.Name}
		for i, v := range sorted {
			// A step up at each value.
			line.Points = append(line.Points,
				plot.Point{X: v, Y: 100 * float64(i) / float64(len(sorted))}, plot.Point{X: v, Y: 100 * float64(i+1) / float64(len(sorted))})
		}
		panel.Series = append(panel.Series, line)
	}
	if len(panel.Series) > 0 {
		f.svg = plot.Panels(f.title, "One curve for each way to a new stream. The further left a curve, the sooner streams answer.", panel)
	}
	return f
}

// requestLines draws the requests a second of each round.
func (r *report) requestLines() figure {
	f := figure{name: "requests", title: fmt.Sprintf("Requests a second by round, %d connections", connections)}
	panel := plot.Panel{XLabel: "round", YLabel: "requests/s"}
	for _, s := range r.Samples.Requests {
		line := plot.Series{Name: s.Name}
		for i, v := range s.Values {
			line.Points = append(line.Points, plot.Point{X: float64(i + 1), Y: v})
		}
		panel.Series = append(panel.Series, line)
	}
	if len(panel.Series) > 0 {
		f.svg = plot.Panels(f.title, "One line for each server, all measured in turn in each round. The distance of the two references is the noise.", panel)
	}
	return f
}

// mostPoints of a line are enough to see its form.
const mostPoints = 400

// thousandLine draws the creation of many streams, and what listing them took
// meanwhile.
func (r *report) thousandLine() figure {
	f := figure{name: "thousand", title: fmt.Sprintf("%d streams created, and GET /streams meanwhile", len(r.Samples.Created))}
	if len(r.Samples.Created) == 0 || len(r.Samples.Listed) == 0 {
		return f
	}
	created := plot.Series{Name: "streams", Points: []plot.Point{{}}}
	for i, c := range r.Samples.Created {
		if n := i + 1; n == len(r.Samples.Created) || n%(1+len(r.Samples.Created)/mostPoints) == 0 {
			created.Points = append(created.Points, plot.Point{X: c.At, Y: float64(n)})
		}
	}
	listed := plot.Series{Name: "GET /streams", Dots: true}
	for _, l := range r.Samples.Listed {
		listed.Points = append(listed.Points, plot.Point{X: l.At, Y: l.Took})
	}
	f.svg = plot.Panels(f.title, "Above, the number of streams over time while they are created. Below, how long each list of all streams took that was asked for at that time.",
		plot.Panel{XLabel: "seconds since the first create", YLabel: "streams created", Series: []plot.Series{created}},
		plot.Panel{XLabel: "seconds since the first create", YLabel: "GET /streams, ms", Series: []plot.Series{listed}})
	return f
}

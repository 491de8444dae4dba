package plot

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Point is a place in a panel.
type Point struct{ X, Y float64 }

// Series is a list of points that belong together.
type Series struct {
	Name   string
	Points []Point
	// Dots draws the points; else they are joined by a line.
	Dots bool
}

// Panel is a chart with two axes.
type Panel struct {
	XLabel, YLabel string
	// LogX has each unit of the axis stand for the same factor.
	LogX   bool
	Series []Series
}

// Size and place of a panel.
const (
	panelLeft, panelRight = 72.0, width - 24.0
	panelHeight           = 240.0
	panelStep             = panelHeight + 136
	// legendRow is the height of a row of names below a panel.
	legendRow = 18.0
)

// Panels draws panels below each other.
func Panels(title, description string, panels ...Panel) []byte {
	var d drawing
	d.begin(title, description, 30+int(panelStep)*len(panels))
	for i, p := range panels {
		p.draw(&d, 66+panelStep*float64(i))
	}
	return d.end()
}

func (p Panel) draw(d *drawing, top float64) {
	bottom := top + panelHeight
	xs, ys := p.axes()
	x := func(v float64) float64 { return panelLeft + xs.share(v)*(panelRight-panelLeft) }
	y := func(v float64) float64 { return bottom - ys.share(v)*panelHeight }
	for _, v := range xs.ticks {
		d.line(x(v), top, x(v), bottom, "grid")
		d.text(x(v), bottom+17, "small mid", fmt.Sprintf("%g", v))
	}
	for _, v := range ys.ticks {
		d.line(panelLeft, y(v), panelRight, y(v), "grid")
		d.text(panelLeft-8, y(v)+4, "small end", fmt.Sprintf("%.10g", v))
	}
	d.text((panelLeft+panelRight)/2, bottom+36, "small mid", p.XLabel)
	d.text(16, top-12, "small", p.YLabel)
	at, row := panelLeft, bottom+58
	for i, s := range p.Series {
		class := fmt.Sprintf("line c%d", i%colours)
		if s.Dots {
			class = fmt.Sprintf("dot c%d", i%colours)
		}
		fmt.Fprintf(d, `<path class="%s" d="%s"><title>%s</title></path>`+"\n", class, s.path(x, y), escaped(s.Name))
		if len(p.Series) == 1 {
			continue // the axis says what it is
		}
		long := 48 + 6.4*float64(len(s.Name))
		if at+long > width {
			at, row = panelLeft, row+legendRow
		}
		d.line(at, row-4, at+22, row-4, class)
		d.text(at+28, row, "small", s.Name)
		at += long
	}
}

// path is the series in the language of SVG.
func (s Series) path(x, y func(float64) float64) string {
	var out strings.Builder
	for i, p := range s.Points {
		switch {
		case s.Dots:
			fmt.Fprintf(&out, "M%.1f %.1fh0", x(p.X), y(p.Y))
		case i == 0:
			fmt.Fprintf(&out, "M%.1f %.1f", x(p.X), y(p.Y))
		default:
			fmt.Fprintf(&out, "L%.1f %.1f", x(p.X), y(p.Y))
		}
	}
	return out.String()
}

// axis is a range with places that are named.
type axis struct {
	from, to float64
	log      bool
	ticks    []float64
}

// share is where a value is on the axis, from 0 to 1.
func (a axis) share(v float64) float64 {
	if a.log {
		return math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	return (v - a.from) / (a.to - a.from)
}

// axes fit all series. What has no logarithmic scale begins at 0.
func (p Panel) axes() (xs, ys axis) {
	var x, y []float64
	for _, s := range p.Series {
		for _, point := range s.Points {
			x, y = append(x, point.X), append(y, point.Y)
		}
	}
	ys = linear(slices.Max(y))
	if p.LogX {
		return logarithmic(slices.Min(x), slices.Max(x)), ys
	}
	return linear(slices.Max(x)), ys
}

// linear is an axis from 0 to at least a value, with about five ticks.
func linear(most float64) axis {
	if most <= 0 {
		most = 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/5)))
	step := 10 * power
	for _, factor := range []float64{1, 2, 5} {
		if most/(factor*power) <= 5 {
			step = factor * power
			break
		}
	}
	a := axis{to: step * math.Ceil(most/step)}
	for n := range int(math.Round(a.to/step)) + 1 {
		a.ticks = append(a.ticks, rounded(float64(n)*step))
	}
	return a
}

// logarithmic is an axis between the round values around two values above 0.
func logarithmic(least, most float64) axis {
	a := axis{log: true}
	for power := math.Floor(math.Log10(least)); ; power++ {
		for _, factor := range []float64{1, 2, 5} {
			v := rounded(factor * math.Pow(10, power))
			if v <= least {
				a.ticks = nil
			}
			a.ticks = append(a.ticks, v)
			if v > most {
				a.from, a.to = a.ticks[0], v
				return a
			}
		}
	}
}

// rounded takes off what binary fractions add.
func rounded(v float64) float64 {
	if v == 0 {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-3)
	if power < 1 {
		inverse := math.Round(1 / power)
		return math.Round(v*inverse) / inverse
	}
	return math.Round(v/power) * power
}

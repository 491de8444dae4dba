package plot

import "fmt"

// Bar is one measure of a bar chart.
type Bar struct {
	Label string
	// Value is relative to the goal: at 1 and above it is met.
	Value float64
	// Text is the figure and its goal, for people.
	Text string
	Met  bool
}

// Bars draws measures against one line, which is the goal of each.
func Bars(title, description string, bars []Bar) []byte {
	const (
		left, right, top = 390.0, width - 215.0, 64.0
		step, thick      = 24.0, 14.0
		// most is where bars are cut off.
		most = 2.0
	)
	at := func(v float64) float64 { return left + min(v, most)/most*(right-left) }
	bottom := top + step*float64(len(bars))
	var d drawing
	d.begin(title, description, int(bottom)+30)
	for _, v := range []float64{0, 0.5, 1, 1.5, most} {
		d.line(at(v), top-6, at(v), bottom, "grid")
		d.text(at(v), top-12, "small mid", fmt.Sprintf("%g×", v))
	}
	for i, b := range bars {
		y := top + step*float64(i)
		class := "missed"
		if b.Met {
			class = "met"
		}
		d.text(left-8, y+12, "small end", b.Label)
		fmt.Fprintf(&d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s"><title>%s: %s</title></rect>`+"\n",
			left, y, at(b.Value)-left, thick, class, escaped(b.Label), escaped(b.Text))
		d.text(right+8, y+12, "small", b.Text)
	}
	d.line(at(1), top-6, at(1), bottom, "goal")
	d.text(at(1), bottom+16, "small mid", "goal")
	return d.end()
}

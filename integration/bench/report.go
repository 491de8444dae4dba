package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// unit says what a figure counts.
type unit string

const (
	seconds      unit = "s"
	milliseconds unit = "ms"
	microseconds unit = "µs"
	megabytes    unit = "bytes"
	mebibytes    unit = "MiB"
	perSecond    unit = "1/s"
	percent      unit = "%"
	requests     unit = "requests"
	changes      unit = "changes"
)

// text writes a figure for people.
func (u unit) text(v float64) string {
	switch u {
	case megabytes:
		return fmt.Sprintf("%.2f MB", v/1e6)
	case perSecond:
		return fmt.Sprintf("%.0f", v)
	case requests, changes:
		return fmt.Sprintf("%.0f %s", v, u)
	case milliseconds, seconds, percent:
		return fmt.Sprintf("%.2f %s", v, u)
	case mebibytes:
	case microseconds:
	}
	return fmt.Sprintf("%.1f %s", v, u)
}

// row is one measure. Its ratio is the first server's by the second's, and of
// measures that were made in rounds the median of the rounds' ratios.
type row struct {
	Measure string  `json:"measure"`
	Unit    unit    `json:"unit"`
	First   float64 `json:"first"`
	// Second and all below it are missing for what only the first has.
	Second *float64 `json:"second,omitempty"`
	Ratio  *float64 `json:"ratio,omitempty"`
	// Lowest and Highest are the extremes of the rounds' ratios.
	Lowest  *float64 `json:"ratio_lowest,omitempty"`
	Highest *float64 `json:"ratio_highest,omitempty"`
	// Low and High are the interval of the ratio.
	Low  *float64 `json:"ratio_interval_low,omitempty"`
	High *float64 `json:"ratio_interval_high,omitempty"`
}

// section is a table of its own.
type section struct {
	// Name is the phase that measured it.
	Name  string `json:"name"`
	Title string `json:"title"`
	// First and Second head the columns.
	First  string `json:"first"`
	Second string `json:"second"`
	Rows   []row  `json:"rows"`
	// Notes are said below it.
	Notes []string `json:"notes,omitempty"`
}

// machine is where and when it was measured.
type machine struct {
	Date   time.Time `json:"date"`
	Cores  int       `json:"cores"`
	CPU    string    `json:"cpu"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	// Load is the average number of runnable tasks in the last minute: what
	// else the machine had to do at the beginning, and all at the end.
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

// report gathers the figures.
type report struct {
	Machine machine `json:"machine"`
	Options options `json:"options"`
	// Goals are the measures with what they should reach.
	Goals []goal `json:"goals"`
	// Rows compare Penstock, the first, with the reference, the second.
	Rows []row `json:"rows"`
	// Sections have their own headings.
	Sections []section `json:"sections"`
	// Recovery compares the time from a runner's death until its stream is
	// back, the first, with the time that its creation took, the second.
	Recovery []row `json:"recovery"`
	// Fleet is of Penstock with many streams.
	Fleet []row `json:"fleet"`
	// Answered is how many requests of the load were answered, each of them
	// with status 200 and the right body: otherwise there is no report.
	Answered int64 `json:"answered"`
	// Noise is of a stream beside others, Cost of the isolation profiles.
	Noise *noiseReport `json:"noise,omitempty"`
	Cost  *costReport  `json:"cost,omitempty"`
	// Control compares the reference with itself.
	Control []row `json:"control"`
	// Samples are what is drawn.
	Samples samples `json:"samples"`
}

func newReport(opts options) *report {
	return &report{Options: opts, Machine: machine{
		Date: time.Now().UTC().Truncate(time.Second), Cores: runtime.NumCPU(), CPU: cpuModel(),
		Kernel: kernelVersion(), Go: runtime.Version(), LoadBefore: loadAverage(),
	}}
}

// compare adds a measure of both servers.
func (r *report) compare(measure string, u unit, ours, theirs float64) {
	r.Rows = append(r.Rows, ratio(measure, u, ours, theirs))
}

func ratio(measure string, u unit, first, second float64) row {
	return row{Measure: measure, Unit: u, First: first, Second: &second, Ratio: new(first / second)}
}

// alone adds a measure that the reference does not have.
func (r *report) alone(measure string, u unit, ours float64) {
	r.Rows = append(r.Rows, row{Measure: measure, Unit: u, First: ours})
}

// compareRounds adds a measure of both servers in each round.
func (r *report) compareRounds(measure string, u unit, ours, theirs []float64) row {
	added := rounds(measure, u, ours, theirs)
	r.Rows = append(r.Rows, added)
	return added
}

// controlRounds adds a measure of the reference and of another reference.
func (r *report) controlRounds(measure string, u unit, first, second []float64) {
	r.Control = append(r.Control, rounds(measure, u, first, second))
}

func rounds(measure string, u unit, first, second []float64) row {
	ratios := make([]float64, len(first))
	for i := range first {
		ratios[i] = first[i] / second[i]
	}
	low, high := interval(ratios)
	return row{
		Measure: measure, Unit: u, First: median(first), Second: new(median(second)),
		Ratio: new(median(ratios)), Lowest: new(slices.Min(ratios)), Highest: new(slices.Max(ratios)), Low: &low, High: &high,
	}
}

// write prints the report as Markdown.
func (r *report) write(w io.Writer) error {
	var out bytes.Buffer
	m, o := r.Machine, r.Options
	fmt.Fprintf(&out, "%s · %d cores (%s) · Linux %s · %s · load average %s before, %s after\n\n",
		m.Date.Format("2006-01-02 15:04 MST"), m.Cores, m.CPU, m.Kernel, m.Go, m.LoadBefore, m.LoadAfter)
	fmt.Fprintf(&out, "%d streams one after another; %d idle streams; %d rounds of %s; %d requests, all answered right\n\n",
		o.Cycles, o.Streams, o.Rounds, o.Window, r.Answered)
	if o.Only != "" {
		fmt.Fprintf(&out, "Only the sections that match `%s`.\n\n", o.Only)
	}
	writeGoals(&out, r.Goals)
	table(&out, "Against the reference", "Penstock", "reference", r.Rows)
	for _, s := range r.Sections {
		table(&out, s.Title, s.First, s.Second, s.Rows)
		if len(s.Notes) > 0 {
			out.WriteString("\n- " + strings.Join(s.Notes, "\n- ") + "\n")
		}
	}
	table(&out, fmt.Sprintf("Recovery: %d runners killed one after another, against the create of the same stream", o.Kills), "recovery", "create", r.Recovery)
	table(&out, "Many streams, of Penstock alone", "Penstock", "", r.Fleet)
	table(&out, "The noise: the reference against another one, in the same rounds", "reference", "reference", r.Control)
	writeFloors(&out, r.Control)
	if r.Noise != nil {
		r.Noise.write(&out)
	}
	if r.Cost != nil {
		r.Cost.write(&out)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// table writes what there is of one kind.
func table(out *bytes.Buffer, title, first, second string, rows []row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n\n| measure | %s | %s | ratio | 95 %% interval | rounds from–to |\n|---|--:|--:|--:|--:|--:|\n", title, first, second)
	for _, r := range rows {
		var second, ratio, likely, spread string
		if r.Second != nil {
			second = r.Unit.text(*r.Second)
		}
		if r.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *r.Ratio)
		}
		if r.Low != nil {
			likely = fmt.Sprintf("%.2f–%.2f", *r.Low, *r.High)
		}
		if r.Lowest != nil {
			spread = fmt.Sprintf("%.2f–%.2f", *r.Lowest, *r.Highest)
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", r.Measure, r.Unit.text(r.First), second, ratio, likely, spread)
	}
}

// writeFloors says which differences mean nothing: those that the reference has
// from itself.
func writeFloors(out *bytes.Buffer, control []row) {
	if len(control) == 0 {
		return
	}
	out.WriteString("\nA difference below these means nothing: ")
	for i, r := range control {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(out, "%s %.1f %%", r.Measure, r.floor())
	}
	out.WriteString(".\n")
}

// floor is how far the interval of a ratio that should be 1 goes from 1, in
// percent.
func (r row) floor() float64 { return 100 * max(*r.High-1, 1-*r.Low) }

// writeJSON writes the figures to a file.
func (r *report) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the figures: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	return nil
}

// loadAverage is the one of the last minute.
func loadAverage() string {
	load, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	return load
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// kernelVersion leaves out what the builder of the kernel has added.
func kernelVersion() string {
	version, _, _ := strings.Cut(firstLine("/proc/sys/kernel/osrelease"), "-")
	return version
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

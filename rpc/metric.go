package rpc

// Kind says what a metric's value means.
type Kind int

const (
	// KindCounter is a number that only grows.
	KindCounter Kind = iota + 1
	// KindGauge is a number that goes up and down.
	KindGauge
	// KindTimer is a distribution of durations.
	KindTimer
)

// Metric is one value that the engine counts.
type Metric struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Kind   Kind              `json:"kind"`
	// Number is the value of a counter or gauge.
	Number int64 `json:"number,omitempty"`
	// Timing is set for a timer, and then Number is not.
	Timing *Timing `json:"timing,omitempty"`
}

// Timing is what a timer has seen, in nanoseconds. The percentiles are of a
// sample that favours the last minutes, Count and Sum of everything.
type Timing struct {
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Count uint64  `json:"count"`
	Sum   float64 `json:"sum"`
}

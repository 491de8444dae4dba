package options

import (
	"time"

	"gopkg.in/yaml.v3"
)

// HTTP is how a stream's own endpoints are called.
type HTTP struct {
	// MaxInFlight is how many calls the stream has at the same time, 1 to
	// 100,000; 0 is no limit.
	MaxInFlight int
	// Queue is how many further calls wait for their turn, 0 to 100,000. It
	// counts with MaxInFlight only.
	Queue int
	// Timeout bounds a call from its arrival until its answer begins, 1 ms to
	// 24 h; 0 is no limit.
	Timeout time.Duration
}

const (
	maxCalls = 100_000
	// usualQueue is the queue of a stream that has said nothing of it.
	usualQueue = 100
	minTimeout = time.Millisecond
	maxTimeout = 24 * time.Hour
)

func (d *decoder) http(n *yaml.Node, h *HTTP) {
	var queue *yaml.Node
	d.object(n, "http", []field{
		{"max_in_flight", func(n *yaml.Node) { h.MaxInFlight = d.integer(n, "max_in_flight", 1, maxCalls) }},
		{"queue", func(n *yaml.Node) { queue, h.Queue = n, d.integer(n, "queue", 0, maxCalls) }},
		{"timeout", func(n *yaml.Node) { h.Timeout = d.duration(n, "timeout", minTimeout, maxTimeout) }},
	})
	switch {
	case queue != nil && h.MaxInFlight == 0:
		d.lint(queue, "field queue: nothing waits without max_in_flight: set that as well, or leave queue out")
	case queue == nil && h.MaxInFlight > 0:
		h.Queue = usualQueue
	}
}

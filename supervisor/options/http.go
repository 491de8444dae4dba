package options

import (
	"net/url"
	"time"

	"gopkg.in/yaml.v3"
)

// HTTP is how a stream's own endpoints are called.
type HTTP struct {
	// MaxInFlight is how many calls each of the stream's runners has at the same
	// time, 1 to 100,000; 0 is no limit.
	MaxInFlight int
	// Queue is how many further calls of the stream wait for their turn, 0 to
	// 100,000. It
	// counts with MaxInFlight only.
	Queue int
	// Timeout bounds a call from its arrival until its answer begins, 1 ms to
	// 24 h; 0 is no limit.
	Timeout time.Duration
	// Async has calls be asynchronous that do not say themselves.
	Async bool
	// Callback is where the results of asynchronous calls are sent that do not
	// name another place: an http or https URL. Empty is nowhere.
	Callback string
	// Listen is the address of a listener of the stream's own, ADDRESS:PORT;
	// empty is none. None of the above is set beside it.
	Listen string
}

const (
	maxCalls = 100_000
	// usualQueue is the queue of a stream that has said nothing of it.
	usualQueue = 100
	minTimeout = time.Millisecond
	maxTimeout = 24 * time.Hour
)

func (d *decoder) http(n *yaml.Node, h *HTTP, allowed Allowed) {
	var queue, listen *yaml.Node
	supervised := map[string]*yaml.Node{}
	d.object(n, "http", []field{
		{"max_in_flight", func(n *yaml.Node) {
			supervised["max_in_flight"] = n
			h.MaxInFlight = d.integer(n, "max_in_flight", 1, maxCalls)
		}},
		{"queue", func(n *yaml.Node) { supervised["queue"] = n; queue, h.Queue = n, d.integer(n, "queue", 0, maxCalls) }},
		{"timeout", func(n *yaml.Node) {
			supervised["timeout"] = n
			h.Timeout = d.duration(n, "timeout", minTimeout, maxTimeout)
		}},
		{"async", func(n *yaml.Node) { supervised["async"] = n; h.Async = d.boolean(n, "async") }},
		{"callback", func(n *yaml.Node) { supervised["callback"] = n; h.Callback = d.url(n, "callback") }},
		{"listen", func(n *yaml.Node) { listen, h.Listen = n, d.listen(n, allowed) }},
	})
	if listen != nil {
		for name, n := range supervised {
			d.lint(n, "field %s: not beside listen, whose calls do not pass the server, which is what keeps to it: leave one of the two out", name)
		}
	}
	switch {
	case queue != nil && h.MaxInFlight == 0:
		d.lint(queue, "field queue: nothing waits without max_in_flight: set that as well, or leave queue out")
	case queue == nil && h.MaxInFlight > 0:
		h.Queue = usualQueue
	}
}

// boolean reads true or false.
func (d *decoder) boolean(n *yaml.Node, name string) bool {
	if !d.scalar(n, name, "boolean", "!!bool") {
		return false
	}
	var value bool
	if n.Decode(&value) != nil {
		d.lint(n, "field %s: expected true or false, got %s", name, printable(n.Value))
	}
	return value
}

// url reads an absolute URL of http or https without a user.
func (d *decoder) url(n *yaml.Node, name string) string {
	if !d.scalar(n, name, "string", "!!str") {
		return ""
	}
	u, err := url.Parse(n.Value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		d.lint(n, "field %s: expected an http or https URL without a user, such as https://hooks.example.com/done, got %s", name, printable(n.Value))
		return ""
	}
	return n.Value
}

package options

import (
	"time"

	"gopkg.in/yaml.v3"
)

// Replicas is how many runners a stream has at the same time. The zero value
// is one.
type Replicas struct {
	// Min and Max are 1 to 64. There are Min at least, and Max when the calls of
	// the stream ask for so many.
	Min, Max int
	// InFlight is how many calls each is to have before there is another, 1 to
	// 100,000. It is 0 where Min is Max.
	InFlight int
	// Cooldown is for how long fewer have to be enough before there are fewer,
	// 100 ms to 24 h. It is 0 where Min is Max.
	Cooldown time.Duration
}

// Several says that there may be more than one.
func (r Replicas) Several() bool { return r.Max > 1 }

// Scales says that there are not always equally many.
func (r Replicas) Scales() bool { return r.Min < r.Max }

const (
	maxReplicas = 64
	// usualInFlight counts where neither in_flight nor max_in_flight is set.
	usualInFlight = 10
	usualCooldown = 30 * time.Second
	minCooldown   = 100 * time.Millisecond
	maxCooldown   = 24 * time.Hour
)

// replicas reads a number, or the bounds of one.
func (d *decoder) replicas(n *yaml.Node, r *Replicas) {
	if n.Kind != yaml.MappingNode {
		r.Max = d.integer(n, "replicas", 1, maxReplicas)
		r.Min = r.Max
		return
	}
	var most *yaml.Node
	scaling := map[string]*yaml.Node{}
	r.Min = 1
	before := len(d.lints)
	d.object(n, "replicas", []field{
		{"min", func(n *yaml.Node) { r.Min = d.least(n) }},
		{"max", func(n *yaml.Node) { most, r.Max = n, d.integer(n, "max", 1, maxReplicas) }},
		{"in_flight", func(n *yaml.Node) {
			scaling["in_flight"], r.InFlight = n, d.integer(n, "in_flight", 1, maxCalls)
		}},
		{"cooldown", func(n *yaml.Node) {
			scaling["cooldown"], r.Cooldown = n, d.duration(n, "cooldown", minCooldown, maxCooldown)
		}},
	})
	switch {
	case len(d.lints) > before:
	case most == nil:
		d.lint(n, "field replicas: max is required beside what else is said: set it, or write replicas as a number")
	case r.Min > r.Max:
		d.lint(most, "field max: %d is below the field min, %d: raise one or lower the other", r.Max, r.Min)
	case r.Min == r.Max:
		for name, n := range scaling {
			d.lint(n, "field %s: nothing is scaled where min is max: lower min or raise max, or leave %s out", name, name)
		}
	}
}

// least reads the field min.
func (d *decoder) least(n *yaml.Node) int {
	if n.Kind == yaml.ScalarNode && n.Value == "0" {
		d.lint(n, "field min: there is always one: runtime.idle_timeout is what gives it back when nobody calls")
		return 1
	}
	return d.integer(n, "min", 1, maxReplicas)
}

// settleReplicas fills in what was not said, once all was read. The node is that
// of the replicas.
func (d *decoder) settleReplicas(n *yaml.Node, o *Options) {
	r := &o.Replicas
	if !r.Scales() {
		return
	}
	if o.HTTP.Listen != "" {
		d.lint(n, "fields replicas and http.listen: calls on the stream's own listener do not pass the server, which would count them: write replicas as a number, or leave listen out")
	}
	if r.InFlight == 0 {
		r.InFlight = usualInFlight
		if o.HTTP.MaxInFlight > 0 {
			r.InFlight = o.HTTP.MaxInFlight
		}
	}
	if r.Cooldown == 0 {
		r.Cooldown = usualCooldown
	}
}

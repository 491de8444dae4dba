package options

import (
	"cmp"
	"slices"
	"time"

	"gopkg.in/yaml.v3"
)

// Options is what a stream's config asks of the supervisor.
type Options struct {
	Restart Restart
	// Limits are the stream's own, without the server's defaults and ceilings.
	Limits Limits
	// Env are variables of the runner: what ${NAME} stands for in the config.
	Env     map[string]string
	Sandbox Sandbox
	HTTP    HTTP
	// Replicas is how many runners the stream has.
	Replicas Replicas
	// IdleTimeout is how long a stream that nobody calls keeps its process, 100 ms
	// to 7 days; 0 is for ever.
	IdleTimeout time.Duration
	// Runner is the name of the runner that the stream is to have; empty is the
	// smallest that has its components.
	Runner string
}

// Sandbox widens what a stream may reach under the profile strict. Paths are
// absolute and clean.
type Sandbox struct {
	// Read may be read, with what is below it.
	Read []string
	// Write may be read and written, with what is below it.
	Write []string
}

// Allowed is what the operator permits. The zero value permits everything.
type Allowed struct {
	// Ceiling is what no stream may ask more than.
	Ceiling Limits
	// RestrictPaths refuses the paths of a Sandbox that are not below one of
	// these: what a stream reads not below Read, what it writes not below Write.
	RestrictPaths bool
	Read, Write   []string
	// RestrictListen refuses an HTTP.Listen that no rule of Listen allows.
	RestrictListen bool
	Listen         []ListenRule
}

// Restart says whether and when a stream is started again after it ended.
type Restart struct {
	Policy Policy
	// MaxAttempts is how many restarts in a row may fail before the supervisor
	// gives up, 1 to 1,000,000; 0 is no limit.
	MaxAttempts int
	Backoff     Backoff
}

// Backoff is how long the supervisor waits between restarts. Each part is 0,
// the server's own default, or 1 ms to 24 h. When both are set, Initial is not
// above Max; when only one is, the server's other one may lie on the wrong
// side of it.
type Backoff struct {
	Initial, Max time.Duration
}

// Policy says which ends of a stream lead to a restart.
type Policy string

const (
	// PolicyAlways restarts a stream that failed, and one that finished.
	PolicyAlways Policy = "always"
	// PolicyOnFailure restarts a stream that failed. It is the default.
	PolicyOnFailure Policy = "on-failure"
	// PolicyNever leaves a stream that ended alone.
	PolicyNever Policy = "never"
)

var policies = []string{string(PolicyAlways), string(PolicyOnFailure), string(PolicyNever)}

const (
	maxAttempts = 1_000_000
	minBackoff  = time.Millisecond
	maxBackoff  = 24 * time.Hour
	minIdle     = 100 * time.Millisecond
	maxIdle     = 7 * 24 * time.Hour
)

// Lint is one fault of a block.
type Lint struct {
	// Line and Column are the node's own, 1-based.
	Line, Column int
	// Message is one line that says what is wrong and what would be right.
	Message string
}

// Parse reads a block that is free of aliases and merge keys. A nil node and
// an empty block mean the defaults. The options count only when there are no
// lints; lints come in the order of the text.
func Parse(block *yaml.Node, allowed Allowed) (Options, []Lint) {
	options := Options{Restart: Restart{Policy: PolicyOnFailure}}
	if block == nil {
		return options, nil
	}
	var d decoder
	var replicas *yaml.Node
	d.object(block, "runtime", []field{
		{"restart", func(n *yaml.Node) { d.restart(n, &options.Restart) }},
		{"limits", func(n *yaml.Node) { d.limits(n, &options.Limits, allowed.Ceiling) }},
		{"env", func(n *yaml.Node) { options.Env = d.env(n) }},
		{"sandbox", func(n *yaml.Node) { d.sandbox(n, &options.Sandbox, allowed) }},
		{"http", func(n *yaml.Node) { d.http(n, &options.HTTP, allowed) }},
		{"replicas", func(n *yaml.Node) { replicas = n; d.replicas(n, &options.Replicas) }},
		{"idle_timeout", func(n *yaml.Node) { options.IdleTimeout = d.duration(n, "idle_timeout", minIdle, maxIdle) }},
		{"runner", func(n *yaml.Node) { options.Runner = d.runner(n) }},
	})
	d.settleReplicas(replicas, &options)
	slices.SortStableFunc(d.lints, func(a, b Lint) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return options, d.lints
}

func (d *decoder) restart(n *yaml.Node, r *Restart) {
	d.object(n, "restart", []field{
		{"policy", func(n *yaml.Node) { r.Policy = Policy(d.choice(n, "policy", policies)) }},
		{"max_attempts", func(n *yaml.Node) { r.MaxAttempts = d.integer(n, "max_attempts", 0, maxAttempts) }},
		{"backoff", func(n *yaml.Node) { d.backoff(n, &r.Backoff) }},
	})
}

func (d *decoder) backoff(n *yaml.Node, b *Backoff) {
	var longest *yaml.Node
	d.object(n, "backoff", []field{
		{"initial", func(n *yaml.Node) { b.Initial = d.duration(n, "initial", minBackoff, maxBackoff) }},
		{"max", func(n *yaml.Node) { longest, b.Max = n, d.duration(n, "max", minBackoff, maxBackoff) }},
	})
	if b.Max != 0 && b.Initial > b.Max {
		d.lint(longest, "field max: %s is below the field initial, %s: raise one or lower the other",
			text(b.Max), text(b.Initial))
	}
}

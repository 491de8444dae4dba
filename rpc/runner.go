package rpc

import (
	"context"
	"fmt"
	"time"
)

// Runner is one process that hosts one stream, once: Prepare, then Run, then
// Stop or the stream's own end.
//
// On the supervisor's side every method may fail with ErrUnavailable (the
// process is gone or does not answer) or the context's error.
type Runner interface {
	// Prepare lints and builds a config without running it. A config that is
	// refused gives a *Rejection; anything else is a failure of the runner.
	Prepare(ctx context.Context, req PrepareRequest) (Prepared, error)
	// Rehearse has a runner that was started for nobody yet do ahead what needs
	// nobody's config. From then on it keeps to the policy, and a Prepare with
	// another one fails. It comes before Assume: later it fails with ErrPrepared.
	Rehearse(ctx context.Context, policy ComponentPolicy) error
	// Assume has a runner that was started for nobody yet become a stream's: what
	// a process is otherwise started with. It comes before Prepare, and once: later
	// it fails with ErrPrepared. After any error the runner is to be ended.
	Assume(ctx context.Context, a Assignment) error
	// Run starts what Prepare built. It returns once the stream was started,
	// or ErrNotPrepared.
	Run(ctx context.Context) error
	// Stop ends the stream, gracefully for most of grace and by force after
	// that. It reports whether everything in flight was delivered. Stopping a
	// stream that ended already is a drained stop.
	Stop(ctx context.Context, grace time.Duration) (drained bool, err error)
	// Ready reports the connections of the running stream at this moment.
	Ready(ctx context.Context) (Readiness, error)
	// Stats reports every metric of the stream.
	Stats(ctx context.Context) ([]Metric, error)
	// Events calls emit with what happens to the stream, until the context
	// ends, emit fails or the stream has finished. An attached runner knows
	// that it has a supervisor.
	Events(ctx context.Context, emit func(Event) error) error
	// Identify says who the runner is. It answers in every state.
	Identify(ctx context.Context) (Identity, error)
	// SetLogLevel changes what the stream's log takes from now on: debug,
	// info, warn or error.
	SetLogLevel(ctx context.Context, level string) error
	// SetLimits tells the Go runtime of the runner what it may use, which
	// takes effect at once. It holds nobody back who does not want to be: that
	// is the system's part.
	SetLimits(ctx context.Context, l Limits) error
	// Share has a resource host have these resources from now on, and no others.
	// One is built anew only when its generation, its type or its config is
	// another, and takes the place of the old one once it is built. What cannot be
	// built is refused, and then the host keeps what it has under that id.
	// ErrNotPrepared: the runner is no resource host.
	Share(ctx context.Context, resources []Resource) ([]Refusal, error)
}

// Refusal is a resource that cannot be built, and why.
type Refusal struct{ ID, Message string }

// Assignment is what a runner that was started for nobody yet is to become.
type Assignment struct {
	// User is who it becomes, for good; nil is who it is.
	User *User
	// WorkDir is its working directory; empty is the one that it has.
	WorkDir string
	// Environment are variables of its process.
	Environment map[string]string
	// Limits are those of its Go runtime; here 0 leaves one as it is.
	Limits Limits
}

// User is a user and its only group. Neither is root's.
type User struct{ UID, GID uint32 }

// Limits are those of a runner's Go runtime.
type Limits struct {
	// MemoryBytes is what the garbage collector keeps the process's memory
	// below, as GOMEMLIMIT does; 0 is no limit.
	MemoryBytes int64
	// CPUs is how many threads run Go code at once, as GOMAXPROCS is; 0 is
	// what the Go runtime makes of the system.
	CPUs int
}

// Identity says who a runner is and how far it has come.
type Identity struct {
	// StreamID and Instance are those of PrepareRequest, empty before it.
	StreamID, Instance string
	// Version is that of the runner's binary.
	Version string
	Phase   Phase
	// CanAssume says that the runner knows Rehearse and Assume.
	CanAssume bool
	// Shares says that the stream has used the resource host.
	Shares bool
	// PID is the process's id as the runner sees it, which tells others
	// nothing: in a pid namespace of its own it is 1.
	PID int
}

// Phase is how far a runner has come.
type Phase int

const (
	// PhaseFresh means that there is no stream yet.
	PhaseFresh Phase = iota + 1
	// PhasePrepared means that the stream is built and waits for Run.
	PhasePrepared
	// PhaseRunning means that the stream runs.
	PhaseRunning
	// PhaseEnded means that the stream has ended by itself.
	PhaseEnded
	// PhaseLeaving means that the stream was told to stop.
	PhaseLeaving
)

// PrepareRequest is a config and everything it may refer to.
type PrepareRequest struct {
	// StreamID names the stream in logs and, with PrefixEndpoints, in paths.
	StreamID string
	// Instance tells this runner from every other that hosted the stream.
	Instance string
	// Config is the stream's config.
	Config []byte
	// ResourcesOnly says that there is no stream: the resources are checked,
	// and the runner cannot Run.
	ResourcesOnly bool
	// Resources can be used by the config, each under its id.
	Resources []Resource
	// Templates define components that the config and the resources may use.
	Templates []Template
	// Environment is what ${VAR} and the engine's env() resolve to.
	Environment map[string]string
	// Chilled accepts configs with lint errors or missing variables.
	Chilled bool
	// AllowTests accepts a `tests` section, as config files may have.
	AllowTests bool
	// PrefixEndpoints puts the stream's HTTP endpoints below /{StreamID}.
	PrefixEndpoints bool
	// LogDir is the folder of the stream's log files.
	LogDir string
	// LogLevel is the least severe level that the stream's log takes: debug,
	// info, warn or error; empty is info.
	LogLevel string
	// LogMegabytes is the size at which one of the stream's log files is
	// rotated, with one older file kept beside it; 0 means 8.
	LogMegabytes int
	// OrphanTimeout is how long the runner goes on without a supervisor; zero
	// is for ever. Until Prepare the runner has a bound of its own.
	OrphanTimeout time.Duration
	// Policy says which components and Bloblang functions the config and the
	// resources may use. Chilled lifts nothing of it.
	Policy ComponentPolicy
	// MaxSeries is how many metric series the stream may have; 0 means 10000.
	// What a stream measures beyond them is dropped, and Readiness says so.
	MaxSeries int
	// Host makes the runner a resource host: there is no stream, and the
	// resources are those that it shares out.
	Host bool
}

// Resource is a component that configs use by its label.
type Resource struct {
	// Type is cache, input, output, processor or rate_limit.
	Type string
	// ID is the label. Config carries it as well.
	ID string
	// Config is the component's config.
	Config []byte
	// Check asks for this one to be linted and built.
	Check bool
	// Posted is the config as it was posted, which is what is linted. It need
	// only be there with Check.
	Posted []byte
	// Shared says that the runner uses the resource host's instance, under the
	// same label. Config names the component then, and nothing more.
	Shared bool
	// Generation is that of the resource, by which a resource host tells it from
	// an earlier one.
	Generation uint64
}

// Prepared describes a stream that is ready to run.
type Prepared struct {
	// Endpoints are the paths of the stream's HTTP endpoints. One that ends
	// in a slash serves everything below it.
	Endpoints []string
	// HTTPSocket is the unix socket they are served on.
	HTTPSocket string
	// Restless says why the stream has to run though nobody calls it: it takes
	// messages by itself, or may hold some. Empty when it need not.
	Restless string
}

// RejectionKind says why a config was refused.
type RejectionKind int

const (
	// RejectLint means that the config does not lint.
	RejectLint RejectionKind = iota + 1
	// RejectBuild means that it cannot be read or built.
	RejectBuild
	// RejectAddressInUse means that it binds an address which is in use,
	// perhaps by the very stream it is to replace.
	RejectAddressInUse
)

// Rejection is the refusal of a config: the config's fault, not the runner's.
type Rejection struct {
	Kind    RejectionKind
	Message string
	// Lints is filled for RejectLint.
	Lints []Lint
	// Address is the one of RejectAddressInUse, as host:port.
	Address string
}

// Error returns the message, or the first lint and how many more there are.
func (r *Rejection) Error() string {
	if r.Kind != RejectLint || len(r.Lints) == 0 {
		return r.Message
	}
	if len(r.Lints) == 1 {
		return "lint error: " + r.Lints[0].String()
	}
	return fmt.Sprintf("lint error: %s (and %d more)", r.Lints[0], len(r.Lints)-1)
}

// Lint is one finding of the engine's linter.
type Lint struct {
	// Line and Column count from 1; they are of the config as it was sent.
	Line, Column int
	Message      string
	// Resource is the id of the resource the lint is of, if it is of one.
	Resource string
}

// String gives the lint as the engine writes it: "(line,column) message".
func (l Lint) String() string {
	return fmt.Sprintf("(%d,%d) %s", l.Line, l.Column, l.Message)
}

// Readiness is the state of a stream's connections.
type Readiness struct {
	// Ready is true when every input and output is connected.
	Ready       bool
	Connections []Connection
	// Warnings are what somebody should know of the stream, for people.
	Warnings []string
	// LastError is the last one that the stream has logged; nil when there was
	// none.
	LastError *LoggedError
	// Own is what happens on the stream's own listener; nil when it has none.
	Own *OwnListener
}

// OwnListener is what happens on the listener that a stream has of its own.
type OwnListener struct {
	// InFlight are the calls that are being answered.
	InFlight int
	// Quiet is how long nothing has been under way, not even a connection that
	// has yet to say what it wants; 0 while anything is.
	Quiet time.Duration
}

// LoggedError is a line of a stream's log.
type LoggedError struct {
	At time.Time
	// Path is that of the component that logged it; empty when none did.
	Path string
	// Message is at most 1 KiB.
	Message string
}

// Connection is one input's or output's.
type Connection struct {
	// Path is the component's path in the config, without the root.
	Path      string
	Label     string
	Connected bool
	// Error says why it is not connected; empty when that is not known.
	Error string
}

// Event is something that happened to a stream.
type Event struct {
	// Finished is set when the stream ended by itself. Without any of these the
	// event only says that the caller is attached.
	Finished *Finished
	// Wanting says that the stream needs a connection to the resource host and
	// has none. It is told once for each that is missing.
	Wanting bool
}

// Finished is the end of a stream.
type Finished struct {
	// Error is empty when the stream ended well.
	Error string
	// Metrics are the stream's last ones.
	Metrics []Metric
}

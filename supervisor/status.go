package supervisor

import (
	"context"
	"time"

	"penstock/rpc"
	"penstock/supervisor/document"
	"penstock/supervisor/stats"
)

// Desired is what an operator wants of a stream.
type Desired string

// What may be desired of a stream.
const (
	DesiredRunning Desired = "running"
	DesiredPaused  Desired = "paused"
)

// Status is all there is to tell about one stream at one moment. It marshals
// to the answer of GET /streams/{id}/status.
type Status struct {
	ID      string  `json:"id"`
	Desired Desired `json:"desired"`
	State   State   `json:"state"`
	// Since is when the stream entered its state.
	Since time.Time `json:"since"`
	// Reason says why it does not run; empty when it does.
	Reason string `json:"reason,omitempty"`
	// Revision counts the changes of the config, from 1.
	Revision uint64 `json:"revision"`
	// Origin is "api" or "file": who defined it last.
	Origin string `json:"origin"`
	// Restarts counts how often its runner was started again because it had
	// died, since the stream was created.
	Restarts uint64 `json:"restarts"`
	// PID is the runner's process id, 0 when there is none.
	PID int `json:"pid"`
	// Runner is the name of the runner that it runs on, and RunnerVersion the
	// version of its binary; both are empty when there is none.
	Runner        string `json:"runner"`
	RunnerVersion string `json:"runner_version"`
	// LogLevel is the least severe level of the stream's log.
	LogLevel string `json:"log_level"`
	// Connections are those of the stream at this moment. There are none when it
	// does not run. When its runner does not answer they are those that it told
	// of last, if it ever did: Unanswered says so.
	Connections []Connection `json:"connections"`
	Unanswered  string       `json:"unanswered,omitempty"`
	// LastError is the last one that the stream has logged since its runner
	// started; nil if none was.
	LastError *LastError `json:"last_error"`
	// LastExit says how the stream's last runner ended; nil if none has.
	LastExit *LastExit `json:"last_exit"`
	// Isolation says what keeps the stream away from everything else.
	Isolation Isolation `json:"isolation"`
	// Calls are those that the stream has now.
	Calls Calls `json:"calls"`
	// Listen is the stream's own listener; nil when its config names none.
	Listen *Listener `json:"listen"`
	// Replicas are the runners of a stream that has several, of which the above
	// tells about the first alone, but for Calls; nil for any other.
	Replicas *Replicas `json:"replicas"`
	// Usage is what the stream uses of what can be limited, since its runner
	// started; nil when it has none.
	Usage *stats.Usage `json:"usage"`
	// Warnings are what somebody should look at though the stream runs.
	Warnings []string `json:"warnings"`
}

// Calls counts the calls of a stream's own endpoints.
type Calls struct {
	// InFlight are being answered. An answer that goes on, and a websocket, is
	// for as long as it does.
	InFlight int `json:"in_flight"`
	// Waiting wait for their turn.
	Waiting int `json:"waiting"`
}

// Listener is a stream's own.
type Listener struct {
	// Address is ADDRESS:PORT.
	Address string `json:"address"`
	// Open says that who connects there is answered, or waits for the stream to
	// be started.
	Open bool `json:"open"`
}

// Connection is one input's or output's.
type Connection struct {
	Path      string `json:"path"`
	Label     string `json:"label"`
	Connected bool   `json:"connected"`
	// Error says why it is not connected; empty when that is not known.
	Error string `json:"error"`
}

// LastError is a line of a stream's log.
type LastError struct {
	At time.Time `json:"at"`
	// Path is that of the component that logged it; empty when none did.
	Path string `json:"path"`
	// Message is at most 1 KiB.
	Message string `json:"message"`
}

// LastExit says how a runner ended.
type LastExit struct {
	// Reason is exited, signaled, oom or disk (it exceeded that limit), killed
	// (by the supervisor) or lost (nobody was there to see it).
	Reason string `json:"reason"`
	// Code is the exit code, -1 when a signal ended the process or none is
	// known.
	Code int `json:"code"`
	// Signal is the name of the signal that ended it, empty for none.
	Signal string    `json:"signal"`
	At     time.Time `json:"at"`
	// Message holds the first lines of a panic, or why the stream ended.
	Message string `json:"message"`
	// UsedBytes and LimitBytes are what it used at its peak and might have
	// used, for the reasons oom and disk; 0 otherwise.
	UsedBytes  uint64 `json:"used_bytes,omitempty"`
	LimitBytes uint64 `json:"limit_bytes,omitempty"`
}

// Revision is one config that a stream had, or has.
type Revision struct {
	// Number counts from 1; Rollback takes it.
	Number uint64
	At     time.Time
	// Origin is "api" or "file".
	Origin string
	// Chilled says that lint errors were overridden.
	Chilled  bool
	Document *document.Document
}

// Status tells all about one stream, or fails with ErrNotFound. It asks the
// runner for its connections, and does not wait for long.
func (s *Supervisor) Status(ctx context.Context, id string) (Status, error) {
	st, err := s.find(id)
	if err != nil {
		return Status{}, err
	}
	v := st.seen.Load()
	status, own := s.statusOf(ctx, st, v)
	if address := v.spec.options.HTTP.Listen; address != "" {
		status.Listen = &Listener{Address: address, Open: s.sockets.open(id, address)}
	}
	var others int
	status.Replicas, others = s.replicaStatus(ctx, st, v, replicaOf(status, v, own))
	status.Calls.InFlight, status.Calls.Waiting = st.gate.load()
	status.Calls.InFlight += own + others
	return status, nil
}

// statusOf is all of a status that is about one runner. ownCalls are those that
// have come by the stream's own listener.
func (s *Supervisor) statusOf(ctx context.Context, st *stream, v *view) (status Status, ownCalls int) {
	status = Status{
		ID: st.id, Desired: DesiredRunning, State: v.state, Since: v.since, Reason: v.reason,
		Revision: v.revision, Origin: string(v.origin), Restarts: v.restarts, LogLevel: v.logLevel,
		Connections: []Connection{}, LastExit: v.lastExit, Isolation: s.isolation(v), Warnings: []string{},
	}
	if v.paused {
		status.Desired = DesiredPaused
	}
	if v.current == nil {
		return status, 0
	}
	status.PID = v.current.proc.PID()
	status.Runner, status.RunnerVersion = v.current.runner, v.current.version
	status.Usage = s.usage(v)
	if !v.active() {
		return status, 0
	}
	known, err := v.current.readiness(ctx, s.cfg.Timeouts.RPC)
	status.Unanswered = unanswered(known, err)
	if known == nil {
		return status, 0
	}
	status.Warnings = append(status.Warnings, known.Warnings...)
	if known.Own != nil {
		ownCalls = known.Own.InFlight
	}
	if e := known.LastError; e != nil {
		status.LastError = &LastError{At: e.At, Path: e.Path, Message: e.Message}
	}
	for _, c := range known.Connections {
		status.Connections = append(status.Connections, connection(c))
	}
	return status, ownCalls
}

func connection(c rpc.Connection) Connection {
	return Connection{Path: c.Path, Label: c.Label, Connected: c.Connected, Error: c.Error}
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"penstock/rpc"
	"penstock/supervisor/document"
	"penstock/supervisor/stats"
)

// maxQuestions bounds how many runners are asked at the same time. Questions
// cost little, and those that hang must not keep the others waiting.
const maxQuestions = 256

// Snapshot is what can be told of a stream without asking anybody.
type Snapshot struct {
	ID    string
	State State
	// Active is true while the stream runs.
	Active bool
	// Uptime is how long it has been running, or ran when it last did.
	Uptime time.Duration
	// Reason says why it does not run; empty when it does or when it ended
	// well.
	Reason string
	// Revision counts the changes of the config, from 1.
	Revision uint64
	// PID is the runner's process id, 0 when there is none.
	PID int
	// Document is the config as it was posted.
	Document *document.Document
}

func (v *view) active() bool {
	return v.state == StateRunning && v.current != nil && v.current.alive()
}

func (v *view) uptime() time.Duration {
	if v.current != nil {
		return time.Since(v.current.startedAt)
	}
	return v.ranFor
}

func (s *stream) snapshot() Snapshot {
	v := s.seen.Load()
	snap := Snapshot{
		ID: s.id, State: v.state, Active: v.active() || v.state == StateIdle, Uptime: v.uptime(),
		Reason: v.reason, Revision: v.revision, Document: v.spec.doc,
	}
	if v.current != nil {
		snap.PID = v.current.proc.PID()
	}
	return snap
}

// whyDown says why a stream that is not active is not.
func (v *view) whyDown() string {
	switch {
	case v.reason != "":
		return v.reason
	case v.current != nil && !v.current.alive():
		// Its actor has not taken note yet.
		return "its runner " + v.current.proc.Exit().String()
	}
	return "it is " + string(v.state)
}

// Get returns one stream, or ErrNotFound.
func (s *Supervisor) Get(id string) (Snapshot, error) {
	st, err := s.find(id)
	if err != nil {
		return Snapshot{}, err
	}
	return st.snapshot(), nil
}

// List returns all streams, sorted by id.
func (s *Supervisor) List() []Snapshot {
	streams := s.existing()
	out := make([]Snapshot, 0, len(streams))
	for _, st := range streams {
		out = append(out, st.snapshot())
	}
	return out
}

// Fault is a stream that is not ready, and why.
type Fault struct {
	ID string
	// Replica is the number of the runner that is meant, of a stream that has
	// several; else 0.
	Replica int
	Reason  string
}

// Ready asks every stream for its connections, all at once, and returns those
// that are not ready, sorted by id. Streams that have ended do not count. A
// runner that does not answer in time is a fault of its own stream only.
func (s *Supervisor) Ready(ctx context.Context) []Fault {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.RPC)
	defer cancel()
	streams := s.everyone()
	reasons := make([]string, len(streams))
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for i, st := range streams {
		group.Go(func() error {
			reasons[i] = st.seen.Load().fault(ctx)
			return nil
		})
	}
	_ = group.Wait()
	var faults []Fault
	for i, reason := range reasons {
		if reason != "" {
			faults = append(faults, Fault{ID: publicID(streams[i].id), Replica: streams[i].shownNumber(), Reason: reason})
		}
	}
	return faults
}

// fault says why a stream is not ready; empty when it is, or has ended.
func (v *view) fault(ctx context.Context) string {
	switch v.state {
	case StateFinished, StatePaused, StateStopped, StateIdle:
		return ""
	case StateRunning:
	case StateBackoff:
		return v.reason + "; it will be started again"
	case StateFailed:
		return "it has failed: " + v.reason
	default:
		if v.reason != "" {
			return fmt.Sprintf("it is %s again: %s", v.state, v.reason)
		}
		return "it is " + string(v.state)
	}
	readiness, err := v.current.proc.Ready(ctx)
	switch {
	case !v.current.alive():
		return "its runner " + v.current.proc.Exit().String()
	case errors.Is(err, context.DeadlineExceeded):
		return "its runner does not answer"
	case err != nil:
		return err.Error()
	case readiness.Ready:
		return ""
	}
	return describe(readiness.Connections)
}

// describe names the connections that are down.
func describe(connections []rpc.Connection) string {
	var down []string
	for _, c := range connections {
		if c.Connected {
			continue
		}
		name := c.Path
		if c.Label != "" {
			name = fmt.Sprintf("%s (%s)", c.Path, c.Label)
		}
		why := strings.ReplaceAll(c.Error, "\n", " ")
		if why == "" {
			why = "not connected yet"
		}
		down = append(down, name+": "+why)
	}
	if len(down) == 0 {
		return "it has no connection yet"
	}
	return strings.Join(down, ", ")
}

// Stats reports a stream's statistics, of all its runners together. Without a
// runner they are the last ones of the stream; with one that does not answer the
// error wraps ErrUnavailable.
func (s *Supervisor) Stats(ctx context.Context, id string) (stats.Report, error) {
	st, err := s.find(id)
	if err != nil {
		return stats.Report{}, err
	}
	all := []*stream{st}
	for _, replica := range st.replicas.all() {
		if replica.seen.Load() != nil {
			all = append(all, replica)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.RPC)
	defer cancel()
	reports := make([]stats.Report, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, st := range all {
		group.Go(func() (err error) {
			reports[i], err = s.report(ctx, st)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return stats.Report{}, err
	}
	return stats.Sum(reports), nil
}

// report is what one runner has counted.
func (s *Supervisor) report(ctx context.Context, st *stream) (report stats.Report, err error) {
	v, id := st.seen.Load(), publicID(st.id)
	report = stats.Report{Stream: id, Config: v.spec.engine.Value(), Metrics: v.last, Process: v.lastProcess, Uptime: v.uptime()}
	if !v.active() {
		return report, nil
	}
	if report.Metrics, err = v.current.proc.Stats(ctx); err != nil {
		return stats.Report{}, fmt.Errorf("%w: statistics of stream %q: %w", ErrUnavailable, id, err)
	}
	report.Process = s.figures(v.current)
	report.Usage = s.usage(v)
	return report, nil
}

// figures reads what the runner's process uses; nil when it has just gone.
func (s *Supervisor) figures(inst *instance) *stats.Process {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeouts.RPC)
	defer cancel()
	figures, err := stats.ReadProcess(ctx, inst.proc.PID())
	if err != nil {
		s.log.Debug("the process's figures cannot be read", zap.Int("pid", inst.proc.PID()), zap.Error(err))
		return nil
	}
	return &figures
}

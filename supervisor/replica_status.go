package supervisor

import (
	"context"
	"sync"
	"time"

	"penstock/supervisor/stats"
)

// Replicas says of the runners of a stream that has several how they are.
type Replicas struct {
	// Min and Max are what the stream's config asks for.
	Min int `json:"min"`
	Max int `json:"max"`
	// Desired is how many runners there are to be now, and Running how many can
	// be called.
	Desired int `json:"desired"`
	Running int `json:"running"`
	// Failure says why there are not as many as desired; empty when there are or
	// will be in a moment.
	Failure string `json:"failure,omitempty"`
	// Runners are all that there are. The first is the stream's own, which the
	// rest of its status is about.
	Runners []Replica `json:"runners"`
}

// Replica is one of the runners of a stream.
type Replica struct {
	// Number counts from 1. It tells the runners of a stream apart: in metrics, in
	// events and when asking for a log.
	Number int   `json:"number"`
	State  State `json:"state"`
	// Since is when it entered its state.
	Since time.Time `json:"since"`
	// Reason says why it does not run; empty when it does.
	Reason string `json:"reason,omitempty"`
	// PID is 0 when there is no process.
	PID int `json:"pid"`
	// Runner and RunnerVersion are as in the status of a stream.
	Runner        string `json:"runner"`
	RunnerVersion string `json:"runner_version"`
	// Restarts counts how often it was started again because it had died.
	Restarts uint64 `json:"restarts"`
	// Calls are those that it is answering.
	Calls int `json:"calls"`
	// Connections, Unanswered, LastError, LastExit and Usage are as in the status
	// of a stream.
	Connections []Connection `json:"connections"`
	Unanswered  string       `json:"unanswered,omitempty"`
	LastError   *LastError   `json:"last_error"`
	LastExit    *LastExit    `json:"last_exit"`
	Usage       *stats.Usage `json:"usage"`
}

// Replicated says that a stream has several runners, or is to have them.
func (s *Supervisor) Replicated(id string) bool {
	st, err := s.find(id)
	return err == nil && st.several()
}

// replicaStatus is nil for a stream that has one runner and is to have no more.
// first is the stream's own runner; ownCalls are those of all others that have
// come by the stream's own listener.
func (s *Supervisor) replicaStatus(ctx context.Context, st *stream, v *view, first Replica) (out *Replicas, ownCalls int) {
	if !st.several() {
		return nil, 0
	}
	aim := st.replicas.aim.Load()
	out = &Replicas{
		Min: max(v.spec.options.Replicas.Min, 1), Max: max(v.spec.options.Replicas.Max, 1),
		Desired: aim.runners, Failure: aim.failure, Runners: []Replica{first},
	}
	var others []*stream
	for _, replica := range st.replicas.all() {
		if replica.seen.Load() != nil {
			others = append(others, replica)
		}
	}
	out.Runners = append(out.Runners, make([]Replica, len(others))...)
	// All at once: one that hangs keeps nobody.
	var wg sync.WaitGroup
	calls := make([]int, len(others))
	for i, replica := range others {
		wg.Go(func() {
			v := replica.seen.Load()
			status, own := s.statusOf(ctx, replica, v)
			out.Runners[i+1], calls[i] = replicaOf(status, v, own), own
		})
	}
	wg.Wait()
	for _, own := range calls {
		ownCalls += own
	}
	for _, r := range out.Runners {
		if r.State == StateRunning && r.PID != 0 {
			out.Running++
		}
	}
	return out, ownCalls
}

func replicaOf(s Status, v *view, ownCalls int) Replica {
	out := Replica{
		Number: replicaNumber(s.ID), State: s.State, Since: s.Since, Reason: s.Reason, PID: s.PID, Restarts: s.Restarts,
		Runner: s.Runner, RunnerVersion: s.RunnerVersion,
		Connections: s.Connections, Unanswered: s.Unanswered, LastError: s.LastError, LastExit: s.LastExit, Usage: s.Usage,
		Calls: ownCalls,
	}
	if v.current != nil {
		out.Calls += int(v.current.load.Load())
	}
	return out
}

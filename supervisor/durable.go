package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/folder"
	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// record is the stream as the store keeps it.
func (s *stream) record() store.Stream {
	return store.Stream{
		ID: s.id, Definition: s.spec.definition(), Revision: s.revision, Paused: s.paused,
		LogLevel: s.logLevel, Origin: s.origin, ChangedAt: s.changedAt, Outcome: s.outcome,
		UID: s.sup.confiner.user(s.id),
	}
}

// runnerOf is what the next supervisor has to know of an instance to take it
// over; nil when that is not possible.
func (s *stream) runnerOf(inst *instance) *store.Runner {
	if inst == nil {
		return nil
	}
	return s.runnerWith(inst, inst.limits)
}

// runnerWith is runnerOf for an instance that is about to have other limits.
func (s *stream) runnerWith(inst *instance, limits options.Limits) *store.Runner {
	identity, err := inst.proc.Identity()
	if err != nil {
		s.log.Warn("the runner cannot be adopted by a later supervisor", zap.Int("pid", inst.proc.PID()), zap.Error(err))
		return nil
	}
	return &store.Runner{
		PID: identity.PID, StartTime: identity.StartTime, BootID: identity.BootID,
		Dir: identity.Dir, Socket: identity.Socket, UID: identity.UID,
		Runner: inst.runner, Version: inst.version, Protocol: inst.proc.Protocol(), Instance: inst.token,
		Revision: s.revision, Generation: inst.generation,
		HTTPSocket: inst.httpSocket, Endpoints: inst.endpoints, Prefix: s.sup.cfg.PrefixStreamEndpoints,
		Restless:  inst.restless,
		StartedAt: inst.startedAt, Restarts: s.restarts, LastExit: s.lastExitRecord(),
		Confinement: s.sup.confiner.fingerprint(), Limits: encodeLimits(limits),
	}
}

func (s *stream) lastExitRecord() []byte {
	if s.lastExit == nil {
		return nil
	}
	text, err := json.Marshal(s.lastExit)
	if err != nil {
		s.log.DPanic("encoding an exit", zap.Error(err))
	}
	return text
}

// keep puts a stream into the store, together with the runner that is to be
// adopted, or none. It does so only while the store has the revision expect of
// it; 0 means that it has no such stream.
func (s *Supervisor) keep(expect uint64, rec store.Stream, run *store.Runner) error {
	return s.store.Update(func(tx *store.Tx) error { return keepIn(tx, expect, rec, run) })
}

func keepIn(tx *store.Tx, expect uint64, rec store.Stream, run *store.Runner) error {
	if of := publicID(rec.ID); of != rec.ID {
		if _, found, err := tx.Stream(of); err != nil || !found {
			return errors.Join(err, errDeleted)
		}
	}
	switch old, found, err := tx.Stream(rec.ID); {
	case err != nil:
		return err
	case !found && expect != 0:
		return errDeleted
	case found && expect == 0:
		return ErrExists
	case found && old.Revision != expect:
		return ErrConflict
	}
	if err := tx.PutStream(rec); err != nil {
		return err
	}
	if run == nil {
		return tx.DeleteRunner(rec.ID)
	}
	return tx.PutRunner(rec.ID, *run)
}

// unkeep takes a stream out of the store that did not start. Where that fails
// the next of its id does so.
func (s *Supervisor) unkeep(id string) {
	err := s.store.Update(func(tx *store.Tx) error { return tx.DeleteStream(id) })
	s.strays.mark(id, err != nil)
	if err != nil {
		s.log.Error("the store keeps a stream that did not start", zap.String("stream", id), zap.Error(err))
	}
}

// clearStray takes a stream out of the store that unkeep could not.
func (s *Supervisor) clearStray(id string) error {
	if !s.strays.has(id) {
		return nil
	}
	if err := s.store.Update(func(tx *store.Tx) error { return tx.DeleteStream(id) }); err != nil {
		return err
	}
	s.strays.mark(id, false)
	return nil
}

// strayList are the ids that the store has and no stream.
type strayList struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (l *strayList) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids[id]
}

func (l *strayList) mark(id string, stray bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if stray {
		l.ids[id] = true
	} else {
		delete(l.ids, id)
	}
}

// amend changes what the store has of the stream and is not its definition.
func (s *stream) amend(change func(tx *store.Tx, rec *store.Stream) error) error {
	return s.sup.store.Update(func(tx *store.Tx) error {
		rec, found, err := tx.Stream(s.id)
		if err != nil {
			return err
		}
		if !found {
			return errDeleted
		}
		if err := change(tx, &rec); err != nil {
			return err
		}
		return tx.PutStream(rec)
	})
}

// amendRun is amend for what is true of the present revision only: where the
// store has a newer one, which is about to be put into force, it changes
// nothing.
func (s *stream) amendRun(change func(tx *store.Tx, rec *store.Stream) error) error {
	return s.amend(func(tx *store.Tx, rec *store.Stream) error {
		if rec.Revision != s.revision {
			return nil
		}
		return change(tx, rec)
	})
}

// keepRunner has the next supervisor find an instance that runs what the store
// has already.
func (s *stream) keepRunner(inst *instance) error {
	run := s.runnerOf(inst)
	return s.amendRun(func(tx *store.Tx, rec *store.Stream) error {
		rec.Outcome, rec.UID = nil, s.sup.confiner.user(s.id)
		if run == nil {
			return tx.DeleteRunner(s.id)
		}
		return tx.PutRunner(s.id, *run)
	})
}

// tryKeepRunner is keepRunner where failing it costs a restart of the stream
// in the next supervisor's time, which is no reason not to run it now.
func (s *stream) tryKeepRunner(inst *instance) {
	if err := s.keepRunner(inst); err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Warn("the store does not know of the runner: a later supervisor will start another", zap.Error(err))
	}
}

// noRunner is what the next supervisor is to know of a stream without one.
func (s *stream) noRunner() store.Runner {
	return store.Runner{
		Revision: s.revision, Restarts: s.restarts, LastExit: s.lastExitRecord(), GaveUp: s.state == StateFailed,
	}
}

// keepExit has the next supervisor know how the runner ended of a stream that
// is not started again.
func (s *stream) keepExit() {
	err := s.amendRun(func(tx *store.Tx, _ *store.Stream) error { return tx.PutRunner(s.id, s.noRunner()) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Warn("the store does not know how the runner ended: the next supervisor will not tell", zap.Error(err))
	}
}

// newOutcome is the end of a stream as the store keeps it.
func (s *stream) newOutcome(failure string) *store.Outcome {
	metrics, err := json.Marshal(s.last)
	if err != nil {
		s.log.DPanic("encoding the last statistics", zap.Error(err))
	}
	return &store.Outcome{Error: failure, At: time.Now(), RanFor: s.ranFor, Metrics: metrics}
}

// lastMetrics are the statistics of a stream that has finished.
func lastMetrics(o *store.Outcome) (metrics []rpc.Metric, err error) {
	if len(o.Metrics) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(o.Metrics, &metrics); err != nil {
		return nil, fmt.Errorf("reading the last statistics: %w", err)
	}
	return metrics, nil
}

// keepOutcome has the next supervisor know that the stream has finished.
func (s *stream) keepOutcome() {
	err := s.amendRun(func(tx *store.Tx, rec *store.Stream) error {
		rec.Outcome = s.outcome
		return tx.PutRunner(s.id, s.noRunner())
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Warn("the store does not know that the stream finished: a later supervisor will run it again", zap.Error(err))
	}
}

// keepOutput puts what the runtime of a runner printed, a panic most of all,
// into the stream's file of output. The runner has ended, and nobody else
// writes there.
func (s *stream) keepOutput(said []byte, err error) {
	if err == nil && len(said) > 0 {
		err = folder.Append(s.sup.streamDir(s.id), "output.log", said)
	}
	if err != nil {
		s.log.Warn("the runner's last words cannot be kept", zap.Error(err))
	}
}

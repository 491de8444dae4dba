package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/document"
	"penstock/supervisor/options"
	"penstock/supervisor/process"
	"penstock/supervisor/store"
)

// Start brings the streams of the store to life. The runners that an earlier
// supervisor left are adopted when it returns; streams that have none are
// started from then on. It is called once, before any change.
func (s *Supervisor) Start(ctx context.Context) error {
	stored := s.stored
	s.stored = store.State{}
	if err := s.recallResources(stored); err != nil {
		return s.unusable(err)
	}
	if err := s.dropOrphans(stored); err != nil {
		return err
	}
	specs := make(map[string]spec, len(stored.Streams))
	for id, rec := range stored.Streams {
		sp, err := s.recallSpec(rec)
		if err != nil {
			return s.unusable(err)
		}
		specs[id] = sp
	}
	for id, rec := range stored.Streams {
		s.confiner.claim(id, rec.UID)
	}
	streams, err := s.reserveStored(ctx, specs)
	if err != nil {
		return err
	}
	var recalled sync.WaitGroup
	for _, st := range streams {
		recalled.Add(1)
		st.tell(func() {
			defer recalled.Done()
			st.recall(specs[st.id], stored.Streams[st.id], stored.Runners[st.id])
		})
	}
	recalled.Wait()
	var keep []string
	for _, st := range streams {
		if st.seen.Load().current != nil {
			keep = append(keep, stored.Runners[st.id].Dir)
		}
	}
	if over := s.confiner.rooms.over(); over > 0 {
		s.log.Warn("the memory limits of the streams exceed what limits.host_memory_share leaves them", zap.Int64("bytes", over))
	}
	s.watchers.Go(func() { s.clear(streams, keep) })
	// Now every stream is known: one that is not was deleted.
	s.calls.Start()
	return nil
}

// reserveStored takes the ids of what the store has, of streams before those of
// their replicas.
func (s *Supervisor) reserveStored(ctx context.Context, specs map[string]spec) ([]*stream, error) {
	streams := make([]*stream, 0, len(specs))
	byID := map[string]*stream{}
	for id := range specs {
		if publicID(id) != id {
			continue
		}
		st, err := s.reserveAnew(ctx, id)
		if err != nil {
			return nil, err
		}
		byID[id] = st
		streams = append(streams, st)
		if st.isHost() {
			s.watchers.Go(func() { s.patrolHost(st) })
		}
	}
	for id, sp := range specs {
		of := publicID(id)
		if of == id {
			continue
		}
		replica, err := s.reserveReplica(ctx, byID[of], replicaNumber(id))
		if err != nil {
			return nil, err
		}
		specs[id] = sp.ofReplica()
		streams = append(streams, replica)
	}
	return streams, nil
}

// clear ends what earlier supervisors left and nobody has adopted, and then
// lets streams start.
func (s *Supervisor) clear(streams []*stream, keep []string) {
	s.launcher.EndOthers(keep)
	if err := s.confiner.sweep(keep); err != nil {
		s.log.Warn("cgroups of an earlier supervisor's runners are left", zap.Error(err))
	}
	s.confiner.clean(s.cfg.DataDir, s.log)
	s.dropAllStrayFiles()
	close(s.cleared)
	s.watchers.Go(func() { s.pool.run(s.root) })
	for _, st := range streams {
		// One that is being changed meanwhile does not delay the others.
		s.watchers.Go(func() { st.tell(st.goOn) })
	}
}

// unusable names the file whose contents cannot be read.
func (s *Supervisor) unusable(err error) error {
	return fmt.Errorf("%w: %s: %w: put a backup of the file in its place, or move it away to begin without streams, which ends those that still run and removes their logs",
		store.ErrCorrupt, s.storePath(), err)
}

func (s *Supervisor) recallResources(stored store.State) error {
	for id, res := range stored.Resources {
		doc, err := document.Parse(res.Config)
		if err != nil {
			return fmt.Errorf("resource %q: %w", id, err)
		}
		recalled, err := newResource(res.Type, id, doc)
		if err != nil {
			return fmt.Errorf("resource %q: %w", id, err)
		}
		recalled.origin, recalled.generation = res.Origin, res.Generation
		s.resources.put(id, recalled)
	}
	s.resources.begin(stored.Generation)
	return nil
}

// recallSpec reads the config of a stored stream. One whose options this
// version does not know is not started: it would run without its limits.
func (s *Supervisor) recallSpec(rec store.Stream) (spec, error) {
	sp, err := specOf(rec.Definition)
	var lint *LintError
	switch {
	case errors.As(err, &lint):
		s.log.Error("the stream cannot be started: its options are not valid for this version",
			zap.String("stream", rec.ID), zap.Strings("lints", lint.Lints))
		doc, err := document.Parse(rec.Config)
		if err != nil {
			return spec{}, err
		}
		engine, _, err := doc.Split(optionsKey)
		if err != nil {
			return spec{}, err
		}
		defaults, _ := options.Parse(nil, options.Allowed{})
		return spec{doc: doc, engine: engine, options: defaults, chilled: rec.Chilled, allowTests: rec.AllowTests, fault: "this version does not know its options: " + lint.Error()}, nil
	case err != nil:
		return spec{}, fmt.Errorf("stream %q: %w", rec.ID, err)
	}
	return sp, nil
}

// recall is the first thing the actor of a stored stream does: it puts the
// stream where it was. run is the zero value when no runner is known.
func (s *stream) recall(sp spec, rec store.Stream, run store.Runner) {
	defer close(s.born)
	defer s.settle()
	s.spec, s.revision, s.changedAt, s.origin = sp, rec.Revision, rec.ChangedAt, rec.Origin
	s.paused, s.restarts, s.lastExit = rec.Paused, run.Restarts, decodeExit(run.LastExit)
	if rec.LogLevel != "" {
		s.logLevel = rec.LogLevel
	}
	switch {
	case rec.Paused:
		s.reason = "it is paused"
		s.move(eventPaused)
	case rec.Outcome != nil && sp.options.Restart.Policy != options.PolicyAlways:
		s.recallOutcome(rec.Outcome)
	case run.PID != 0:
		s.adopt(run)
	case run.Idle && run.Revision == rec.Revision && run.Prefix == s.sup.cfg.PrefixStreamEndpoints && (sp.options.IdleTimeout > 0 || s.of != nil):
		s.recallIdle(run)
	case run.GaveUp && run.Revision == rec.Revision:
		s.reason = "it failed under an earlier supervisor"
		if s.lastExit != nil {
			s.reason = "its last runner " + s.lastExit.String()
			s.since = s.lastExit.At
		}
		s.moveAt(eventGiveUp, s.since)
	default:
		s.publish()
	}
}

func (s *stream) recallOutcome(o *store.Outcome) {
	metrics, err := lastMetrics(o)
	if err != nil {
		s.log.Warn("the last statistics are lost", zap.Error(err))
	}
	s.last, s.outcome, s.ranFor, s.reason = metrics, o, o.RanFor, o.Error
	if s.lastExit == nil {
		s.lastExit = &LastExit{Reason: "exited", At: o.At, Message: o.Error}
	}
	s.moveAt(eventFinish, o.At)
}

// adopt takes over the runner that an earlier supervisor left, if what the
// kernel knows of it agrees with the store. Whether the runner agrees is asked
// next; one that is slow to answer is not dead.
func (s *stream) adopt(run store.Runner) {
	if run.Revision != s.revision || run.Prefix != s.sup.cfg.PrefixStreamEndpoints || run.Confinement != s.sup.confiner.fingerprint() {
		s.sup.telemetry.Adopted("outdated")
		s.log.Info("the runner of the last supervisor is outdated and is replaced", zap.Int("pid", run.PID), zap.Uint64("revision", run.Revision))
		s.publish()
		return
	}
	if run.Protocol != rpc.ProtocolVersion {
		s.sup.telemetry.Adopted("refused")
		s.log.Warn("the runner of the last supervisor speaks another version of the protocol and is replaced",
			zap.Int("pid", run.PID), zap.Int("protocol", run.Protocol), zap.Int("known", rpc.ProtocolVersion))
		s.publish()
		return
	}
	proc, err := s.sup.launcher.Adopt(process.Identity{
		PID: run.PID, StartTime: run.StartTime, BootID: run.BootID, Dir: run.Dir, Socket: run.Socket, UID: run.UID,
	}, s.sup.confiner.hierarchy)
	if err != nil {
		s.missed(run, err)
		return
	}
	limits := decodeLimits(run.Limits)
	// What it is confined in is asked once more; a runner that has just ended
	// has nothing to tell.
	layers, err := s.sup.inspect(proc)
	if err != nil {
		s.log.Debug("the adopted runner's confinement cannot be read", zap.Int("pid", run.PID), zap.Error(err))
	}
	inst := &instance{
		proc: proc, endpoints: run.Endpoints, httpSocket: run.HTTPSocket, calls: multiplexed(proc, run.HTTPSocket),
		transport: socketTransport(proc, run.HTTPSocket),
		token:     run.Instance, runner: cmp.Or(run.Runner, catalogue.Core), version: run.Version, startedAt: run.StartedAt, generation: run.Generation,
		restless: run.Restless, adopted: true, limits: limits, layers: layers, follower: s.sup.follow(proc, s.id, limits),
	}
	inst.sharing.Store(int32(mayUse))
	s.current, s.lastPID, s.ranBefore = inst, run.PID, true
	s.endpoints = run.Endpoints
	s.gate.begin()
	s.lookForIdleness()
	s.moveAt(eventAdopt, run.StartedAt)
	s.sup.watchers.Go(func() { s.watch(inst) })
	s.sup.watchers.Go(func() { s.verify(inst) })
}

// missed takes note of a runner that is not there to be adopted.
func (s *stream) missed(run store.Runner, err error) {
	result := "foreign"
	if errors.Is(err, process.ErrGone) {
		result = "gone"
	}
	s.sup.telemetry.Adopted(result)
	s.lastPID = run.PID
	exit := s.sup.launcher.LastExit(run.Dir, s.sup.confiner.hierarchy)
	s.keepOutput(s.sup.launcher.LastStderr(run.Dir))
	s.log.Warn("the runner of the last supervisor cannot be adopted", zap.Int("pid", run.PID), zap.NamedError("reason", err), zap.Stringer("exit", exit))
	s.lastExit = s.explained(lastExit(exit))
	s.sup.telemetry.Exited(s.lastExit.Reason)
	if exit.Record != nil && exit.Record.Reason == rpc.ExitFinished {
		s.ranFor = exit.Record.At.Sub(run.StartedAt)
		s.last = exit.Record.Metrics
		s.finish(exit.Record.Error)
		return
	}
	s.reason = "its runner " + s.lastExit.String()
	told := exit.Record != nil && exit.Record.Reason != rpc.ExitFinished
	if told || errors.Is(err, process.ErrRebooted) || errors.Is(err, process.ErrEnded) {
		// It was told to end, or went with the system: no failure of the stream.
		s.publish()
		return
	}
	s.move(eventDie)
}

// verify asks an adopted runner who it is, for as long as that takes. One that
// is somebody else, or does not run the stream, is replaced.
func (s *stream) verify(inst *instance) {
	var identity rpc.Identity
	err := untilAnswered(s.life, inst.proc, func() (err error) {
		identity, err = inst.proc.Identify(s.life)
		return err
	})
	if err != nil && (s.life.Err() != nil || !inst.alive()) {
		// It has died, which is noticed elsewhere, or the stream is deleted.
		return
	}
	running := identity.Phase == rpc.PhaseRunning || identity.Phase == rpc.PhaseEnded
	if err == nil && running && identity.StreamID == publicID(s.id) && identity.Instance == inst.token {
		s.sup.telemetry.Adopted("adopted")
		known := usesNot
		if identity.Shares {
			known = uses
		}
		inst.sharing.CompareAndSwap(int32(mayUse), int32(known))
		if s.isHost() {
			s.sup.reshare(s.life)
		}
		s.log.Info("adopted runner", zap.Int("pid", inst.proc.PID()), zap.Uint64("revision", s.seen.Load().revision),
			zap.String("runner", identity.Version))
		s.regainSocket(inst)
		return
	}
	s.sup.telemetry.Adopted("refused")
	if err == nil && identity.Phase == rpc.PhaseLeaving && inst.leaves(s.life, s.sup.cfg.Timeouts.Stop) {
		return
	}
	s.tell(func() {
		if s.current != inst {
			return
		}
		s.log.Warn("the adopted runner does not run the stream and is replaced", zap.Int("pid", inst.proc.PID()), zap.NamedError("answer", err))
		s.reason = "the runner of the last supervisor did not run it"
		s.current = nil
		inst.discard()
		// That is no failure of the stream, which its policy would count.
		s.move(eventDie)
		s.startAnew()
	})
}

// leaves waits for a runner that drains to end, no longer than patience. That
// it has ended is noticed elsewhere.
func (i *instance) leaves(ctx context.Context, patience time.Duration) bool {
	select {
	case <-i.proc.Exited():
		return true
	case <-ctx.Done():
		return true
	case <-time.After(patience):
		return false
	}
}

// goOn starts a recalled stream that is to run and has no runner, and renews
// one whose runner has older resources than there are.
func (s *stream) goOn() {
	switch {
	case s.state == StatePending:
		s.start()
	case s.state == StateBackoff && s.owed:
		s.owed = false
		s.start()
	case s.state == StateBackoff && s.retry == nil:
		s.afterDeath()
	case s.current != nil && s.outdated():
		if err := s.renew(s.life, s.sup.cfg.Timeouts.Stop); err != nil {
			s.log.Error("the stream runs on with an older resource", zap.Error(err))
		}
	case s.current != nil:
		s.catchUpLimits()
	}
}

// outdated says whether a resource that the stream has an instance of is newer
// than its runner.
func (s *stream) outdated() bool {
	byID := s.sup.resources.snapshot()
	for id := range mentioned(s.spec.engine, byID) {
		if !sharedType(byID[id].typ) && byID[id].generation > s.current.generation {
			return true
		}
	}
	return false
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"penstock/supervisor/document"
	"penstock/supervisor/events"
	"penstock/supervisor/logs"
	"penstock/supervisor/store"
)

// Pause stops a stream and frees its process until Resume, over restarts of
// the supervisor too. One that is paused stays so.
func (s *Supervisor) Pause(ctx context.Context, id string, ch Change) error {
	st, err := s.find(id)
	if err != nil {
		return err
	}
	timeout := s.stopTimeout(ch)
	err = st.do(ctx, func(context.Context) error {
		if st.paused {
			return nil
		}
		if err := st.revert(); err != nil {
			return err
		}
		err := st.amend(func(tx *store.Tx, rec *store.Stream) error {
			rec.Paused, rec.Outcome = true, nil
			return tx.PutRunner(id, st.noRunner())
		})
		if err != nil {
			return err
		}
		defer st.settle()
		st.paused, st.outcome, st.reason = true, nil, "it is paused"
		st.forgive()
		st.retire(timeout)
		st.move(eventPaused)
		st.keepExit()
		st.log.Info("paused stream", zap.Int("pid", st.lastPID), zap.Uint64("revision", st.revision))
		return nil
	})
	if err != nil {
		return err
	}
	return st.replicas.settled(ctx)
}

// Resume runs a paused stream again. When it cannot be built any more it
// stays paused, and the error says why.
func (s *Supervisor) Resume(ctx context.Context, id string, _ Change) error {
	st, err := s.find(id)
	if err != nil {
		return err
	}
	err = st.do(ctx, func(ctx context.Context) error {
		if !st.paused {
			return nil
		}
		if err := st.revert(); err != nil {
			return err
		}
		if err := s.confiner.admit(id, st.spec); err != nil {
			return err
		}
		defer st.settle()
		inst, err := s.prepare(ctx, id, st.spec, s.resources.all(), st.logLevel)
		if err != nil {
			return err
		}
		run := st.runnerOf(inst)
		err = st.amend(func(tx *store.Tx, rec *store.Stream) error {
			rec.Paused = false
			if run == nil {
				return tx.DeleteRunner(id)
			}
			return tx.PutRunner(id, *run)
		})
		if err != nil {
			inst.discard()
			return err
		}
		st.paused, st.reason = false, ""
		st.move(eventStart)
		if err := st.launch(ctx, inst); err != nil {
			st.startFailed(err)
			return fmt.Errorf("it is resumed, and will be started again: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return st.replicas.settled(ctx)
}

// Restart gives a stream a new runner, also one that has finished or failed,
// and then each of its replicas that does not rest, one after the other. The old
// one serves until the new one is ready. It fails with ErrPaused.
func (s *Supervisor) Restart(ctx context.Context, id string, ch Change) error {
	st, err := s.find(id)
	if err != nil {
		return err
	}
	err = st.do(ctx, func(ctx context.Context) error {
		if st.paused {
			return ErrPaused
		}
		return st.renew(ctx, s.stopTimeout(ch))
	})
	if err != nil {
		return err
	}
	for _, replica := range st.replicas.all() {
		err := replica.do(ctx, func(ctx context.Context) error {
			if replica.state == StateIdle {
				// Its keeper starts it when it is needed.
				return nil
			}
			return replica.renew(ctx, s.stopTimeout(ch))
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return numbered(replicaNumber(replica.id), err)
		}
	}
	return st.replicas.settled(ctx)
}

// Revisions lists the configs that a stream had last, the present one first.
func (s *Supervisor) Revisions(id string) ([]Revision, error) {
	if _, err := s.find(id); err != nil {
		return nil, err
	}
	kept, err := s.store.Revisions(id)
	if err != nil {
		return nil, err
	}
	out := make([]Revision, 0, len(kept))
	for _, r := range kept {
		doc, err := document.Parse(r.Config)
		if err != nil {
			return nil, fmt.Errorf("revision %d of stream %q in the store: %w", r.Number, id, err)
		}
		out = append(out, Revision{Number: r.Number, At: r.At, Origin: string(r.Origin), Chilled: r.Chilled, Document: doc})
	}
	return out, nil
}

// Rollback makes the config of an earlier revision the stream's new one. A
// revision that is not kept is ErrNotFound.
func (s *Supervisor) Rollback(ctx context.Context, id string, revision uint64, ch Change) error {
	return s.revise(ctx, id, ch, func(spec) (spec, error) {
		kept, err := s.store.Revisions(id)
		if err != nil {
			return spec{}, err
		}
		i := slices.IndexFunc(kept, func(r store.Revision) bool { return r.Number == revision })
		if i < 0 {
			known := make([]string, len(kept))
			for i, r := range kept {
				known[i] = fmt.Sprint(r.Number)
			}
			return spec{}, fmt.Errorf("revision %d of stream %q: %w: the store has %s", revision, id, ErrNotFound, strings.Join(known, ", "))
		}
		sp, err := specOf(kept[i].Definition)
		sp.chilled = sp.chilled || ch.Chilled
		return sp, err
	})
}

// logLevels are those that a stream's log may have.
var logLevels = []string{"debug", "info", "warn", "error"}

// SetLogLevel sets the least severe level of a stream's log, for this runner
// and those that follow.
func (s *Supervisor) SetLogLevel(ctx context.Context, id, level string) error {
	st, err := s.find(id)
	if err != nil {
		return err
	}
	if !slices.Contains(logLevels, level) {
		return &InvalidError{fmt.Sprintf("log level %q is not valid: use one of %s", level, strings.Join(logLevels, ", "))}
	}
	if err := st.setLogLevel(ctx, level); err != nil {
		return err
	}
	return st.replicas.settled(ctx)
}

func (s *stream) setLogLevel(ctx context.Context, level string) error {
	return s.do(ctx, func(ctx context.Context) error {
		err := s.amend(func(_ *store.Tx, rec *store.Stream) error {
			rec.LogLevel = level
			return nil
		})
		if err != nil {
			return err
		}
		s.logLevel = level
		s.publish()
		if s.current == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, s.sup.cfg.Timeouts.RPC)
		defer cancel()
		if err := s.current.proc.SetLogLevel(ctx, level); err != nil {
			return fmt.Errorf("%w: the level is kept for the next runner of stream %q, but this one does not take it: %w", ErrUnavailable, publicID(s.id), err)
		}
		return nil
	})
}

// Log opens what a runner of a stream has logged, or what its components have
// printed. The number is that of the runner where the stream has several, else 1.
func (s *Supervisor) Log(id string, number int, q logs.Query) (*logs.Reader, error) {
	st, err := s.find(id)
	if err != nil {
		return nil, err
	}
	if number != 1 {
		id = replicaID(id, number)
		if !slices.ContainsFunc(st.replicas.all(), func(r *stream) bool { return r.id == id }) {
			return nil, &InvalidError{fmt.Sprintf("replica=%d: the stream has no runner %d now, it has 1 to %d", number, number, len(st.replicas.all())+1)}
		}
	}
	if err := q.Validate(); err != nil {
		return nil, &InvalidError{err.Error()}
	}
	return logs.Open(s.streamDir(id), q)
}

// Subscribe follows the transitions of one stream, or of all with an empty id,
// from after the event with the id after. Without one it begins with the next.
func (s *Supervisor) Subscribe(id, after string) (*events.Subscription, error) {
	if id != "" {
		if _, err := s.find(id); err != nil {
			return nil, err
		}
	}
	return s.hub.Subscribe(id, after), nil
}

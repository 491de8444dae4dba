package supervisor

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/options"
	"penstock/supervisor/watchdog"
)

// errNeedsNewRunner says that limits cannot be changed while the runner runs.
var errNeedsNewRunner = errors.New("these limits need a new runner")

// relimit is a change of the limits of a running instance.
type relimit struct {
	s        *stream
	inst     *instance
	from, to options.Limits
}

// relimit puts those of the limits into force that may be refused. What was put
// into force is either finished or taken back. On an error nothing has changed;
// errNeedsNewRunner says that the change is possible all the same.
func (s *stream) relimit(ctx context.Context, inst *instance, to options.Limits) (*relimit, error) {
	r := &relimit{s: s, inst: inst, from: inst.limits, to: to}
	if r.from == to {
		return r, nil
	}
	if err := r.possible(ctx); err != nil {
		return nil, err
	}
	if err := r.apply(ctx, r.from, to); err != nil {
		return nil, err
	}
	return r, nil
}

// possible says whether the process can be given the limits at all.
func (r *relimit) possible(ctx context.Context) error {
	sup := r.s.sup
	proc, from, to := r.inst.proc, r.from, r.to
	switch {
	case proc.Leaf() == nil && toCgroup(from) != toCgroup(to) && sup.confiner.hierarchy != nil,
		// What a process may have at most, only a new one can have more of.
		from.NoFile > 0 && to.NoFile == 0, from.Disk > 0 && to.Disk == 0,
		proc.Restrictable(uint64(to.NoFile), uint64(to.Disk)) != nil,
		// Its files of logs would grow beyond what it may write.
		sup.logMegabytes(from) != sup.logMegabytes(to):
		return errNeedsNewRunner
	}
	used := r.inst.watches.diskUsed()
	if from.Disk == 0 && to.Disk > 0 {
		// Nobody has looked so far. What cannot be measured the watch will find.
		used, _ = watchdog.MeasureDisk(ctx, func() int64 { return sup.logsSize(r.s.id) }, sup.streamDir(r.s.id), proc.Dir())
	}
	if to.Disk > 0 && used > int64(to.Disk) {
		return &InvalidError{fmt.Sprintf("field disk: the stream's files take %s, which is more than %s: remove some of them first", size(used), to.Disk)}
	}
	return nil
}

// apply has the kernel and the runner take the limits that can be changed back.
func (r *relimit) apply(ctx context.Context, from, to options.Limits) error {
	c, proc := r.s.sup.confiner, r.inst.proc
	leaf := proc.Leaf()
	if leaf != nil {
		switch err := leaf.Set(c.cgroupLimits(from), c.cgroupLimits(to)); {
		case errors.Is(err, cgroup.ErrBusy):
			return &InvalidError{fmt.Sprintf("the stream uses more memory than its new limit: %s: pause it, lower the limit and resume it", err)}
		case err != nil:
			return fmt.Errorf("changing the stream's limits: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.s.sup.cfg.Timeouts.RPC)
	defer cancel()
	err := proc.SetLimits(ctx, goLimits(to))
	if err == nil {
		return nil
	}
	if leaf != nil {
		if back := leaf.Set(c.cgroupLimits(to), c.cgroupLimits(from)); back != nil {
			r.s.log.Warn("the limits of a change that was not made stay in force until the runner ends", zap.Error(back))
		}
	}
	if errors.Is(err, rpc.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		// It is dying, or does not answer: the next one will.
		return errNeedsNewRunner
	}
	return fmt.Errorf("telling the runner of its limits: %w", err)
}

// takeBack undoes a change that is not made after all.
func (r *relimit) takeBack(ctx context.Context) {
	if r.from == r.to {
		return
	}
	if err := r.apply(context.WithoutCancel(ctx), r.to, r.from); err != nil {
		r.s.log.Error("the limits of a change that failed stay in force until the next start", zap.Error(err))
	}
}

// finish makes the rest of a change that stands: what cannot be refused any
// more, and cannot be taken back.
func (r *relimit) finish() {
	if r.from == r.to {
		return
	}
	if err := r.inst.proc.Restrict(uint64(r.to.NoFile), uint64(r.to.Disk)); err != nil {
		// It has ended just now.
		r.s.log.Warn("the runner does not take its limits of files", zap.Error(err))
	}
	r.inst.limits = r.to
	r.s.sup.rewatch(r.s.id, r.inst.proc, r.inst.watches, r.to)
}

// catchUpLimits gives an adopted runner the limits that it is to have under
// this server. Neither the store nor the last server's word counts for those of
// the kernel: a change may have been cut off.
func (s *stream) catchUpLimits() {
	if s.spec.fault != "" {
		// Nobody knows what they are to be.
		return
	}
	inst, c := s.current, s.sup.confiner
	to := c.of(s.spec.options.Limits)
	var err error
	if leaf := inst.proc.Leaf(); leaf != nil {
		var present cgroup.Limits
		if present, err = leaf.Limits(); err == nil && present != c.cgroupLimits(inst.limits) {
			if err = leaf.Set(present, c.cgroupLimits(inst.limits)); err == nil {
				ctx, cancel := context.WithTimeout(s.life, s.sup.cfg.Timeouts.RPC)
				err = inst.proc.SetLimits(ctx, goLimits(inst.limits))
				cancel()
			}
		}
	}
	if err == nil && (inst.limits.NoFile > 0 || inst.limits.Disk > 0) {
		// They are changed after the store, so that may have been cut off as well.
		err = inst.proc.Restrict(uint64(inst.limits.NoFile), uint64(inst.limits.Disk))
	}
	if err == nil && inst.limits != to {
		var change *relimit
		if change, err = s.relimit(s.life, inst, to); err == nil {
			change.finish()
			s.tryKeepRunner(inst)
			s.publish()
		}
	}
	if err != nil {
		s.log.Info("the adopted runner is replaced, since it cannot be given its limits", zap.NamedError("reason", err))
		err = s.renew(s.life, s.sup.cfg.Timeouts.Stop)
	}
	if err != nil && s.life.Err() == nil {
		s.log.Error("the stream runs on with the limits of the last supervisor", zap.Error(err))
	}
}

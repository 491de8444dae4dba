package supervisor

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"penstock/supervisor/cgroup"
	"penstock/supervisor/options"
)

// errNeedsNewRunner says that limits cannot be changed while the runner runs.
var errNeedsNewRunner = errors.New("these limits need a new runner")

// relimit changes the limits of a running instance. It returns how to undo
// that. On an error nothing has changed; errNeedsNewRunner says that the
// change is possible all the same.
func (s *stream) relimit(ctx context.Context, inst *instance, to options.Limits) (back func(), err error) {
	from := inst.limits
	if from == to {
		return func() {}, nil
	}
	if err := s.sup.applyLimits(ctx, s.id, inst, from, to); err != nil {
		return nil, err
	}
	inst.limits = to
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.sup.cfg.Timeouts.RPC)
		defer cancel()
		if err := s.sup.applyLimits(ctx, s.id, inst, to, from); err != nil {
			s.log.Error("the limits of a change that failed stay in force until the next start", zap.Error(err))
			return
		}
		inst.limits = from
	}, nil
}

// applyLimits puts other limits into force: the kernel's first, which may
// refuse them.
func (s *Supervisor) applyLimits(ctx context.Context, id string, inst *instance, from, to options.Limits) error {
	c := s.confiner
	proc := inst.proc
	leaf := proc.Leaf()
	if leaf == nil && toCgroup(from) != toCgroup(to) && c.hierarchy != nil {
		return errNeedsNewRunner
	}
	if to.NoFile != from.NoFile || to.Disk != from.Disk {
		// What a process may have at most, only a new one can have more of.
		if from.NoFile > 0 && to.NoFile == 0 || from.Disk > 0 && to.Disk == 0 || proc.Restrict(uint64(to.NoFile), uint64(to.Disk)) != nil {
			return errNeedsNewRunner
		}
	}
	if leaf != nil {
		switch err := leaf.Set(c.cgroupLimits(from), c.cgroupLimits(to)); {
		case errors.Is(err, cgroup.ErrBusy):
			return &InvalidError{fmt.Sprintf("the stream uses more memory than its new limit: %s: pause it, lower the limit and resume it", err)}
		case err != nil:
			return fmt.Errorf("changing the stream's limits: %w", err)
		}
	}
	if err := proc.SetLimits(ctx, goLimits(to)); err != nil {
		if leaf != nil {
			err = errors.Join(err, leaf.Set(c.cgroupLimits(to), c.cgroupLimits(from)))
		}
		return fmt.Errorf("telling the runner of its limits: %w", err)
	}
	s.rewatch(id, inst, to)
	return nil
}

// rewatch has the watches look for other limits.
func (s *Supervisor) rewatch(id string, inst *instance, to options.Limits) {
	w := inst.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case w.memory != nil:
		w.memory.SetLimit(uint64(to.Memory))
	case !s.confiner.memoryInCgroup() && to.Memory > 0:
		w.memory = s.watchMemory(inst.proc, to)
	}
	switch {
	case w.stopped:
	case w.disk != nil:
		w.disk.SetLimit(int64(to.Disk) + s.logsRoom())
	case to.Disk > 0:
		w.disk = s.watchDisk(inst.proc, id, to)
	}
}

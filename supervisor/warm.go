package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"penstock/supervisor/catalogue"
	"penstock/supervisor/options"
	"penstock/supervisor/process"
	"penstock/supervisor/sandbox"
)

// How a runner was started, for metrics.
const (
	startWarm = "warm"
	startCold = "cold"
)

// hostFiles tells the binaries that a runner is started by, and the files of the
// host that it shows its stream, from others that were put in their place: a
// runner that was started before sees the old ones.
func (s *Supervisor) hostFiles() string {
	var text strings.Builder
	binaries := []string{s.launcher.Binary(), s.confiner.launcher}
	for i, path := range slices.Concat(binaries, s.confiner.cfg.AllowExec, sandbox.HostFiles()) {
		info, err := os.Stat(path)
		if err != nil {
			// What cannot be had is as good as nothing, and the start says so.
			text.WriteString("-\n")
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			fmt.Fprint(&text, stat.Dev, " ", stat.Ino)
		}
		if i < len(binaries) {
			// One that was written over is executed as it is now.
			fmt.Fprint(&text, " ", info.Size(), " ", info.ModTime().UnixNano())
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// nobodys is the confinement of a runner that is started ahead.
func (s *Supervisor) nobodys() (process.Confinement, error) {
	c := s.confiner
	defaults, _ := options.Parse(nil, options.Allowed{})
	confinement, err := s.shared(defaults, c.of(options.Limits{}))
	if err != nil || confinement.Plan.Strict == nil {
		return process.ForNobody(confinement), err
	}
	streams := s.streamDir("")
	if err := os.MkdirAll(streams, 0o700); err != nil {
		return confinement, fmt.Errorf("making the folder of streams: %w", err)
	}
	confinement.Plan.Strict.Vacant = []string{filepath.Clean(streams)}
	return process.ForNobody(confinement), nil
}

// startAhead starts a runner for nobody yet; nil when the runner's binary is too
// old for that.
func (s *Supervisor) startAhead(ctx context.Context, of string) (_ *warmRunner, retErr error) {
	confinement, err := s.nobodys()
	if err != nil {
		return nil, err
	}
	proc, err := s.launcher.Start(ctx, confinement)
	if err != nil {
		return nil, err
	}
	w := &warmRunner{
		started: started{proc: proc, followed: s.follow(proc, "", options.Limits{})},
		in:      confinement, of: of, taken: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Start)
	defer cancel()
	identity, err := proc.Identify(ctx)
	if err == nil {
		w.files, err = proc.MostFiles()
	}
	if err != nil || !identity.CanAssume {
		w.kill()
		return nil, err
	}
	w.version = identity.Version
	if err = proc.Rehearse(ctx, s.confiner.policies); err == nil {
		err = proc.ComeForward(confinement)
	}
	if err != nil {
		w.kill()
		return nil, err
	}
	return w, nil
}

// started is a runner that has seen no config.
type started struct {
	proc     *process.Process
	followed *follower
	// version is that of its binary, if it has told already.
	version string
}

// startWarm takes a runner out of the pool and makes it the stream's. Without one
// it returns nil: then a runner is to be started. An error is one that a start
// would have as well.
func (s *Supervisor) startWarm(ctx context.Context, id string, opts options.Options, limits options.Limits) (*started, error) {
	if s.pool.empty() {
		return nil, nil
	}
	confinement, err := s.confinement(id, opts, limits)
	if err != nil {
		return nil, err
	}
	w := s.pool.take(confinement)
	if w == nil {
		return nil, nil
	}
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Start)
	defer cancel()
	if err := w.proc.Assume(limited, confinement, goLimits(limits)); err != nil {
		w.kill()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.pool.failed("a runner that was started ahead could not become a stream's: another is started", err)
		return nil, nil
	}
	s.pool.served()
	s.rewatch(id, w.proc, w.followed.watches, limits)
	s.telemetry.RunnerStarted(startWarm)
	s.log.Debug("took a runner that was started ahead", zap.String("stream", id), zap.Int("pid", w.proc.PID()))
	return &w.started, nil
}

// startCold starts a runner for a stream.
func (s *Supervisor) startCold(ctx context.Context, of *catalogue.Runner, id string, opts options.Options, limits options.Limits) (*started, error) {
	if err := s.starts.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.starts.Release(1)
	confinement, err := s.confinement(id, opts, limits)
	if err != nil {
		return nil, err
	}
	proc, err := s.launcher.StartBinary(ctx, of.Path, confinement)
	if err != nil {
		return nil, err
	}
	s.telemetry.RunnerStarted(startCold)
	return &started{proc: proc, followed: s.follow(proc, id, limits)}, nil
}

// startRunner returns a runner for a stream, in its confinement. Those that are
// started ahead are core runners: what most streams need, and the cheapest to have
// wait.
func (s *Supervisor) startRunner(ctx context.Context, of *catalogue.Runner, id string, opts options.Options, limits options.Limits) (*started, error) {
	if of.Name == catalogue.Core {
		runner, err := s.startWarm(ctx, id, opts, limits)
		if runner != nil || err != nil {
			return runner, err
		}
	}
	return s.startCold(ctx, of, id, opts, limits)
}

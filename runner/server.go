package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin"

	"penstock/rpc"
	"penstock/rpc/handover"
	"penstock/rpc/multiplex"
	"penstock/rpc/processors"
	"penstock/runner/engine"
	"penstock/runner/lone"
	"penstock/runner/share"
)

const (
	// selfStopGrace bounds the stop of a stream that no supervisor bounds.
	selfStopGrace = 20 * time.Second
	// trimDelay is how long after its start a runner gives the memory that
	// building took back to the system, and collects garbage as usual.
	trimDelay = 2 * time.Second
	// closeGrace is how long a runner whose stream was stopped waits to be
	// ended.
	closeGrace = time.Second
)

// server hosts one stream. It implements rpc.Runner.
type server struct {
	version string
	// dir is the runner's folder: its sockets, and the record of its end.
	dir      string
	listener net.Listener
	orphan   *orphanWatch
	own      ownListener
	// processors is told of the calls.
	processors *processors.Governor
	// link is the stream's way to the resource host.
	link *share.Link

	// named are the names that came with Prepare; nil before it.
	named atomic.Pointer[rpc.Identity]
	level slog.LevelVar
	logs  atomic.Pointer[logFiles]
	// stream stays nil when only resources were checked. No lock guards it:
	// a build that never returns must not keep the process from ending.
	stream atomic.Pointer[engine.Stream]
	// ready is closed once there is a stream.
	ready   chan struct{}
	running atomic.Bool
	// assumed is set when the runner has become a stream's.
	assumed atomic.Bool
	// leaving is set when the stream is stopped, by the supervisor or by the
	// process's own decision: its end is not its own then.
	leaving atomic.Bool

	endOnce sync.Once
	// ended is closed when the stream has ended and end says how.
	ended chan struct{}
	end   rpc.ExitRecord
}

var _ rpc.Runner = (*server)(nil)

var errLeaving = errors.New("the stream was stopped")

// newServer listens for the stream's HTTP requests beside the socket the
// supervisor chose for the contract.
func newServer(version string) (*server, error) {
	dir := os.Getenv(plugin.EnvUnixSocketDir)
	if dir == "" {
		return nil, fmt.Errorf("%s is not set: runners are started by penstock, not by hand", plugin.EnvUnixSocketDir)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "http.sock"))
	if err != nil {
		return nil, fmt.Errorf("listening for the stream's HTTP requests: %w", err)
	}
	s := &server{
		version:    version,
		dir:        dir,
		listener:   peerListener{listener},
		processors: processors.New(lone.Processors()),
		link:       share.NewLink(),
		ready:      make(chan struct{}),
		ended:      make(chan struct{}),
	}
	s.orphan = newOrphanWatch(func() { s.shutdown(rpc.ExitOrphaned) })
	return s, nil
}

// Prepare implements rpc.Runner.
func (s *server) Prepare(_ context.Context, req rpc.PrepareRequest) (rpc.Prepared, error) {
	level, err := parseLevel(req.LogLevel)
	if err != nil {
		return rpc.Prepared{}, err
	}
	if !s.named.CompareAndSwap(nil, &rpc.Identity{StreamID: req.StreamID, Instance: req.Instance}) {
		return rpc.Prepared{}, rpc.ErrPrepared
	}
	if !s.assumed.Load() {
		hurryCollector()
	}
	// Components are built by the number of processors that they will have: pools of
	// connections are as large as that.
	lone.End()
	s.level.Set(level)
	s.orphan.setTimeout(req.OrphanTimeout)
	if err := forgetHandshake(); err != nil {
		return rpc.Prepared{}, err
	}

	logs, err := openLogs(req.LogDir, req.StreamID, &s.level, req.LogMegabytes)
	if err != nil {
		return rpc.Prepared{}, err
	}
	s.logs.Store(logs)
	stream, err := engine.Prepare(req, logs.logger, s.link)
	if err != nil {
		return rpc.Prepared{}, err
	}
	if req.ResourcesOnly {
		return rpc.Prepared{}, nil
	}
	s.stream.Store(stream)
	close(s.ready)
	go s.awaitEnd(stream)
	go func() {
		// Serve ends when close closes the listener. It has no timeouts: only
		// the supervisor can reach the socket.
		_ = http.Serve(s.listener, handover.Handler(held{&s.own, s}, multiplex.Handler(s.called(stream.Handler()), restoreRemoteAddr(stream.Handler()))))
	}()
	return rpc.Prepared{Endpoints: stream.Paths(), HTTPSocket: s.listener.Addr().String(), Restless: engine.Restless(req.Config)}, nil
}

// Run implements rpc.Runner.
func (s *server) Run(context.Context) error {
	stream, err := s.current()
	if err != nil {
		return err
	}
	stream.Run()
	s.running.Store(true)
	s.own.run(s.called(ownHandler(stream.Prefix(), stream.Handler())), s.logs.Load().logger)
	time.AfterFunc(trimDelay, trim)
	return nil
}

// called has the processors told of each call.
func (s *server) called(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.processors.Call()
		next.ServeHTTP(w, r)
	})
}

// trim ends what was only good for the start.
func trim() {
	adaptCollector()
	debug.FreeOSMemory()
}

// Stop implements rpc.Runner.
func (s *server) Stop(ctx context.Context, grace time.Duration) (bool, error) {
	stream, err := s.current()
	if err != nil {
		return false, err
	}
	s.leaving.Store(true)
	defer func() {
		s.settle(stream, rpc.ExitStopped)
		// The supervisor ends the process, unless it has died meanwhile.
		time.AfterFunc(closeGrace, func() {
			s.close()
			os.Exit(0)
		})
	}()
	// A supervisor that dies does not cut the drain short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	s.own.leave(min(quietTime, grace/4))
	defer s.own.finish()
	if err := stream.Stop(ctx); err != nil {
		s.logs.Load().logger.Warn("The stream did not drain within its grace period", "grace", grace.String(), "error", err)
		return false, nil
	}
	return true, nil
}

// Ready implements rpc.Runner.
func (s *server) Ready(context.Context) (rpc.Readiness, error) {
	stream, err := s.current()
	if err != nil {
		return rpc.Readiness{}, err
	}
	ready, err := stream.Ready()
	ready.LastError = s.logs.Load().last.load()
	ready.Own = s.own.activity()
	return ready, err
}

// Stats implements rpc.Runner.
func (s *server) Stats(context.Context) ([]rpc.Metric, error) {
	stream, err := s.current()
	if err != nil {
		return nil, err
	}
	return stream.Metrics(), nil
}

// Events implements rpc.Runner.
func (s *server) Events(ctx context.Context, emit func(rpc.Event) error) error {
	s.orphan.attach()
	defer s.orphan.detach()
	if err := emit(rpc.Event{}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ready:
	}
	if err := s.tellWanting(ctx, emit); err != nil {
		return err
	}
	if s.end.Reason != rpc.ExitFinished {
		return errLeaving
	}
	return emit(rpc.Event{Finished: &rpc.Finished{Error: s.end.Error, Metrics: s.end.Metrics}})
}

// Identify implements rpc.Runner.
func (s *server) Identify(context.Context) (rpc.Identity, error) {
	var id rpc.Identity
	if named := s.named.Load(); named != nil {
		id = *named
	}
	id.Version, id.Phase, id.PID, id.CanAssume, id.Shares = s.version, s.phase(), os.Getpid(), canAssume, s.link.Used()
	return id, nil
}

func (s *server) phase() rpc.Phase {
	select {
	case <-s.ended:
		if s.end.Reason == rpc.ExitFinished {
			return rpc.PhaseEnded
		}
	default:
	}
	switch {
	case s.leaving.Load():
		return rpc.PhaseLeaving
	case s.running.Load():
		return rpc.PhaseRunning
	case s.stream.Load() != nil:
		return rpc.PhasePrepared
	}
	return rpc.PhaseFresh
}

// SetLogLevel implements rpc.Runner.
func (s *server) SetLogLevel(_ context.Context, name string) error {
	level, err := parseLevel(name)
	if err != nil {
		return err
	}
	s.level.Set(level)
	return nil
}

// SetLimits implements rpc.Runner.
func (s *server) SetLimits(_ context.Context, l rpc.Limits) error {
	if l.MemoryBytes < 0 || l.CPUs < 0 {
		return fmt.Errorf("the limits %+v are below zero: use 0 for none", l)
	}
	memory := int64(math.MaxInt64)
	if l.MemoryBytes > 0 {
		memory = l.MemoryBytes
	}
	debug.SetMemoryLimit(memory)
	lone.End()
	s.processors.Fix(l.CPUs > 0)
	if l.CPUs > 0 {
		runtime.GOMAXPROCS(l.CPUs)
	} else {
		runtime.SetDefaultGOMAXPROCS()
	}
	return nil
}

// current is the prepared stream that can run.
func (s *server) current() (*engine.Stream, error) {
	stream := s.stream.Load()
	if stream == nil {
		return nil, rpc.ErrNotPrepared
	}
	return stream, nil
}

// awaitEnd takes note when the stream has ended by itself.
func (s *server) awaitEnd(stream *engine.Stream) {
	<-stream.Done()
	if !s.leaving.Load() {
		s.own.leave(lastWords)
		s.settle(stream, rpc.ExitFinished)
	}
}

// settle records the stream's end, of which the first reason counts.
func (s *server) settle(stream *engine.Stream, reason rpc.ExitReason) {
	s.endOnce.Do(func() {
		s.end = rpc.ExitRecord{At: time.Now(), Reason: reason, Metrics: stream.Metrics()}
		if reason == rpc.ExitFinished && stream.Err() != nil {
			s.end.Error = stream.Err().Error()
		}
		if err := rpc.WriteExitRecord(s.dir, s.end); err != nil {
			s.logs.Load().logger.Error("The next supervisor will not know how the stream ended", "error", err)
		}
		close(s.ended)
	})
}

// shutdown ends the process from within, draining the stream first.
func (s *server) shutdown(reason rpc.ExitReason) {
	if s.leaving.Swap(true) && reason == rpc.ExitOrphaned {
		// The stream is being stopped, and the process ends after it.
		return
	}
	if stream, err := s.current(); err == nil {
		s.logs.Load().logger.Info("Stopping", "reason", string(reason))
		s.own.leave(quietTime)
		ctx, cancel := context.WithTimeout(context.Background(), selfStopGrace)
		if err := stream.Stop(ctx); err != nil {
			s.logs.Load().logger.Warn("The stream did not drain", "error", err)
		}
		cancel()
		s.own.finish()
		s.settle(stream, reason)
	}
	s.close()
	os.Exit(0)
}

// close releases what the process holds outside of itself.
func (s *server) close() {
	_ = s.listener.Close()
	if logs := s.logs.Load(); logs != nil {
		logs.close()
	}
}

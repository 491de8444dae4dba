package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin"

	"penstock/rpc"
	"penstock/runner/engine"
)

const (
	// selfStopGrace bounds the stop of a stream that no supervisor bounds.
	selfStopGrace = 20 * time.Second
	// trimDelay is how long after its start a runner gives the memory that
	// building took back to the system, and collects garbage as usual.
	trimDelay = 2 * time.Second
)

// server hosts one stream. It implements rpc.Runner.
type server struct {
	listener net.Listener
	orphan   *orphanWatch

	prepared atomic.Bool
	logs     atomic.Pointer[logFiles]
	// stream stays nil when only resources were checked. No lock guards it:
	// a build that never returns must not keep the process from ending.
	stream atomic.Pointer[engine.Stream]
	// ready is closed once there is a stream.
	ready chan struct{}
	// leaving is set when the process ends by its own decision: the end of
	// the stream is not the stream's then.
	leaving atomic.Bool
}

var _ rpc.Runner = (*server)(nil)

var errLeaving = errors.New("the runner is leaving")

// newServer listens for the stream's HTTP requests beside the socket the
// supervisor chose for the contract.
func newServer() (*server, error) {
	dir := os.Getenv(plugin.EnvUnixSocketDir)
	if dir == "" {
		return nil, fmt.Errorf("%s is not set: runners are started by penstock, not by hand", plugin.EnvUnixSocketDir)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "http.sock"))
	if err != nil {
		return nil, fmt.Errorf("listening for the stream's HTTP requests: %w", err)
	}
	s := &server{listener: listener, ready: make(chan struct{})}
	s.orphan = newOrphanWatch(func() { s.shutdown("no supervisor") })
	return s, nil
}

// Prepare implements rpc.Runner.
func (s *server) Prepare(_ context.Context, req rpc.PrepareRequest) (rpc.Prepared, error) {
	if !s.prepared.CompareAndSwap(false, true) {
		return rpc.Prepared{}, rpc.ErrPrepared
	}
	s.orphan.setTimeout(req.OrphanTimeout)

	logs, err := openLogs(req.LogDir, req.StreamID)
	if err != nil {
		return rpc.Prepared{}, err
	}
	s.logs.Store(logs)
	stream, err := engine.Prepare(req, logs.logger)
	if err != nil {
		return rpc.Prepared{}, err
	}
	if req.ResourcesOnly {
		return rpc.Prepared{}, nil
	}
	s.stream.Store(stream)
	close(s.ready)
	go func() {
		// Serve ends when close closes the listener. It has no timeouts: only
		// the supervisor can reach the socket.
		_ = http.Serve(s.listener, restoreRemoteAddr(stream.Handler()))
	}()
	return rpc.Prepared{Endpoints: stream.Paths(), HTTPSocket: s.listener.Addr().String()}, nil
}

// Run implements rpc.Runner.
func (s *server) Run(context.Context) error {
	stream, err := s.current()
	if err != nil {
		return err
	}
	stream.Run()
	time.AfterFunc(trimDelay, trim)
	return nil
}

// trim ends what was only good for the start.
func trim() {
	if os.Getenv("GOGC") == rpc.StartGOGC {
		debug.SetGCPercent(100)
	}
	debug.FreeOSMemory()
}

// Stop implements rpc.Runner.
func (s *server) Stop(ctx context.Context, grace time.Duration) (bool, error) {
	stream, err := s.current()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
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
	return stream.Ready()
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
	stream := s.stream.Load()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-stream.Done():
	}
	if s.leaving.Load() {
		return errLeaving
	}
	finished := &rpc.Finished{Metrics: stream.Metrics()}
	if err := stream.Err(); err != nil {
		finished.Error = err.Error()
	}
	return emit(rpc.Event{Finished: finished})
}

// current is the prepared stream that can run.
func (s *server) current() (*engine.Stream, error) {
	stream := s.stream.Load()
	if stream == nil {
		return nil, rpc.ErrNotPrepared
	}
	return stream, nil
}

// shutdown ends the process from within, draining the stream first.
func (s *server) shutdown(reason string) {
	s.leaving.Store(true)
	if stream, err := s.current(); err == nil {
		s.logs.Load().logger.Info("Stopping", "reason", reason)
		ctx, cancel := context.WithTimeout(context.Background(), selfStopGrace)
		if err := stream.Stop(ctx); err != nil {
			s.logs.Load().logger.Warn("The stream did not drain", "error", err)
		}
		cancel()
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

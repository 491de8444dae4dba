package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
	"penstock/runner/share"
)

// errStopped ends the build of a stream that is stopped before it ran.
var errStopped = errors.New("the stream was stopped before it ran")

// gracefulShare is how much of the time for a stop is given to a graceful one,
// in percent. It is upstream's.
const gracefulShare = 75

// Stream is one prepared stream. It runs at most once.
type Stream struct {
	stream *service.Stream
	// host is set in place of stream in a resource host.
	host      *host
	endpoints *endpoints
	metrics   *collector

	runOnce sync.Once
	endOnce sync.Once
	started chan struct{}
	done    chan struct{}
	err     error
}

// Prepare lints and builds a stream and returns it ready to run; nil when there
// are only resources to check. A config the engine does not take gives a
// *rpc.Rejection. Prepare takes as long as the engine does, which for a hostile
// config is for ever: the caller bounds it by ending the process.
//
// A resource host is returned as a stream that has no messages: what it cannot
// build is no rejection, since all else can be used. link is the way of any other
// stream to the host.
//
// It sets the environment of the whole process, and takes what the policy
// denies out of the whole process's engine.
func Prepare(req rpc.PrepareRequest, logger *slog.Logger, link *share.Link) (*Stream, error) {
	for name, value := range req.Environment {
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("setting environment variable %q: %w", name, err)
		}
	}
	linting, policy, err := restricted(req.Policy)
	if err != nil {
		return nil, err
	}
	req.Policy = policy
	if err := registerTemplates(linting, policy, req.Templates); err != nil {
		return nil, &rpc.Rejection{Kind: rpc.RejectBuild, Message: err.Error()}
	}
	if !req.Host {
		if rejection := lint(linting, req); rejection != nil {
			return nil, rejection
		}
	}
	env := service.GlobalEnvironment()
	kept, left := withoutDenied(linting, req)
	req.Resources = kept
	reject := func(err error) error { return rejectWith(err, left) }

	s := &Stream{
		endpoints: newEndpoints(req.StreamID, req.PrefixEndpoints),
		metrics:   newCollector(req.MaxSeries),
		started:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	if err := registerExporter(env, s.metrics); err != nil {
		return nil, err
	}
	if req.Host {
		return s, s.beHost(env, req, logger)
	}
	if err := errors.Join(registerStandIns(env, link, sharedLabels(req.Resources)), registerInproc(env, req.Policy, link)); err != nil {
		return nil, err
	}
	if req.ResourcesOnly {
		if err := prepareResources(env, req, logger); err != nil {
			return nil, reject(err)
		}
		return nil, nil
	}
	built, err := build(env, req, logger, s.endpoints)
	if err != nil {
		return nil, reject(err)
	}
	s.stream = built

	go func() {
		defer close(s.done)
		s.err = built.Run(context.Background())
	}()
	select {
	case <-s.endpoints.built:
	case <-s.done:
		return nil, reject(s.err)
	}
	if err := checkResources(built.Resources(), req.Resources); err != nil {
		return nil, reject(err)
	}
	return s, nil
}

// beHost makes the stream a resource host.
func (s *Stream) beHost(env *service.Environment, req rpc.PrepareRequest, logger *slog.Logger) error {
	s.host = newHost(env, req, logger)
	// In a host nobody but its own resources builds one.
	all := func(string) bool { return true }
	if err := registerStandIns(env, inside{s.host}, all); err != nil {
		return err
	}
	_ = s.host.share(req.Resources)
	go s.host.mend()
	return nil
}

// Share makes these the resources of a resource host; rpc.ErrNotPrepared when
// it is none.
func (s *Stream) Share(resources []rpc.Resource) ([]rpc.Refusal, error) {
	if s.host == nil {
		return nil, rpc.ErrNotPrepared
	}
	return s.host.share(resources), nil
}

// Serve answers a stream's runner of that name as a resource host until the
// connection ends, and closes it; rpc.ErrNotPrepared when it is none.
func (s *Stream) Serve(conn net.Conn, name string) error {
	if s.host == nil {
		return rpc.ErrNotPrepared
	}
	s.host.serve(conn, name)
	return nil
}

// Hosts says that the stream is a resource host.
func (s *Stream) Hosts() bool { return s.host != nil }

// variable is what ${NAME} stands for in a config: what came with it, and
// nothing of what the process has besides.
func variable(req rpc.PrepareRequest, name string) (string, bool) {
	value, ok := req.Environment[name]
	return value, ok
}

// Run starts the stream. Calls after the first do nothing.
func (s *Stream) Run() {
	s.runOnce.Do(func() {
		close(s.started)
		close(s.endpoints.gate)
	})
}

// Done is closed when the stream has ended, by itself or stopped.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err says how the stream ended; nil is a good end. Valid after Done.
func (s *Stream) Err() error { return s.err }

// Stop ends the stream: gracefully for most of the context's time, by force
// after that. A nil error means that everything in flight was delivered.
func (s *Stream) Stop(ctx context.Context) error {
	select {
	case <-s.done:
		return nil
	case <-s.started:
	default:
		if s.host != nil {
			break
		}
		// Nothing ran, so nothing can be lost; the process ends next.
		return errStopped
	}
	if s.host != nil {
		defer s.endOnce.Do(func() { close(s.done) })
		return s.host.shut(ctx)
	}
	// The engine reports a stop as good once it was forced, too. It is given
	// no deadline of its own, but ended when it is time to force: then it
	// forces, and says that it was ended.
	graceful, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if deadline, ok := ctx.Deadline(); ok {
		force := time.AfterFunc(time.Until(deadline)*gracefulShare/100, end)
		defer force.Stop()
	}
	go s.nudge(graceful)
	err := s.stream.Stop(graceful)
	if err == nil {
		return nil
	}
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	return err
}

// Paths are the paths of the stream's HTTP endpoints. One that ends in a
// slash serves everything below it.
func (s *Stream) Paths() []string { return s.endpoints.paths() }

// Prefix is what the paths of the endpoints begin with, without a slash after
// it; empty for none.
func (s *Stream) Prefix() string { return s.endpoints.prefix }

// Handler serves the stream's HTTP endpoints.
func (s *Stream) Handler() http.Handler { return s.endpoints }

// Ready reports the connections of the stream at this moment.
func (s *Stream) Ready() (rpc.Readiness, error) {
	if s.host != nil {
		readiness := s.host.readiness()
		readiness.Warnings = s.metrics.warnings()
		return readiness, nil
	}
	readiness, err := s.endpoints.readiness()
	readiness.Warnings = s.metrics.warnings()
	return readiness, err
}

// Metrics reports every metric of the stream, in no order.
func (s *Stream) Metrics() []rpc.Metric { return s.metrics.snapshot() }

// rejectWith turns what the engine says of a config into a rejection. Of a
// resource that was left out it adds why.
func rejectWith(err error, left []leftOut) error {
	rejection := &rpc.Rejection{Kind: rpc.RejectBuild, Message: err.Error()}
	for _, res := range left {
		if strings.Contains(err.Error(), "'"+res.id+"'") {
			rejection.Message += "; " + res.why
		}
	}
	var listen *net.OpError
	if errors.Is(err, syscall.EADDRINUSE) && errors.As(err, &listen) && listen.Addr != nil {
		rejection.Kind, rejection.Address = rpc.RejectAddressInUse, listen.Addr.String()
	}
	return rejection
}

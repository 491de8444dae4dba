package supervisor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"penstock/rpc"
	"penstock/rpc/multiplex"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/document"
	"penstock/supervisor/options"
	"penstock/supervisor/process"
	"penstock/supervisor/sandbox"
)

// instance is one runner that has built one spec.
type instance struct {
	proc       *process.Process
	endpoints  []string
	httpSocket string
	// calls is the way to its endpoints, and transport that of what leaves HTTP.
	calls     *multiplex.Client
	transport *http.Transport
	// token is what nobody but this runner was told: it tells it from every
	// other that may answer in its place.
	token string
	// runner is the name of the runner that it is, and version that of its binary.
	runner, version string
	// restless is why the stream has to run though nobody calls it.
	restless string
	// adopted says that an earlier supervisor started it.
	adopted bool
	// logLevel is the one that it was prepared with.
	logLevel string
	// traffic are the requests that it is being sent, and load counts all calls,
	// also those which may be cut short.
	traffic traffic
	load    atomic.Int64
	// leaving says that it is chosen for no call any more. The replicas' mu guards
	// it.
	leaving bool
	// startedAt is when it was ready to run.
	startedAt time.Time
	// generation is that of the resources it was built with.
	generation uint64
	// sharing is whether it uses the resource host, as a useOfHost.
	sharing atomic.Int32
	// limits are those in force.
	limits options.Limits
	// layers are what the kernel said it is confined in.
	layers sandbox.Layers
	// asked and told are the question for its connections that is under way,
	// and the last answer to one.
	asked singleflight.Group
	told  atomic.Pointer[readiness]
	*follower
}

// follower listens to a runner's events. It is what tells the runner that it
// has a supervisor, from its first moment to its last.
type follower struct {
	// unwatch ends the listening, and the watches.
	unwatch func()
	watches *watches
	// over is closed when there is nothing more to hear; finished is set then
	// if the stream has ended by itself.
	over     chan struct{}
	finished *rpc.Finished
	// wants holds one when the runner needs a connection to the resource host.
	wants chan struct{}
}

func (s *Supervisor) follow(proc *process.Process, id string, limits options.Limits) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	watches := s.watch(proc, id, limits)
	f := &follower{unwatch: func() { cancel(); watches.stop() }, watches: watches, over: make(chan struct{}), wants: make(chan struct{}, 1)}
	s.watchers.Go(func() {
		defer close(f.over)
		var finished *rpc.Finished
		// Why it ends otherwise shows in the process: it is dead, or it was
		// told to go.
		_ = untilAnswered(ctx, proc, func() error {
			return proc.Events(ctx, func(e rpc.Event) error {
				finished = e.Finished
				if e.Wanting {
					select {
					case f.wants <- struct{}{}:
					default:
					}
				}
				return nil
			})
		})
		f.finished = finished
	})
	return f
}

// askAgain is the pause between two attempts to reach a runner.
const askAgain = 200 * time.Millisecond

// untilAnswered asks a runner until it has answered or lives no more: one that
// was stopped for a while loses its connections and is none the worse for it.
func untilAnswered(ctx context.Context, proc *process.Process, ask func() error) error {
	for {
		err := ask()
		if !errors.Is(err, rpc.ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(askAgain):
		case <-proc.Exited():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// deathNotice bounds the wait for the exit of a runner whose connection broke.
const deathNotice = time.Second

// prepare starts a runner and has it lint and build sp with the given
// resources. A config that is refused gives an error that wraps ErrInvalid;
// its runner is gone then. The context bounds all of it.
func (s *Supervisor) prepare(ctx context.Context, id string, sp spec, resources resourceList, logLevel string) (*instance, error) {
	chosen, err := s.chooseHere(ctx, id, sp, resources.byID)
	if err != nil {
		return nil, err
	}
	list := toRPC(chosen.resources, "")
	if id == hostID {
		list, sp.options = sharedOut(chosen.resources), s.hostOptions(sp.options)
	}
	req := s.prepareRequest(id, list, sp.options)
	req.Host = id == hostID
	req.Config = sp.engine.Text()
	req.Instance = rand.Text()
	req.LogLevel = logLevel
	req.Chilled = sp.chilled
	req.AllowTests = sp.allowTests
	if sp.engine.LintDisabled() {
		req.Chilled = true
	}
	limits := s.confiner.of(sp.options.Limits)
	if err := s.confiner.check(limits); err != nil {
		return nil, err
	}
	if sp.fault != "" {
		return nil, &InvalidError{sp.fault}
	}
	if err := s.claimSocket(ctx, publicID(id), sp.options.HTTP.Listen); err != nil {
		return nil, err
	}
	runner, prepared, err := s.startPrepared(ctx, chosen.runner, id, req, sp.options, limits)
	if err != nil {
		return nil, explain(err, sp.engine, func(string) *document.Document { return nil })
	}
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Start)
	defer cancel()
	proc, followed, version := runner.proc, runner.followed, runner.version
	if version == "" {
		var identity rpc.Identity
		identity, err = proc.Identify(limited)
		version = identity.Version
	}
	var layers sandbox.Layers
	if err == nil && filepath.Dir(prepared.HTTPSocket) != proc.Dir() {
		err = fmt.Errorf("it names the socket %s, which is not in its folder", prepared.HTTPSocket)
	}
	if err == nil {
		layers, err = s.inspect(proc)
	}
	if err != nil {
		followed.unwatch()
		proc.Kill()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: the new runner cannot be made sure of: %w", ErrUnavailable, err)
	}
	inst := &instance{
		proc:       proc,
		endpoints:  prepared.Endpoints,
		httpSocket: prepared.HTTPSocket,
		calls:      multiplexed(proc, prepared.HTTPSocket),
		transport:  socketTransport(proc, prepared.HTTPSocket),
		token:      req.Instance,
		runner:     chosen.runner.Name,
		version:    version,
		restless:   prepared.Restless,
		logLevel:   logLevel,
		startedAt:  time.Now(),
		generation: resources.generation,
		limits:     limits,
		layers:     layers,
		follower:   followed,
	}
	if err := inst.suits(ctx, sp.options); err != nil {
		inst.discard()
		return nil, err
	}
	return inst, nil
}

// suits refuses options that do not go with what the stream is.
func (i *instance) suits(ctx context.Context, o options.Options) error {
	switch {
	case o.IdleTimeout > 0 && i.restless != "":
		return &InvalidError{fmt.Sprintf("runtime.idle_timeout is for streams that do nothing without a call, and %s: leave it out", i.restless)}
	case o.Replicas.Scales() && i.restless != "":
		return &InvalidError{fmt.Sprintf("runtime.replicas: min and max are for streams that do nothing without a call, and %s: write replicas as a number", i.restless)}
	case o.Replicas.Several():
		if address := i.proc.Listening(ctx, o.HTTP.Listen); address != "" {
			return &InvalidError{fmt.Sprintf("runtime.replicas: the stream listens on %s by itself, which only one runner can: leave replicas out, or have it listen by runtime.http.listen", address)}
		}
	}
	return nil
}

func (s *Supervisor) prepareRequest(id string, resources []rpc.Resource, opts options.Options) rpc.PrepareRequest {
	return rpc.PrepareRequest{
		StreamID:        publicID(id),
		Resources:       resources,
		Templates:       s.templates.all(),
		Environment:     s.variables(id, opts),
		PrefixEndpoints: s.cfg.PrefixStreamEndpoints,
		LogDir:          s.streamDir(id),
		LogMegabytes:    s.logMegabytes(s.confiner.of(opts.Limits)),
		OrphanTimeout:   s.cfg.OrphanTimeout,
		Policy:          s.confiner.policies,
		MaxSeries:       s.cfg.StreamMetrics.MaxSeries,
	}
}

// startPrepared takes or starts a runner, in its confinement, and calls Prepare on
// it. On an error there is no runner left: one that has seen a config is never
// another's.
func (s *Supervisor) startPrepared(ctx context.Context, of *catalogue.Runner, id string, req rpc.PrepareRequest, opts options.Options, limits options.Limits) (*started, rpc.Prepared, error) {
	// Until what an earlier supervisor left has ended: two runners of a stream
	// would take each other's input.
	select {
	case <-s.cleared:
	case <-ctx.Done():
		return nil, rpc.Prepared{}, ctx.Err()
	}
	defer s.pool.begin()()
	runner, err := s.startRunner(ctx, of, id, opts, limits)
	if err != nil {
		return nil, rpc.Prepared{}, err
	}
	proc, followed := runner.proc, runner.followed
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Prepare)
	defer cancel()
	prepared, err := proc.Prepare(limited, req)
	if err == nil {
		return runner, prepared, nil
	}

	var rejection *rpc.Rejection
	switch {
	case errors.As(err, &rejection):
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		err = &rpc.Rejection{Kind: rpc.RejectBuild, Message: fmt.Sprintf(
			"linting and building the config took longer than %s: look for mappings that compute constants at length", s.cfg.Timeouts.Prepare)}
	case diedSoon(proc, err):
		err = &rpc.Rejection{Kind: rpc.RejectBuild, Message: fmt.Sprintf(
			"the runner %s while it built the config", proc.Exit())}
	}
	followed.unwatch()
	proc.Kill()
	return nil, rpc.Prepared{}, err
}

// explain turns a runner's refusal into the error of this package, with
// positions of the text as it was posted.
func explain(err error, doc *document.Document, resource func(id string) *document.Document) error {
	var rejection *rpc.Rejection
	if !errors.As(err, &rejection) {
		return err
	}
	switch rejection.Kind {
	case rpc.RejectLint:
		out := &LintError{}
		for _, l := range rejection.Lints {
			of := doc
			if l.Resource != "" {
				of = resource(l.Resource)
			}
			if of != nil {
				l.Line, l.Column = of.Position(l.Line, l.Column)
			}
			out.Lints = append(out.Lints, l.String())
		}
		return out
	case rpc.RejectAddressInUse:
		return &addressInUseError{InvalidError{rejection.Message}, rejection.Address}
	case rpc.RejectBuild:
	}
	return &InvalidError{rejection.Message}
}

// multiplexed calls a runner's unix socket.
func multiplexed(proc *process.Process, socket string) *multiplex.Client {
	return multiplex.NewClient(func(ctx context.Context) (net.Conn, error) { return proc.Dial(ctx, socket) })
}

// hangUp ends the connections to the runner's endpoints that nothing is under
// way on, and lets nothing begin any more.
func (i *instance) hangUp() {
	i.calls.Close()
	i.transport.CloseIdleConnections()
}

// socketTransport speaks HTTP to a runner's unix socket. Connections are kept
// for as long as the runner lives; it never closes idle ones, so that none is
// closed just as a request takes it.
func socketTransport(proc *process.Process, socket string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return proc.Dial(ctx, socket)
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: maxIdlePerRunner,
	}
}

// maxIdlePerRunner is how many idle connections are kept to one runner.
const maxIdlePerRunner = 64

// end stops an instance within timeout: gracefully as far as that goes, by
// killing it at the end of it. What is to be collected of it is, when it has
// said its last words.
func (i *instance) end(timeout time.Duration, log *zap.Logger, collect func()) {
	// The reserve is for the answer to travel and for the process to exit.
	reserve := min(timeout/8, 250*time.Millisecond)
	kill := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(context.Background(), kill.Add(-reserve))
	defer cancel()
	drained, err := i.proc.Stop(ctx, time.Until(kill)-2*reserve)
	i.unwatch()
	i.hangUp()
	collect()
	i.proc.Close(ctx)
	log.Info("stopped stream", zap.Int("pid", i.proc.PID()), zap.Bool("drained", drained), zap.NamedError("stop_error", err))
}

// discard ends an instance that never ran.
func (i *instance) discard() {
	i.unwatch()
	i.hangUp()
	i.proc.Kill()
}

// alive reports whether the process still runs.
func (i *instance) alive() bool {
	select {
	case <-i.proc.Exited():
		return false
	default:
		return true
	}
}

// diedSoon reports whether err is because the process is dead or dying. The
// connection can break a moment before the exit is noticed.
func diedSoon(proc *process.Process, err error) bool {
	if !errors.Is(err, rpc.ErrUnavailable) {
		return false
	}
	select {
	case <-proc.Exited():
		return true
	case <-time.After(deathNotice):
		return false
	}
}

package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"penstock/rpc/runnerpb"
)

// NewGRPCServer is the grpc.Server a runner serves on. Its buffers are small:
// there is one server a stream, and it is idle nearly always.
func NewGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.ReadBufferSize(bufferBytes),
		grpc.WriteBufferSize(bufferBytes),
		grpc.HeaderTableSize(headerTableBytes),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
	)...)
}

// DialOptions are the supervisor's counterpart of NewGRPCServer. Unless it is
// nil, observe is told of every unary call of the contract when it is over: the
// method's name, without its service, and the error as gRPC gave it.
func DialOptions(observe func(method string, took time.Duration, err error)) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithReadBufferSize(answerBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithSharedWriteBuffer(true),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithStreamInterceptor(oursOnly),
		// A runner that was stopped for a while is found soon after it goes on.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 20 * time.Second,
		}),
	}
	if observe == nil {
		return options
	}
	return append(options, grpc.WithUnaryInterceptor(func(ctx context.Context, path string, req, reply any,
		conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		method, ours := strings.CutPrefix(path, servicePath)
		began := time.Now()
		err := invoke(ctx, path, req, reply, conn, opts...)
		if ours {
			observe(method, time.Since(began), err)
		}
		return err
	}))
}

const servicePath = "/penstock.runner.v1.RunnerService/"

// oursOnly keeps go-plugin from opening the streams of its broker and of the
// standard output, which we do not use. It would wait for a runner that is
// stopped, and lose the connection of one that dies then.
func oursOnly(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, path string,
	open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !strings.HasPrefix(path, servicePath) {
		return nil, status.Error(codes.Unimplemented, path+" is not used")
	}
	return open(ctx, desc, conn, path, opts...)
}

const (
	bufferBytes = 4 << 10
	// answerBytes is what a supervisor reads at once, which has as many buffers of
	// that size as runners. What is longer is read without the buffer.
	answerBytes = 1 << 10
	// headerTableBytes is what a supervisor remembers of the headers that it has
	// sent to a runner. With HTTP/2's own 4 KiB that is mostly the deadlines of its
	// last calls, none of which comes again.
	headerTableBytes = 512
	// windowBytes is how much may be under way. Were it not given, gRPC would find
	// it out by a ping in each direction for each call, and each is answered.
	windowBytes = 1 << 20
)

// server serves a Runner over gRPC.
type server struct {
	runnerpb.UnimplementedRunnerServiceServer
	impl Runner
}

func (s *server) Prepare(ctx context.Context, req *runnerpb.PrepareRequest) (*runnerpb.PrepareResponse, error) {
	prepared, err := s.impl.Prepare(ctx, prepareRequestFromProto(req))
	var rejection *Rejection
	if errors.As(err, &rejection) {
		return &runnerpb.PrepareResponse{Rejection: rejectionToProto(rejection)}, nil
	}
	if err != nil {
		return nil, toStatus(err)
	}
	return &runnerpb.PrepareResponse{Endpoints: prepared.Endpoints, HttpSocket: prepared.HTTPSocket, PolicyEnforced: true, Restless: prepared.Restless}, nil
}

func (s *server) Rehearse(ctx context.Context, req *runnerpb.RehearseRequest) (*runnerpb.RehearseResponse, error) {
	return &runnerpb.RehearseResponse{}, toStatus(s.impl.Rehearse(ctx, policyFromProto(req.GetPolicy())))
}

func (s *server) Assume(ctx context.Context, req *runnerpb.AssumeRequest) (*runnerpb.AssumeResponse, error) {
	return &runnerpb.AssumeResponse{}, toStatus(s.impl.Assume(ctx, assignmentFromProto(req)))
}

func (s *server) Run(ctx context.Context, _ *runnerpb.RunRequest) (*runnerpb.RunResponse, error) {
	return &runnerpb.RunResponse{}, toStatus(s.impl.Run(ctx))
}

func (s *server) Stop(ctx context.Context, req *runnerpb.StopRequest) (*runnerpb.StopResponse, error) {
	drained, err := s.impl.Stop(ctx, req.GetGrace().AsDuration())
	return &runnerpb.StopResponse{Drained: drained}, toStatus(err)
}

func (s *server) Ready(ctx context.Context, _ *runnerpb.ReadyRequest) (*runnerpb.ReadyResponse, error) {
	readiness, err := s.impl.Ready(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return readinessToProto(readiness), nil
}

func (s *server) Stats(ctx context.Context, _ *runnerpb.StatsRequest) (*runnerpb.StatsResponse, error) {
	metrics, err := s.impl.Stats(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &runnerpb.StatsResponse{Metrics: metricsToProto(metrics)}, nil
}

func (s *server) Events(_ *runnerpb.EventsRequest, stream grpc.ServerStreamingServer[runnerpb.EventsResponse]) error {
	return toStatus(s.impl.Events(stream.Context(), func(e Event) error {
		return stream.Send(eventToProto(e))
	}))
}

func (s *server) Identify(ctx context.Context, _ *runnerpb.IdentifyRequest) (*runnerpb.IdentifyResponse, error) {
	identity, err := s.impl.Identify(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return identityToProto(identity), nil
}

func (s *server) SetLogLevel(ctx context.Context, req *runnerpb.SetLogLevelRequest) (*runnerpb.SetLogLevelResponse, error) {
	return &runnerpb.SetLogLevelResponse{}, toStatus(s.impl.SetLogLevel(ctx, req.GetLevel()))
}

func (s *server) Share(ctx context.Context, req *runnerpb.ShareRequest) (*runnerpb.ShareResponse, error) {
	refusals, err := s.impl.Share(ctx, resourcesFromProto(req.GetResources()))
	if err != nil {
		return nil, toStatus(err)
	}
	out := &runnerpb.ShareResponse{}
	for _, r := range refusals {
		out.Refusals = append(out.Refusals, &runnerpb.Refusal{Id: r.ID, Message: text(r.Message)})
	}
	return out, nil
}

func (s *server) SetLimits(ctx context.Context, req *runnerpb.SetLimitsRequest) (*runnerpb.SetLimitsResponse, error) {
	l := Limits{MemoryBytes: req.GetMemoryBytes(), CPUs: int(req.GetCpus())}
	return &runnerpb.SetLimitsResponse{}, toStatus(s.impl.SetLimits(ctx, l))
}

package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"

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
	)...)
}

// DialOptions are the supervisor's counterpart of NewGRPCServer.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
	}
}

const bufferBytes = 4 << 10

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
	return &runnerpb.PrepareResponse{Endpoints: prepared.Endpoints, HttpSocket: prepared.HTTPSocket}, nil
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

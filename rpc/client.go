package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"penstock/rpc/runnerpb"
)

// Client speaks to a runner's process. It implements Runner.
type Client struct {
	service runnerpb.RunnerServiceClient
}

var _ Runner = (*Client)(nil)

// errPolicyUnknown keeps a stream from running without its policy.
var errPolicyUnknown = errors.New("the runner knows no component policy: it is older than the supervisor, upgrade penstock-runner")

// NewClient makes a Client of a connection to a runner.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{service: runnerpb.NewRunnerServiceClient(conn)}
}

// Prepare implements Runner.
func (c *Client) Prepare(ctx context.Context, req PrepareRequest) (Prepared, error) {
	resp, err := c.service.Prepare(ctx, prepareRequestToProto(req))
	if err != nil {
		return Prepared{}, fromStatus(err)
	}
	if resp.GetRejection() != nil {
		return Prepared{}, rejectionFromProto(resp.GetRejection())
	}
	if !req.Policy.Zero() && !resp.GetPolicyEnforced() {
		return Prepared{}, errPolicyUnknown
	}
	return Prepared{Endpoints: resp.GetEndpoints(), HTTPSocket: resp.GetHttpSocket(), Restless: resp.GetRestless()}, nil
}

// Rehearse implements Runner.
func (c *Client) Rehearse(ctx context.Context, policy ComponentPolicy) error {
	_, err := c.service.Rehearse(ctx, &runnerpb.RehearseRequest{Policy: policyToProto(policy)})
	return fromStatus(err)
}

// Assume implements Runner.
func (c *Client) Assume(ctx context.Context, a Assignment) error {
	_, err := c.service.Assume(ctx, assignmentToProto(a))
	return fromStatus(err)
}

// Run implements Runner.
func (c *Client) Run(ctx context.Context) error {
	_, err := c.service.Run(ctx, &runnerpb.RunRequest{})
	return fromStatus(err)
}

// Stop implements Runner.
func (c *Client) Stop(ctx context.Context, grace time.Duration) (bool, error) {
	resp, err := c.service.Stop(ctx, &runnerpb.StopRequest{Grace: durationpb.New(grace)})
	return resp.GetDrained(), fromStatus(err)
}

// Ready implements Runner.
func (c *Client) Ready(ctx context.Context) (Readiness, error) {
	resp, err := c.service.Ready(ctx, &runnerpb.ReadyRequest{})
	if err != nil {
		return Readiness{}, fromStatus(err)
	}
	return readinessFromProto(resp), nil
}

// Stats implements Runner.
func (c *Client) Stats(ctx context.Context) ([]Metric, error) {
	resp, err := c.service.Stats(ctx, &runnerpb.StatsRequest{})
	if err != nil {
		return nil, fromStatus(err)
	}
	return metricsFromProto(resp.GetMetrics()), nil
}

// Events implements Runner.
func (c *Client) Events(ctx context.Context, emit func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.service.Events(ctx, &runnerpb.EventsRequest{})
	if err != nil {
		return fromStatus(err)
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fromStatus(err)
		}
		if err := emit(eventFromProto(msg)); err != nil {
			return err
		}
	}
}

// Identify implements Runner.
func (c *Client) Identify(ctx context.Context) (Identity, error) {
	resp, err := c.service.Identify(ctx, &runnerpb.IdentifyRequest{})
	if err != nil {
		return Identity{}, fromStatus(err)
	}
	return identityFromProto(resp), nil
}

// SetLogLevel implements Runner.
func (c *Client) SetLogLevel(ctx context.Context, level string) error {
	_, err := c.service.SetLogLevel(ctx, &runnerpb.SetLogLevelRequest{Level: level})
	return fromStatus(err)
}

// SetLimits implements Runner.
func (c *Client) SetLimits(ctx context.Context, l Limits) error {
	_, err := c.service.SetLimits(ctx, &runnerpb.SetLimitsRequest{MemoryBytes: l.MemoryBytes, Cpus: int32(l.CPUs)})
	return fromStatus(err)
}

// Share implements Runner.
func (c *Client) Share(ctx context.Context, resources []Resource) ([]Refusal, error) {
	resp, err := c.service.Share(ctx, &runnerpb.ShareRequest{Resources: resourcesToProto(resources)})
	if err != nil {
		return nil, fromStatus(err)
	}
	var out []Refusal
	for _, r := range resp.GetRefusals() {
		out = append(out, Refusal{ID: r.GetId(), Message: r.GetMessage()})
	}
	return out, nil
}

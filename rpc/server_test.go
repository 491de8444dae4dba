package rpc

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"penstock/rpc/runnerpb"
)

// fake is a runner that knows who it is.
type fake struct {
	Runner
	level    string
	limits   Limits
	prepared PrepareRequest
}

func (f *fake) Prepare(_ context.Context, req PrepareRequest) (Prepared, error) {
	f.prepared = req
	return Prepared{HTTPSocket: "/socket"}, nil
}

func (*fake) Identify(context.Context) (Identity, error) {
	return Identity{StreamID: "s", Instance: "i", Version: "v", Phase: PhaseRunning, PID: 7}, nil
}

func (f *fake) SetLogLevel(_ context.Context, level string) error {
	if level == "loud" {
		return errors.New("no such level")
	}
	f.level = level
	return nil
}

func (f *fake) SetLimits(_ context.Context, l Limits) error {
	if l.CPUs < 0 {
		return errors.New("no such limit")
	}
	f.limits = l
	return nil
}

func (*fake) Run(context.Context) error { return ErrNotPrepared }

func serve(t *testing.T, impl Runner, options ...grpc.DialOption) *Client {
	t.Helper()
	return serveAs(t, &server{impl: impl}, options...)
}

func serveAs(t *testing.T, impl runnerpb.RunnerServiceServer, options ...grpc.DialOption) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	s := NewGRPCServer(nil)
	runnerpb.RegisterRunnerServiceServer(s, impl)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		assert.NoError(t, <-served)
	})
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("unix:"+socket, options...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return NewClient(conn)
}

func TestIdentifyAndLogLevel(t *testing.T) {
	ctx := context.Background()
	impl := &fake{}
	c := serve(t, impl)
	got, err := c.Identify(ctx)
	require.NoError(t, err)
	assert.Equal(t, Identity{StreamID: "s", Instance: "i", Version: "v", Phase: PhaseRunning, PID: 7}, got)
	require.NoError(t, c.SetLogLevel(ctx, "warn"))
	assert.Equal(t, "warn", impl.level)
	assert.EqualError(t, c.SetLogLevel(ctx, "loud"), "no such level")
}

func TestSetLimits(t *testing.T) {
	ctx := context.Background()
	impl := &fake{}
	c := serve(t, impl)
	want := Limits{MemoryBytes: 1 << 40, CPUs: 3}
	require.NoError(t, c.SetLimits(ctx, want))
	assert.Equal(t, want, impl.limits)
	assert.EqualError(t, c.SetLimits(ctx, Limits{CPUs: -1}), "no such limit")
}

// sharing is a resource host.
type sharing struct {
	fake
	has []Resource
}

func (s *sharing) Share(_ context.Context, resources []Resource) ([]Refusal, error) {
	if s.has != nil {
		return nil, ErrNotPrepared
	}
	s.has = resources
	return []Refusal{{ID: "b", Message: "no\xff"}}, nil
}

func (s *sharing) Events(_ context.Context, emit func(Event) error) error {
	return errors.Join(emit(Event{}), emit(Event{Wanting: true}))
}

func TestShare(t *testing.T) {
	ctx := context.Background()
	impl := &sharing{}
	c := serve(t, impl)
	want := []Resource{{Type: "cache", ID: "a", Config: []byte("memory: {}"), Generation: 7}, {Type: "rate_limit", ID: "b", Shared: true}}
	refusals, err := c.Share(ctx, want)
	require.NoError(t, err)
	assert.Equal(t, []Refusal{{ID: "b", Message: "no\uFFFD"}}, refusals)
	require.Len(t, impl.has, 2)
	assert.Equal(t, want[0], impl.has[0])
	assert.True(t, impl.has[1].Shared)
	_, err = c.Share(ctx, nil)
	require.ErrorIs(t, err, ErrNotPrepared)

	var told []bool
	require.NoError(t, c.Events(ctx, func(e Event) error {
		told = append(told, e.Wanting)
		return nil
	}))
	assert.Equal(t, []bool{false, true}, told)
	_, err = c.Prepare(ctx, PrepareRequest{Host: true})
	require.NoError(t, err)
	assert.True(t, impl.prepared.Host)
}

// older is a runner of before there were policies.
type older struct {
	runnerpb.UnimplementedRunnerServiceServer
}

func (older) Prepare(context.Context, *runnerpb.PrepareRequest) (*runnerpb.PrepareResponse, error) {
	return &runnerpb.PrepareResponse{}, nil
}

func TestPolicyIsKnownToTheRunnerOrRefused(t *testing.T) {
	ctx := context.Background()
	policy := ComponentPolicy{DenyDangerous: true}
	impl := &fake{}
	prepared, err := serve(t, impl).Prepare(ctx, PrepareRequest{Policy: policy})
	require.NoError(t, err)
	assert.Equal(t, "/socket", prepared.HTTPSocket)
	assert.Equal(t, policy, impl.prepared.Policy)

	c := serveAs(t, older{})
	_, err = c.Prepare(ctx, PrepareRequest{})
	require.NoError(t, err, "it needs to know none")
	_, err = c.Prepare(ctx, PrepareRequest{Policy: policy})
	assert.ErrorIs(t, err, errPolicyUnknown)
}

func TestCallsAreObserved(t *testing.T) {
	type call struct {
		method string
		took   time.Duration
		code   codes.Code
	}
	var calls []call
	c := serve(t, &fake{}, DialOptions(func(method string, took time.Duration, err error) {
		calls = append(calls, call{method, took, status.Code(err)})
	})...)
	_, err := c.Identify(context.Background())
	require.NoError(t, err)
	require.ErrorIs(t, c.Run(context.Background()), ErrNotPrepared)
	require.Len(t, calls, 2)
	for i, want := range []call{{"Identify", 0, codes.OK}, {"Run", 0, codes.FailedPrecondition}} {
		assert.Equal(t, want.method, calls[i].method)
		assert.Equal(t, want.code, calls[i].code)
		assert.Positive(t, calls[i].took)
	}
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestErrorsCrossTheWire is the contract of the one error mapping.
func TestErrorsCrossTheWire(t *testing.T) {
	for _, c := range []struct {
		sent error
		code codes.Code
		got  error
	}{
		{ErrNotPrepared, codes.FailedPrecondition, ErrNotPrepared},
		{fmt.Errorf("wrapped: %w", ErrNotPrepared), codes.FailedPrecondition, ErrNotPrepared},
		{ErrPrepared, codes.AlreadyExists, ErrPrepared},
		{context.Canceled, codes.Canceled, context.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded, context.DeadlineExceeded},
	} {
		onWire := toStatus(c.sent)
		assert.Equal(t, c.code, status.Code(onWire), "%v", c.sent)
		assert.ErrorIs(t, fromStatus(onWire), c.got)
	}

	assert.NoError(t, toStatus(nil))
	assert.NoError(t, fromStatus(nil))
	assert.Equal(t, codes.Internal, status.Code(toStatus(errors.New("disk on fire"))))
	assert.EqualError(t, fromStatus(toStatus(errors.New("disk on fire"))), "disk on fire")

	gone := fromStatus(status.Error(codes.Unavailable, "connection refused"))
	assert.ErrorIs(t, gone, ErrUnavailable)
	late := fromStatus(status.Error(codes.DeadlineExceeded, "context deadline exceeded"))
	assert.ErrorIs(t, late, ErrUnavailable, "a runner that hangs does not answer either")
}

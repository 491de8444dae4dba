package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrNotPrepared is returned by a call that needs a prepared stream.
	ErrNotPrepared = errors.New("no stream is prepared")
	// ErrPrepared is returned by a second Prepare.
	ErrPrepared = errors.New("a stream was prepared already: a runner hosts one")
	// ErrUnavailable is returned when the runner's process is gone or does not
	// answer.
	ErrUnavailable = errors.New("the runner does not answer")
)

// toStatus is the one place where errors become gRPC codes.
func toStatus(err error) error {
	code := codes.Internal
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotPrepared):
		code = codes.FailedPrecondition
	case errors.Is(err, ErrPrepared):
		code = codes.AlreadyExists
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}

// fromStatus is the one place where gRPC codes become errors.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch st.Code() {
	case codes.OK:
		return nil
	case codes.FailedPrecondition:
		return ErrNotPrepared
	case codes.AlreadyExists:
		return ErrPrepared
	case codes.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, st.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %w in time", context.DeadlineExceeded, ErrUnavailable)
	case codes.Unavailable:
		return fmt.Errorf("%w: %s", ErrUnavailable, st.Message())
	default:
		return errors.New(st.Message())
	}
}

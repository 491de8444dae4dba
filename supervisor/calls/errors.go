package calls

import (
	"errors"
	"time"

	"penstock/supervisor/store"
)

var (
	// ErrUnknown is returned for a call that does not exist, or not any more.
	ErrUnknown = errors.New("there is no such call: its id is wrong, it was deleted, or its result has expired")
	// ErrTooLarge is wrapped when a call is larger than is kept.
	ErrTooLarge = errors.New("the call is too large")
	// ErrFull is wrapped when there is no room for another call.
	ErrFull = store.ErrFull
	// ErrForbidden is wrapped when a callback may not go where it is to go.
	ErrForbidden = errors.New("the callback is not allowed")
	// ErrBadCallback is wrapped when a callback's URL is none.
	ErrBadCallback = errors.New("the callback's URL is not valid")
	// ErrNoResult is wrapped when a call has no result, or not any more.
	ErrNoResult = errors.New("the call has no result")
	// ErrClosed is returned once calls are carried out no more.
	ErrClosed = errors.New("calls are not taken any more: the server is shutting down")

	// ErrNoStream is for Streams to wrap when there is no such stream.
	ErrNoStream = errors.New("the stream does not exist")
	// ErrDown is for Streams to wrap when nothing was sent, since the stream
	// cannot be called at the moment.
	ErrDown = errors.New("the stream cannot be called")
)

// BusyError says that a stream has as many calls as it may have.
type BusyError struct {
	// Message is all a caller needs.
	Message string
	// After is when it may be tried again, a guess.
	After time.Duration
}

// Error returns the message.
func (e *BusyError) Error() string { return e.Message }

// RetryAfter is when it may be tried again.
func (e *BusyError) RetryAfter() time.Duration { return e.After }

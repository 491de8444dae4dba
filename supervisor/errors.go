package supervisor

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"penstock/supervisor/calls"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/store"
)

var (
	// ErrNotFound is returned for a stream or resource that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when a stream of that id exists already.
	ErrExists = errors.New("stream already exists")
	// ErrInvalid is wrapped by every refusal of what a caller gave.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable is wrapped when a stream has no runner that answers.
	ErrUnavailable = errors.New("unavailable")
	// ErrConflict is returned when a stream was changed by somebody else while
	// a change of many streams was being prepared.
	ErrConflict = errors.New("changed by another request meanwhile: try again")
	// ErrPaused is returned for what only a stream that is to run can do.
	ErrPaused = errors.New("the stream is paused: resume it first")
	// ErrFull is wrapped when there is no space left for what has to be kept.
	ErrFull = store.ErrFull
	// ErrNoRoom is wrapped when a stream does not fit on the host beside the
	// others.
	ErrNoRoom = errors.New("no room")
	// ErrUnwritable is wrapped when the store cannot be written to otherwise.
	ErrUnwritable = store.ErrUnwritable
	// ErrIdle is wrapped when a stream is idle and is not to be woken.
	ErrIdle = errors.New("idle")
	// ErrBroken is wrapped when a stream has a call and does not get to the end
	// of its answer.
	ErrBroken = errors.New("no answer")
	// ErrBusy is wrapped when a stream has more calls than it takes.
	ErrBusy = errors.New("the stream has too many calls")
	// ErrTimeout is wrapped when a stream has not answered a call in the time
	// that it allows for it.
	ErrTimeout = errors.New("the call has timed out")
	// ErrNoCall is returned for an asynchronous call that does not exist, or not
	// any more.
	ErrNoCall = calls.ErrUnknown
	// ErrNoResult is wrapped when an asynchronous call has no result, or not any
	// more.
	ErrNoResult = calls.ErrNoResult
	// ErrCallTooLarge is wrapped when a call is larger than is kept.
	ErrCallTooLarge = calls.ErrTooLarge
	// ErrCallback is wrapped when a callback's URL is none.
	ErrCallback = calls.ErrBadCallback
	// ErrCallbackForbidden is wrapped when a callback may not go where it is to go.
	ErrCallbackForbidden = calls.ErrForbidden
	// ErrCallsClosed is returned once calls are not taken any more.
	ErrCallsClosed = calls.ErrClosed
	// ErrNoComponent is wrapped when there is no such component.
	ErrNoComponent = catalogue.ErrNoComponent
	// ErrClosed is returned once the supervisor is shutting down.
	ErrClosed = errors.New("the supervisor is shutting down")
)

// BusyError is a refusal of what may be tried again later.
type BusyError = calls.BusyError

// InvalidError is a refusal whose text is all a caller needs. It wraps
// ErrInvalid.
type InvalidError struct{ Message string }

// Error returns the message.
func (e *InvalidError) Error() string { return e.Message }

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// LintError is a refusal by the engine's linter. It wraps ErrInvalid.
type LintError struct {
	// Lints are the findings, each in the engine's words with line and column.
	Lints []string
}

// Error joins the lints into one line.
func (e *LintError) Error() string { return "lint errors: " + strings.Join(e.Lints, "; ") }

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *LintError) Unwrap() error { return ErrInvalid }

// SetError says for each stream of a set why it could not be applied. It
// wraps the errors it holds.
type SetError struct {
	// Failures holds one error for each stream, by id.
	Failures map[string]error
}

// Error names each stream, in order.
func (e *SetError) Error() string {
	parts := make([]string, 0, len(e.Failures))
	for id, err := range e.Failures {
		parts = append(parts, fmt.Sprintf("stream '%s': %s", id, err))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// Unwrap returns the errors of all streams.
func (e *SetError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failures))
	for _, err := range e.Failures {
		errs = append(errs, err)
	}
	return errs
}

// InUseError says who still uses a resource that was to be deleted.
type InUseError struct {
	// Streams are the ids of the streams, sorted.
	Streams []string
	// Resources are the resources that refer to it, as type/id, sorted.
	Resources []string
}

// Error names the users.
func (e *InUseError) Error() string {
	var users []string
	if len(e.Streams) > 0 {
		users = append(users, "streams "+strings.Join(e.Streams, ", "))
	}
	if len(e.Resources) > 0 {
		users = append(users, "resources "+strings.Join(e.Resources, ", "))
	}
	return "in use by " + strings.Join(users, " and ") + ": change or delete these first"
}

const idRule = "use 1 to 128 of A-Z a-z 0-9 . _ - and do not start with a dot"

var validID = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// checkID keeps ids fit for paths, of URLs and of files.
func checkID(id string) error {
	if !validID.MatchString(id) {
		return &InvalidError{fmt.Sprintf("stream id %q is not valid: %s", id, idRule)}
	}
	return nil
}

package process

import (
	"errors"
	"fmt"
)

var (
	// ErrGone is returned when the process to adopt does not live any more.
	ErrGone = errors.New("the runner's process does not live any more")
	// ErrForeign is returned when a process with the recorded id lives but is
	// not the runner. It is never signalled.
	ErrForeign = errors.New("the process is not that runner")
	// ErrRebooted is an ErrGone: the process went with the system.
	ErrRebooted = fmt.Errorf("%w: the system was started anew since", ErrGone)
	// ErrEnded is an ErrGone: the runner could not be reached any more, and was
	// ended for that.
	ErrEnded = fmt.Errorf("%w: it was ended, since nobody listened on its socket", ErrGone)

	// errDeaf means that the process is the runner, and that nobody can reach
	// it any more.
	errDeaf = errors.New("nobody listens on the runner's socket")
)

// Identity is what the kernel can vouch for of a runner's process, so that a
// later supervisor takes no other for it.
type Identity struct {
	PID int
	// StartTime is when the process started, in clock ticks since the boot.
	StartTime uint64
	// BootID is the kernel's id of the boot that the process belongs to.
	BootID string
	// Dir is the name of the runner's folder below the run folder.
	Dir string
	// Socket is the name of the contract's socket within Dir.
	Socket string
	// UID is the user that the process runs as.
	UID uint32
}

func gone(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrGone, fmt.Sprintf(format, args...))
}

func foreign(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrForeign, fmt.Sprintf(format, args...))
}

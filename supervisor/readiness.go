package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock/rpc"
)

// statusPatience is how long the status of a stream waits for its runner. One that
// takes longer has no processor time left, or hangs, and who asks for a status
// wants to see just that, not to hang as well.
const statusPatience = 75 * time.Millisecond

// readiness is what a runner has told of its connections.
type readiness struct {
	rpc.Readiness
	at time.Time
}

// readiness asks the runner for its connections, one question at a time: who
// asks meanwhile waits for the same answer, for as long as statusPatience. Without
// an answer in time it returns the last one, nil if there never was one, and why.
func (i *instance) readiness(ctx context.Context, timeout time.Duration) (*readiness, error) {
	answered := i.asked.DoChan("", func() (any, error) {
		// The answer is not for one caller alone.
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		told, err := i.proc.Ready(ctx)
		if err == nil {
			i.told.Store(&readiness{told, time.Now()})
		}
		return nil, err
	})
	late := time.NewTimer(min(statusPatience, timeout))
	defer late.Stop()
	err := context.DeadlineExceeded
	select {
	case a := <-answered:
		err = a.Err
	case <-late.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return i.told.Load(), err
}

// unanswered says why what is known of a runner's connections is not what they
// are; empty without an error.
func unanswered(known *readiness, err error) string {
	var text string
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		text = "its runner does not answer"
	default:
		text = err.Error()
	}
	if known == nil {
		return text
	}
	return fmt.Sprintf("%s: the connections are those of %s", text, known.at.UTC().Format(time.RFC3339))
}

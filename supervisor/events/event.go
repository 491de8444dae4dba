package events

import (
	"errors"
	"time"
)

// Event is one transition of one stream.
type Event struct {
	// ID is "<epoch>-<n>": the epoch is the hub's own, n counts from 1.
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Stream string    `json:"stream"`
	// Replica is the number of the runner, from 1, of a stream that has several;
	// 0 for any other.
	Replica int `json:"replica,omitempty"`
	// From is the state before, empty for a new stream; State the one after.
	From     string `json:"from"`
	State    string `json:"state"`
	Revision uint64 `json:"revision"`
	// PID is the runner's, 0 for none.
	PID    int    `json:"pid,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ErrLagged says that events were lost to this subscription: its reader was
// slower than the hub's memory is long, or the id to go on after is of another
// hub or too old. What the client knows of the streams' states is stale; the
// oldest event that is left comes next.
var ErrLagged = errors.New("events were lost: read the streams' states again")

package supervisor

import "fmt"

// State is where a stream is in its life.
type State string

// The states of a stream; the package documentation draws how they follow
// each other.
const (
	StatePending  State = "pending"
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateBackoff  State = "backoff"
	StateFinished State = "finished"
	StateFailed   State = "failed"
	StatePaused   State = "paused"
	// StateIdle is that of a stream whose process was given back for want of
	// calls. The next call starts it.
	StateIdle     State = "idle"
	StateStopping State = "stopping"
	StateStopped  State = "stopped"
)

// event is what moves a stream from one state to the next.
type event string

const (
	eventStart   event = "start"
	eventStarted event = "started"
	eventFail    event = "fail"
	eventDie     event = "die"
	eventGiveUp  event = "give up"
	eventFinish  event = "finish"
	eventStop    event = "stop"
	eventPaused  event = "paused"
	eventIdled   event = "idled"
	eventStopped event = "stopped"
	// eventAdopt takes over the runner of a supervisor that is gone.
	eventAdopt event = "adopt"
)

var transitions = map[State]map[event]State{
	StatePending: {
		eventStart: StateStarting, eventStop: StateStopping,
		eventAdopt: StateRunning, eventDie: StateBackoff, eventGiveUp: StateFailed, eventFinish: StateFinished, eventPaused: StatePaused, eventIdled: StateIdle,
	},
	StateStarting: {
		eventStarted: StateRunning, eventFail: StateBackoff, eventStop: StateStopping,
		// One that had finished, and whose change did not start.
		eventFinish: StateFinished,
	},
	StateRunning:  {eventFinish: StateFinished, eventDie: StateBackoff, eventStop: StateStopping},
	StateBackoff:  {eventStart: StateStarting, eventGiveUp: StateFailed, eventStop: StateStopping},
	StateFinished: {eventStop: StateStopping},
	StateFailed:   {eventStop: StateStopping},
	StatePaused:   {eventStart: StateStarting, eventStop: StateStopping},
	StateIdle:     {eventStart: StateStarting, eventStop: StateStopping},
	StateStopping: {
		eventStart: StateStarting, eventStop: StateStopping, eventIdled: StateIdle,
		eventPaused: StatePaused, eventStopped: StateStopped,
	},
	StateStopped: {},
}

// next is the state that follows s at an event. An event that s does not
// expect is a fault of the caller.
func next(s State, e event) (State, error) {
	to, ok := transitions[s][e]
	if !ok {
		return s, fmt.Errorf("event %q is not expected in state %q", e, s)
	}
	return to, nil
}

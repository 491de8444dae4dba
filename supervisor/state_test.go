package supervisor

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNext(t *testing.T) {
	states := []State{StatePending, StateStarting, StateRunning, StateBackoff, StateFinished, StateStopping, StateStopped}
	events := []event{eventStart, eventStarted, eventFail, eventDie, eventFinish, eventStop, eventStopped}
	// What is not listed is refused.
	want := map[State]map[event]State{
		StatePending:  {eventStart: StateStarting, eventStop: StateStopping},
		StateStarting: {eventStarted: StateRunning, eventFail: StateBackoff, eventStop: StateStopping},
		StateRunning:  {eventFinish: StateFinished, eventDie: StateBackoff, eventStop: StateStopping},
		StateBackoff:  {eventStart: StateStarting, eventStop: StateStopping},
		StateFinished: {eventStop: StateStopping},
		StateStopping: {eventStart: StateStarting, eventStop: StateStopping, eventStopped: StateStopped},
		StateStopped:  {},
	}
	for _, from := range states {
		for _, e := range events {
			to, err := next(from, e)
			expected, allowed := want[from][e]
			if !allowed {
				assert.Error(t, err, "%s at %s", from, e)
				assert.Equal(t, from, to, "a refused event changes nothing")
				continue
			}
			assert.NoError(t, err, "%s at %s", from, e)
			assert.Equal(t, expected, to, "%s at %s", from, e)
		}
	}
}

func TestEveryStateCanBeDeleted(t *testing.T) {
	for _, from := range []State{StatePending, StateStarting, StateRunning, StateBackoff, StateFinished, StateStopping} {
		stopping, err := next(from, eventStop)
		assert.NoError(t, err, from)
		stopped, err := next(stopping, eventStopped)
		assert.NoError(t, err, from)
		assert.Equal(t, StateStopped, stopped, from)
	}
}

package supervisor

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNext(t *testing.T) {
	// What is not listed is refused.
	want := map[State]map[event]State{
		StatePending: {
			eventStart: StateStarting, eventStop: StateStopping, eventAdopt: StateRunning,
			eventDie: StateBackoff, eventGiveUp: StateFailed, eventFinish: StateFinished, eventPaused: StatePaused, eventIdled: StateIdle,
		},
		StateStarting: {
			eventStarted: StateRunning, eventFail: StateBackoff, eventFinish: StateFinished, eventStop: StateStopping,
		},
		StateRunning:  {eventFinish: StateFinished, eventDie: StateBackoff, eventStop: StateStopping},
		StateBackoff:  {eventStart: StateStarting, eventGiveUp: StateFailed, eventStop: StateStopping},
		StateFinished: {eventStop: StateStopping},
		StateFailed:   {eventStop: StateStopping},
		StatePaused:   {eventStart: StateStarting, eventStop: StateStopping},
		StateIdle:     {eventStart: StateStarting, eventStop: StateStopping},
		StateStopping: {
			eventStart: StateStarting, eventStop: StateStopping, eventIdled: StateIdle, eventPaused: StatePaused, eventStopped: StateStopped,
		},
		StateStopped: {},
	}
	states := slices.Collect(maps.Keys(want))
	events := []event{
		eventStart, eventStarted, eventFail, eventDie, eventGiveUp, eventFinish, eventAdopt, eventStop, eventPaused, eventStopped, eventIdled,
	}
	assert.Len(t, transitions, len(want))
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
	for _, from := range []State{
		StatePending, StateStarting, StateRunning, StateBackoff, StateFinished, StateFailed, StatePaused, StateIdle, StateStopping,
	} {
		stopping, err := next(from, eventStop)
		assert.NoError(t, err, from)
		stopped, err := next(stopping, eventStopped)
		assert.NoError(t, err, from)
		assert.Equal(t, StateStopped, stopped, from)
	}
}

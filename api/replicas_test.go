package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor"
	"penstock/supervisor/events"
)

// TestReadyOfSeveral: the server answers for all runners, in the form of the
// engine.
func TestReadyOfSeveral(t *testing.T) {
	up := []supervisor.Connection{{Path: "input", Label: "in", Connected: true}}
	down := []supervisor.Connection{{Path: "input", Connected: true}, {Path: "output", Error: "refused"}}
	runner := func(number int, state supervisor.State, connections []supervisor.Connection) supervisor.Replica {
		return supervisor.Replica{Number: number, State: state, Connections: connections}
	}
	dead := runner(2, supervisor.StateBackoff, nil)
	dead.Reason = "was killed"
	hangs := runner(2, supervisor.StateRunning, up)
	hangs.Unanswered = "its runner does not answer"
	const upLine = `{"label": "in", "path": "input", "connected": true, "replica": 1}`
	const upToo = `{"label": "in", "path": "input", "connected": true, "replica": 2}`
	for name, c := range map[string]struct {
		runners []supervisor.Replica
		status  int
		want    string
	}{
		"all are connected": {
			[]supervisor.Replica{runner(1, supervisor.StateRunning, up), runner(2, supervisor.StateRunning, up)},
			200, `{"statuses": [` + upLine + `, ` + upToo + `]}`,
		},
		"one is not": {
			[]supervisor.Replica{runner(1, supervisor.StateRunning, up), runner(2, supervisor.StateRunning, down)},
			200, `{"statuses": [` + upLine + `,
				{"label": "", "path": "input", "connected": true, "replica": 2},
				{"label": "", "path": "output", "connected": false, "error": "refused", "replica": 2}]}`,
		},
		"none is": {
			[]supervisor.Replica{dead, runner(2, supervisor.StateRunning, down)},
			503, `{"error": "runner 2: it is backoff: was killed; runner 2: output is not connected", "statuses": [
				{"label": "", "path": "input", "connected": true, "replica": 2},
				{"label": "", "path": "output", "connected": false, "error": "refused", "replica": 2}]}`,
		},
		"one has died": {
			[]supervisor.Replica{runner(1, supervisor.StateRunning, up), dead},
			200, `{"statuses": [` + upLine + `]}`,
		},
		"one hangs": {
			[]supervisor.Replica{runner(1, supervisor.StateRunning, up), hangs},
			200, `{"statuses": [` + upLine + `, ` + upToo + `]}`,
		},
		"paused": {
			[]supervisor.Replica{runner(1, supervisor.StatePaused, nil)},
			503, `{"error": "runner 1: it is paused", "statuses": []}`,
		},
		"no runner but one that rests": {
			[]supervisor.Replica{runner(1, supervisor.StateStarting, nil), runner(2, supervisor.StateIdle, nil)},
			503, `{"error": "runner 1: it is starting", "statuses": []}`,
		},
		"all faults are told": {
			[]supervisor.Replica{runner(1, supervisor.StateStarting, nil), dead},
			503, `{"error": "runner 1: it is starting; runner 2: it is backoff: was killed", "statuses": []}`,
		},
		"idle": {[]supervisor.Replica{runner(1, supervisor.StateIdle, nil)}, 200, `{"statuses": []}`},
	} {
		t.Run(name, func(t *testing.T) {
			streams := newRecorder()
			havingStreams(t, streams, "foo")
			streams.owner = "foo"
			streams.haveSeveral(&supervisor.Replicas{Min: 2, Max: 2, Runners: c.runners})
			got := call(t, serve(t, testConfig(), streams), "GET", "/foo/ready", "")
			assert.Equal(t, c.status, got.StatusCode)
			assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
			assert.JSONEq(t, c.want, got.text)
		})
	}

	t.Run("it has one by now", func(t *testing.T) {
		streams := newRecorder()
		havingStreams(t, streams, "foo")
		streams.owner = "foo"
		streams.haveSeveral(nil)
		streams.connections = down[1:]
		got := call(t, serve(t, testConfig(), streams), "GET", "/foo/ready", "")
		assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
		assert.Contains(t, got.text, "output is not connected")
	})

	t.Run("it is deleted by now", func(t *testing.T) {
		streams := newRecorder()
		streams.owner = "foo"
		streams.haveSeveral(nil)
		assert.Equal(t, http.StatusNotFound, call(t, serve(t, testConfig(), streams), "GET", "/foo/ready", "").StatusCode)
	})
}

func TestReadyNamesTheRunner(t *testing.T) {
	streams := newRecorder()
	streams.faults = []supervisor.Fault{{ID: "a", Reason: "why"}, {ID: "b", Replica: 2, Reason: "why not"}}
	got := call(t, serve(t, testConfig(), streams), "GET", "/ready", "")
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	assert.Equal(t, "streams a, b (runner 2) are not connected: a: why; b (runner 2): why not\n", got.text)
}

// TestEventsOfAReplica: one that is given back is no end of its stream's events.
func TestEventsOfAReplica(t *testing.T) {
	streams := newRecorder()
	havingStreams(t, streams, "a")
	client := follow(t, serve(t, testConfig(), streams), "/streams/a/events")
	for _, number := range []int{2, 1} {
		streams.hub.Publish(events.Event{Stream: "a", Replica: number, State: "stopped"})
	}
	for _, number := range []int{2, 1} {
		assert.Equal(t, number, client.transition().Replica)
	}
	client.ends()
	noFeeds(t)
}

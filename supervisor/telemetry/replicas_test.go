package telemetry

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"penstock/rpc"
)

// TestRunnersOfOneStream: their series differ by the number, and a stream is one
// however many runners it has.
func TestRunnersOfOneStream(t *testing.T) {
	handler := New().Handler(targets(
		Target{Stream: "b", Replica: 2, State: "backoff", Restarts: 3, Stats: stats(counterOf("input_received", 2, "label", "", "path", "root.input"))},
		Target{Stream: "b", Replica: 1, State: "running", Stats: stats(
			counterOf("input_received", 1, "label", "", "path", "root.input"),
			counterOf("mine", 5, "replica", "eu", "stream", "x", "a", "1"),
			timerOf("timed", rpc.Timing{Count: 1, Sum: 5}, "z", "2"),
		), Usage: usage(counted)},
		Target{Stream: "a", State: "running", Stats: stats(counterOf("mine", 6, "replica", "eu"))},
	), time.Second)
	got := scrape(t, handler)
	assert.EqualValues(t, 2, got.value(t, "penstock_streams", "state", "running"))
	assert.Zero(t, got.value(t, "penstock_streams", "state", "backoff"))
	for number, want := range map[string]float64{"1": 1, "2": 2} {
		assert.Equal(t, want, got.value(t, "input_received", "label", "", "path", "root.input", "replica", number, "stream", "b"))
	}
	assert.EqualValues(t, 3, got.value(t, "penstock_stream_restarts_total", "replica", "2", "stream", "b"))
	assert.Zero(t, got.value(t, "penstock_stream_restarts_total", "stream", "a"))
	assert.NotNil(t, got.find(t, "penstock_runner_pressure_seconds_total", "kind", "full", "replica", "1", "resource", "io", "stream", "b"))

	// The server's names are the server's: a stream's own label gives way.
	assert.EqualValues(t, 5, got.value(t, "mine", "a", "1", "exported_stream", "x", "replica", "1", "replica_", "eu", "stream", "b"))
	assert.EqualValues(t, 6, got.value(t, "mine", "replica", "eu", "stream", "a"))

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	for _, line := range []string{
		`input_received{label="",path="root.input",replica="2",stream="b"} 2`,
		`mine{a="1",exported_stream="x",replica="1",replica_="eu",stream="b"} 5`,
		`timed_sum{replica="1",stream="b",z="2"} 5`,
		`penstock_runner_pressure_seconds_total{kind="full",replica="1",resource="io",stream="b"} 6.5`,
	} {
		assert.Contains(t, w.Body.String(), line+"\n", "sorted")
	}
}

package telemetry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

// BenchmarkScrape is one scrape of 500 streams with 40 metrics each, a quarter
// of them timers, whose runners answer at once.
func BenchmarkScrape(b *testing.B) {
	const streams, metrics = 500, 40
	list := make([]Target, streams)
	for i := range list {
		list[i] = Target{Stream: fmt.Sprintf("stream-%03d", i), State: "running", PID: os.Getpid(), Stats: stats(typical(metrics)...),
			MemoryLimit: 64 << 20, Usage: usage(cgroup.Usage{Pressure: &cgroup.Pressure{}})}
	}
	handler := New().Handler(targets(list...), time.Minute)
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", http.NoBody))
		require.Equal(b, http.StatusOK, w.Code)
		size = w.Body.Len()
	}
	b.ReportMetric(float64(size), "bytes/scrape")
}

func typical(n int) []rpc.Metric {
	out := make([]rpc.Metric, n)
	for i := range out {
		labels := []string{"label", fmt.Sprintf("step_%d", i/5), "path", fmt.Sprintf("root.pipeline.processors.%d", i/5)}
		switch i % 4 {
		case 0:
			out[i] = timerOf("processor_latency_ns", rpc.Timing{P50: 1e6, P90: 2e6, P99: 31234567, Count: 123456, Sum: 1.23e12}, append(labels, "n", fmt.Sprint(i))...)
		case 1:
			out[i] = gaugeOf("input_connection_up", 1, append(labels, "n", fmt.Sprint(i))...)
		default:
			out[i] = counterOf("processor_received", int64(i)*1234567, append(labels, "n", fmt.Sprint(i))...)
		}
	}
	return out
}

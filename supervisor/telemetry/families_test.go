package telemetry

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"input_received": "input_received", "ns:a": "ns:a", "a.b-c d": "a_b_c_d", "1a": "_a", "é": "_", "": "_",
		"penstock_streams": "exported_penstock_streams", "\xff": "_",
	} {
		assert.Equal(t, want, metricName(name), "%q", name)
	}
	for name, want := range map[string]string{
		"path": "path", "a.b": "a_b", "a:b": "a_b", "stream": "exported_stream", "__name__": "exported___name__", "..": "exported___", "": "_",
		"quantile": "quantile",
	} {
		assert.Equal(t, want, labelName(name, counter), "%q", name)
	}
	assert.Equal(t, "exported_quantile", labelName("quantile", timer))
}

func TestNamesThatClash(t *testing.T) {
	one := rpc.Timing{Count: 1, Sum: 5}
	got := scrape(t, New().Handler(targets(
		Target{Stream: "a", Stats: stats(
			counterOf("mine", 1), timerOf("input_latency_ns", one), counterOf("input_latency_ns_sum", 9),
			counterOf("go_goroutines", 1), gaugeOf("penstock_streams", 1), counterOf("process_cpu_seconds_total", 1),
			counterOf("labels", 1, "stream", "x", "exported_stream", "y", "a.b", "1", "a-b", "2"),
			timerOf("timed", one, "quantile", "x"),
		)},
		Target{Stream: "b", Stats: stats(gaugeOf("mine", 2), counterOf("input_latency_ns", 2), counterOf("mine_gauge", 7))},
		Target{Stream: "c", Stats: stats(gaugeOf("mine", 3), timerOf("input_latency_ns", one), timerOf("mine", one))},
	), time.Second))

	// Most streams have a gauge of that name.
	assert.Equal(t, dto.MetricType_GAUGE, got["mine"].GetType())
	assert.EqualValues(t, 2, got.value(t, "mine", "stream", "b"))
	assert.EqualValues(t, 3, got.value(t, "mine", "stream", "c"))
	assert.EqualValues(t, 1, got.value(t, "mine_counter", "stream", "a"))
	assert.EqualValues(t, 5, got.find(t, "mine_timer", "stream", "c").GetSummary().GetSampleSum())
	assert.EqualValues(t, 7, got.value(t, "mine_gauge", "stream", "b"))

	assert.Equal(t, dto.MetricType_SUMMARY, got["input_latency_ns"].GetType())
	assert.EqualValues(t, 5, got.find(t, "input_latency_ns", "stream", "a").GetSummary().GetSampleSum())
	assert.EqualValues(t, 2, got.value(t, "input_latency_ns_counter", "stream", "b"))
	assert.EqualValues(t, 9, got.value(t, "input_latency_ns_sum_counter", "stream", "a"))

	assert.Positive(t, got.value(t, "go_goroutines"))
	assert.EqualValues(t, 1, got.value(t, "go_goroutines_counter", "stream", "a"))
	assert.EqualValues(t, 1, got.value(t, "process_cpu_seconds_total_counter", "stream", "a"))
	assert.EqualValues(t, 1, got.value(t, "exported_penstock_streams", "stream", "a"))
	assert.EqualValues(t, 1, got.value(t, "labels", "stream", "a", "exported_stream", "y", "exported_stream_", "x", "a_b", "2", "a_b_", "1"))
	assert.NotNil(t, got.find(t, "timed", "stream", "a", "exported_quantile", "x"))
	assert.Nil(t, got["penstock_scrape_dropped_series"])
}

// The same stream's answer comes in any order: the same series must win.
func TestSeriesThatBecomeTheSame(t *testing.T) {
	metrics := []rpc.Metric{counterOf("a.b", 1), counterOf("c", 2), counterOf("a-b", 3), gaugeOf("a b", 4)}
	for range 10 {
		rand.Shuffle(len(metrics), func(i, j int) { metrics[i], metrics[j] = metrics[j], metrics[i] })
		got := scrape(t, New().Handler(targets(Target{Stream: "s", Stats: stats(metrics...)}), time.Second))
		assert.EqualValues(t, 3, got.value(t, "a_b", "stream", "s"))
		assert.EqualValues(t, 4, got.value(t, "a_b_gauge", "stream", "s"))
		assert.EqualValues(t, 2, got.value(t, "c", "stream", "s"))
		assert.EqualValues(t, 1, got.value(t, "penstock_scrape_dropped_series", "stream", "s"))
	}
}

func TestAStreamWithoutBoundHasOne(t *testing.T) {
	many := make([]rpc.Metric, maxSeries+500)
	for i := range many {
		many[i] = counterOf("flood", 1, "user", fmt.Sprint(i))
	}
	got := scrape(t, New().Handler(targets(
		Target{Stream: "a", Stats: stats(many...)}, Target{Stream: "b", Stats: stats(counterOf("flood", 1))},
	), time.Second))
	assert.Len(t, got["flood"].Metric, maxSeries+1)
	assert.EqualValues(t, 500, got.value(t, "penstock_scrape_dropped_series", "stream", "a"))
	assert.Nil(t, got.find(t, "penstock_scrape_dropped_series", "stream", "b"))
}

// Whatever streams call their metrics, the text is valid and no series, nor
// one that a summary consists of, is there twice.
func TestAnyNamesGiveAValidText(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"a", "b", "_", ".", "é", "\xff", "\n", `"`, "\\", "}", ":", "1", "sum", "count", "_sum", "_count", "_bucket", "_counter", "_gauge", "_timer", "penstock_", "go_goroutines", "stream", "quantile", "__name__", "exported_", "le", "{", " ", "input_latency_ns"}
	word := func() string {
		var out strings.Builder
		for range random.IntN(4) {
			out.WriteString(pieces[random.IntN(len(pieces))])
		}
		return out.String()
	}
	for range 100 {
		var list []Target
		given := 0
		for id := range 5 {
			var metrics []rpc.Metric
			for range 40 {
				m := counterOf(word(), random.Int64N(9))
				for range random.IntN(4) {
					m.Labels[word()] = word()
				}
				switch random.IntN(3) {
				case 0:
					m.Kind = rpc.KindGauge
				case 1:
					m.Kind, m.Timing = rpc.KindTimer, &rpc.Timing{Count: uint64(random.IntN(2))}
				}
				metrics = append(metrics, m)
			}
			given += len(metrics)
			list = append(list, Target{Stream: fmt.Sprint(id), Stats: stats(metrics...)})
		}
		got := scrape(t, New().Handler(targets(list...), time.Second))
		seen := map[string]bool{}
		for name, family := range got {
			if !strings.HasPrefix(family.GetHelp(), "Benthos ") {
				if name == "penstock_scrape_dropped_series" {
					for _, m := range family.Metric {
						given -= int(m.GetGauge().GetValue())
					}
				}
				continue
			}
			for _, m := range family.Metric {
				given--
				names := []string{name}
				if m.Summary != nil {
					names = append(names, name+"_sum", name+"_count")
				}
				for _, name := range names {
					key := fmt.Sprint(name, m.Label)
					require.False(t, seen[key], "%s is there twice", key)
					seen[key] = true
				}
			}
		}
		require.Zero(t, given, "series were lost without being counted")
	}
}

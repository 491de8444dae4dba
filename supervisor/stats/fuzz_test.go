package stats_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"penstock/rpc"
	"penstock/supervisor/stats"
)

// FuzzTree reads a metric from each line: name, label, path and one more
// label's name and value, separated by tabs. A line that ends with a tab is a
// timer.
func FuzzTree(f *testing.F) {
	f.Add("input_received\ta\troot.input\ninput_connection_up\ta\troot.input\nconnection\ta\troot.input.connection")
	f.Add("output_sent\t\troot.output.broker.outputs.1000000000\noutput_sent\t\troot.output.broker.outputs.0")
	f.Add("a\t\t\tk\tv\nlabel\tb\troot.input.label\npath\tb\troot.input.path\t")
	f.Add("cache_success\tfoo\troot.cache_resources\toperation\tget\t\ncache_error\t\troot.cache_resources..~1~0~2")
	f.Add("a\xff\nb\nroot\t\troot\nx\t\troot.\ny\t\t.\nz\t\troot.input.9.9.9.9.9.9.9.9")
	f.Fuzz(func(t *testing.T, text string) {
		var metrics []rpc.Metric
		distinct := map[string]bool{}
		for line := range strings.SplitSeq(text, "\n") {
			m := parse(line)
			metrics = append(metrics, m)
			// Printing a map sorts its keys.
			distinct[fmt.Sprintf("%q %q %t", m.Name, m.Labels, m.Timing != nil)] = true
		}

		tree := stats.Report{Stream: "foo", Metrics: metrics}.Tree()
		content, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var read map[string]any
		if err := json.Unmarshal(content, &read); err != nil {
			t.Fatal(err)
		}
		// One more is the uptime.
		if got := leaves(read); got < len(distinct)+1 {
			t.Errorf("%d values for %d metrics: %s", got, len(distinct), content)
		}

		again, err := json.Marshal(stats.Report{Stream: "foo", Metrics: shuffled(metrics, uint64(len(text)))}.Tree())
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(content) {
			t.Errorf("another order gives\n%s\nafter\n%s", again, content)
		}
		if _, err := json.Marshal(stats.Report{Stream: "foo", Metrics: metrics}.Flat()); err != nil {
			t.Fatal(err)
		}
	})
}

func parse(line string) rpc.Metric {
	line, isTimer := strings.CutSuffix(line, "\t")
	fields := strings.Split(line, "\t")
	m := metric(fields[0], int64(len(line)))
	for i, name := range []string{"label", "path"} {
		if len(fields) > i+1 {
			m.Labels[name] = fields[i+1]
		}
	}
	if len(fields) > 4 {
		m.Labels[fields[3]] = fields[4]
	}
	if isTimer {
		m.Number, m.Timing = 0, &rpc.Timing{P50: 1, P90: 2, P99: 3}
	}
	return m
}

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sampleReport has something of everything that is drawn.
func sampleReport() *report {
	r := &report{Machine: machine{Date: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Cores: 2, CPU: "a < b"}, Options: full}
	r.judge(10, row{Measure: "created", Unit: seconds, First: 33.61}, 25)
	r.judgeRatio(3, rounds("rate", perSecond, []float64{90, 95, 100}, []float64{100, 100, 100}), atLeast, 0.8)
	r.judge(6, row{Measure: "failed requests", Unit: requests}, 0)
	r.notMeasured(2, "wake", "it is\nrefused")
	r.controlRounds("rate", perSecond, []float64{98, 101, 104}, []float64{100, 100, 100})
	r.Sections = []section{{Name: "s", Title: "A section", First: "Penstock", Rows: []row{{Measure: "a figure", Unit: mebibytes, First: 7}}, Notes: []string{"a note"}}}
	r.Samples = samples{
		Create:   []series{{"strict", []float64{30, 5, 12}}, {"reference & co", []float64{1, 2, 3}}},
		Requests: []series{{"Penstock", []float64{90, 95, 100}}},
		Created:  []moment{{0.1, 10}, {0.2, 12}},
		Listed:   []moment{{0.15, 3}},
	}
	return r
}

// published writes a report into a document, and returns its path.
func published(t *testing.T, r *report, text string) (string, error) {
	document := filepath.Join(t.TempDir(), "figures.md")
	require.NoError(t, os.WriteFile(document, []byte(text), 0o600))
	return document, r.publish(document)
}

const sampleDocument = "# Title\n\nbefore\n\n" + latestBegins + "old figures\n" + latestEnds + "\nafter\n"

func TestPublish(t *testing.T) {
	document, err := published(t, sampleReport(), sampleDocument)
	require.NoError(t, err)
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	before, rest, _ := strings.Cut(string(text), latestBegins)
	latest, after, _ := strings.Cut(rest, latestEnds)
	assert.Equal(t, "# Title\n\nbefore\n\n", before)
	assert.Equal(t, "\nafter\n", after)
	assert.NotContains(t, latest, "old figures")
	for _, part := range []string{
		"| 10 | created | 33.61 s |  |  | at most 25.00 s | **missed** |\n",
		"| 3 | rate | 95 | 100 | 0.95, 0.90–1.00 | at least 0.80 × | **met** |\n",
		"| 6 | failed requests | 0 requests |  |  | at most 0 requests | **met** |\n",
		"| 2 | wake |  |  |  |  | not measured |\n", "- 2, wake: not measured: it is refused\n",
		"2 met, 1 missed, 1 not measured.\n",
		"A section\n", "| a figure | 7.0 MiB |", "- a note\n",
		"A difference below these means nothing: rate 4.0 %.\n",
	} {
		assert.Contains(t, latest, part)
	}
	assert.Less(t, strings.Index(latest, "| 3 | rate"), strings.Index(latest, "| 10 | created"), "in the order of the numbers")

	for name, words := range map[string][]string{
		"goals":    {"10 created", "33.61 s, at most 25.00 s", "0.95 ×, at least 0.80 ×"},
		"create":   {"strict", "reference & co"},
		"requests": {"Penstock"},
		"thousand": {"streams created", "GET /streams, ms"},
	} {
		assert.Contains(t, latest, "(figures/"+name+".svg)\n")
		svg, err := os.ReadFile(filepath.Join(strings.TrimSuffix(document, ".md"), name+".svg"))
		require.NoError(t, err)
		assert.Less(t, len(svg), 60<<10)
		texts := textsOf(t, svg)
		for _, word := range words {
			assert.Contains(t, texts, word, name)
		}
	}

	// Once more, the same; then with less, of which no plot stays.
	again := sampleReport()
	require.NoError(t, again.publish(document))
	same, err := os.ReadFile(document)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(same))
	again.Samples, again.Options.Only = samples{}, "one|two"
	require.NoError(t, again.publish(document))
	left, err := filepath.Glob(filepath.Join(strings.TrimSuffix(document, ".md"), "*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, "goals.svg", filepath.Base(left[0]))
	text, err = os.ReadFile(document)
	require.NoError(t, err)
	assert.Contains(t, string(text), "Only the sections that match `one|two`.\n")
}

func TestPublishNeedsItsMarkers(t *testing.T) {
	for name, text := range map[string]string{
		"none":           "# Title\n",
		"no begin":       "# Title\n" + latestEnds,
		"no end":         "# Title\n" + latestBegins,
		"the wrong way":  latestEnds + latestBegins,
		"more than once": sampleDocument + sampleDocument,
	} {
		t.Run(name, func(t *testing.T) {
			document, err := published(t, sampleReport(), text)
			require.ErrorContains(t, err, "bench-report")
			kept, err := os.ReadFile(document)
			require.NoError(t, err)
			assert.Equal(t, text, string(kept))
			assert.NoDirExists(t, strings.TrimSuffix(document, ".md"))
		})
	}
}

// What is written is read again as it was.
func TestReportFromFile(t *testing.T) {
	want := sampleReport()
	file := filepath.Join(t.TempDir(), "bench.json")
	require.NoError(t, want.writeJSON(file))
	got, err := readReport(file)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-from", file}, &out, io.Discard))
	assert.Contains(t, out.String(), "| 10 | created | 33.61 s |")

	_, err = readReport(filepath.Join(t.TempDir(), "none.json"))
	require.Error(t, err)
	for _, text := range []string{"{}", "figures"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err = readReport(file)
		assert.ErrorContains(t, err, "figures")
	}
}

// The plot of the largest run is small enough to be kept.
func TestFiguresAreSmall(t *testing.T) {
	r := sampleReport()
	r.Samples.Created, r.Samples.Listed, r.Samples.Create = nil, nil, nil
	for i := range 1000 {
		r.Samples.Created = append(r.Samples.Created, moment{float64(i) / 20, 10})
		r.Samples.Listed = append(r.Samples.Listed, moment{float64(i) / 20, float64(i % 60)})
	}
	for range 5 {
		s := series{Name: "one of them"}
		for i := range 100 {
			s.Values = append(s.Values, 1.5+float64(i))
		}
		r.Samples.Create = append(r.Samples.Create, s)
	}
	for _, f := range r.figures() {
		assert.Less(t, len(f.svg), 60<<10, f.name)
		textsOf(t, f.svg)
	}
}

// textsOf returns what is written in a plot, which must be well-formed.
func textsOf(t *testing.T, svg []byte) []string {
	t.Helper()
	var found []string
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		if text, ok := token.(xml.CharData); ok {
			found = append(found, string(text))
		}
	}
}

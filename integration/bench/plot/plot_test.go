package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// texts reads a figure, which must be well-formed, and returns what is written
// in elements of a kind.
func texts(t *testing.T, svg []byte, kind string) []string {
	t.Helper()
	var found []string
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err, "%s", svg)
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == kind {
			var text string
			require.NoError(t, decoder.DecodeElement(&text, &start))
			found = append(found, text)
		}
	}
}

func TestBars(t *testing.T) {
	bars := []Bar{{Label: "a < b & c", Value: 0.5, Text: "1 \"x\"", Met: false}, {Label: "far", Value: 100, Text: "2", Met: true}}
	svg := Bars("What <it> is", "More & more", bars)
	assert.Contains(t, texts(t, svg, "title"), "What <it> is")
	assert.Equal(t, []string{"More & more"}, texts(t, svg, "desc"))
	assert.Subset(t, texts(t, svg, "text"), []string{"a < b & c", `1 "x"`, "far", "2", "goal"})
	assert.Contains(t, string(svg), `width="48.8" height="14.0" class="missed"`)
	assert.Contains(t, string(svg), `width="195.0" height="14.0" class="met"`, "a bar ends at the edge")
	assert.Contains(t, string(svg), "prefers-color-scheme:dark")
	assert.Equal(t, svg, Bars("What <it> is", "More & more", bars))
}

func TestPanels(t *testing.T) {
	lines := Panel{XLabel: "x <s>", YLabel: "y", Series: []Series{
		{Name: "one & only", Points: []Point{{1, 10}, {2, 20}}}, {Name: "dots", Points: []Point{{4, 40}}, Dots: true},
	}}
	logarithmic := Panel{LogX: true, Series: []Series{{Name: "curve", Points: []Point{{3, 0}, {70, 100}}}}}
	svg := Panels("T", "D", lines, logarithmic)
	assert.Subset(t, texts(t, svg, "text"), []string{"x <s>", "one & only", "dots", "0", "4", "40", "2", "5", "10", "20", "50", "100"})
	assert.NotContains(t, texts(t, svg, "text"), "curve", "one series needs no name")
	// The largest value is at the edge of the first panel, and the others have
	// their share of it.
	assert.Contains(t, string(svg), "M776.0 66.0h0")
	assert.Contains(t, string(svg), "M248.0 246.0L424.0 186.0")
	assert.Equal(t, svg, Panels("T", "D", lines, logarithmic))
}

func TestAxes(t *testing.T) {
	assert.Equal(t, axis{to: 40, ticks: []float64{0, 10, 20, 30, 40}}, linear(33))
	assert.Equal(t, []float64{0, 0.02, 0.04, 0.06, 0.08}, linear(0.07).ticks)
	assert.Equal(t, []float64{0, 10000, 20000, 30000, 40000}, linear(36034).ticks)
	assert.InDelta(t, 1, linear(0).to, 0, "there is always a range")
	log := logarithmic(0.7, 8)
	assert.Equal(t, []float64{0.5, 1, 2, 5, 10}, log.ticks)
	assert.InDelta(t, 0, log.share(0.5), 1e-9)
	assert.InDelta(t, 1, log.share(10), 1e-9)
	same := logarithmic(5, 5)
	assert.Equal(t, []float64{5, 10}, same.ticks, "there is always a range")
}

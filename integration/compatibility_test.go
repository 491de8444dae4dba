package integration

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const compatibilityDoc = "../docs/compatibility.md"

// TestCompatibilityDocument: every deliberate difference that the corpus shows
// has a section in the document, and the other way round.
func TestCompatibilityDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(compatibilityDoc)
	require.NoError(t, err)
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^### `([^`]+)`$").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	require.NotEmpty(t, documented)

	var shown []string
	for _, sc := range corpus() {
		for _, s := range sc.steps {
			shown = append(shown, s.keys()...)
		}
	}
	slices.Sort(shown)
	assert.ElementsMatch(t, slices.Compact(shown), documented,
		"the differences of the corpus and the sections of %s", compatibilityDoc)
}

package integration

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestSchemasForMany: many who ask for the schema of all components at once do not
// take a multiple of what one does.
func TestSchemasForMany(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	p.expect(t, 200, "GET", "/components/schema", "")
	var asking sync.WaitGroup
	for range 60 {
		asking.Go(func() {
			assert.Equal(t, 200, p.call(t, "GET", "/components/schema", "").Status)
		})
	}
	asking.Wait()
	peak := peakMemory(t, p.PID)
	t.Logf("at most %d MiB resident", peak>>20)
	assert.Less(t, peak, 200<<20, "bytes of memory")
}

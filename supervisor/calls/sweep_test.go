package calls

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheFileIsMadeSmaller: what calls have taken that are forgotten is given
// back when the next supervisor opens the file, and the others are as they were.
func TestTheFileIsMadeSmaller(t *testing.T) {
	path := pathOf(t)
	cfg := testConfig()
	size := func() int64 {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Size()
	}
	c := open(t, path, cfg, &fake{})
	c.Start()
	body := strings.Repeat("x", 512<<10)
	var kept Call
	for range 40 {
		call := submit(t, c, "s", body)
		wait(t, c, call.ID)
		if kept.ID == "" {
			kept = call
		}
	}
	list, _, err := c.List(Query{Limit: 100})
	require.NoError(t, err)
	require.Len(t, list, 40)
	for _, call := range list {
		if call.ID != kept.ID {
			require.NoError(t, c.Forget(call.ID))
		}
	}
	shut(t, c)
	require.Greater(t, size(), int64(16<<20))

	c = open(t, path, cfg, &fake{})
	assert.Less(t, size(), int64(4<<20))
	_, answer, err := c.Answer(kept.ID)
	require.NoError(t, err)
	assert.Equal(t, body, string(answer.Body))
	c.Start()
	wait(t, c, submit(t, c, "s", "more").ID)
	shut(t, c)
	c = open(t, path, cfg, &fake{})
	_, _, err = c.Answer(kept.ID)
	require.NoError(t, err)
}

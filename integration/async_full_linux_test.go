package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAsyncFullDisk: without space calls are refused, also by the next server, and
// what was accepted is carried out.
func TestAsyncFullDisk(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	mountTmpfs(t, r.DataDir, "size=24m,mode=0700")
	r.start(t)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	r.expect(t, 200, "POST", "/streams/a/pause", "")
	accepted := []asyncCall{submit(t, r.client, "/a/post", "first")}
	free := fillDisk(t, r.DataDir)
	body := strings.Repeat("x", 100<<10)
	refused := func() answer {
		for range 100 {
			a := askAsync(t, r.client, "/a/post", body)
			if a.Status != 202 {
				return a
			}
			accepted = append(accepted, asyncCall{ID: strings.TrimPrefix(a.Header.Get("Location"), "/calls/")})
		}
		require.Fail(t, "nothing is refused")
		return answer{}
	}
	full := refused()
	assert.Equal(t, 507, full.Status, full)
	assert.Contains(t, full.Text(), "calls.db")
	assert.Contains(t, full.Text(), "free some space")
	r.kill9(t)
	r.start(t)
	assert.Equal(t, 507, refused().Status)
	free()
	accepted = append(accepted, submit(t, r.client, "/a/post", body))
	r.expect(t, 200, "POST", "/streams/a/resume", "")
	for _, call := range accepted {
		assert.Equal(t, "done", callEnded(t, r.client, call.ID).Status)
	}
	r.stop(t)
}

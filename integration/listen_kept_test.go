package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOwnListenerKeepsConnections: whoever calls on and on over connections that
// are kept loses nothing to a change: a POST is sent once, and not again by Go's
// client when it finds the connection closed.
func TestOwnListenerKeepsConnections(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	address := freeAddress(t)
	p.expect(t, 200, "POST", "/streams/a", listening("0", address))
	c := newClient("http://" + address)
	defer c.close()
	c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = pressers
	end := pressWith(t, c)
	for i := range 10 {
		p.expect(t, 200, "PUT", "/streams/a", listening(fmt.Sprint(i+1), address))
		assert.Equal(t, fmt.Sprint(i+1, ":x"), newCaller(address).expect(t, 200, "POST", "/post", "x").Text())
	}
	assert.Greater(t, end(), int64(10))
}

// TestOwnListenerOfAKeptSocket: a runner that does not give its socket back to
// the next supervisor leaves a stream that a connection wakes all the same.
func TestOwnListenerOfAKeptSocket(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	address := freeAddress(t)
	r.expect(t, 200, "POST", "/streams/a", strings.Replace(listening("a", address), "runtime: {", "runtime: {idle_timeout: 3s, ", 1))
	pid := mustStatus(t, r.client, "a").PID
	r.kill9(t)
	asked, err := filepath.Glob(filepath.Join(r.DataDir, "run", "*", "http.sock"))
	require.NoError(t, err)
	require.Len(t, asked, 1)
	require.NoError(t, os.Remove(asked[0]))
	r.start(t)
	require.Equal(t, pid, mustStatus(t, r.client, "a").PID)
	assert.Contains(t, r.expect(t, 200, "GET", "/streams/a/status", "").Text(), `"open":false`)
	awaitState(t, r.client, "a", "idle")
	assert.Equal(t, "a:x", newCaller(address).expect(t, 200, "POST", "/post", "x").Text())
	awaitState(t, r.client, "a", "running")
}

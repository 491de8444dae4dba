package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// startConnected starts a server beside whose runner core the other runners are,
// so that it has all connectors.
func startConnected(t testing.TB, args ...string) *penstock {
	t.Helper()
	messagingRunner(t)
	connectRunner(t)
	return startPenstock(t, args...)
}

// assertRunner asserts which runner the catalogue has chosen for a stream.
func assertRunner(t testing.TB, c *client, id, runner string) {
	t.Helper()
	assert.Equal(t, runner, mustStatus(t, c, id).Runner)
}

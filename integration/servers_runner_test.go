package integration

import (
	"os"
	"testing"
)

// startConnected starts a server with the runners of all connectors.
func startConnected(t testing.TB, args ...string) *penstock {
	t.Helper()
	return startPenstock(t, append([]string{"--runner", os.Getenv("TMP_RUNNER")}, args...)...)
}

func assertRunner(t testing.TB, c *client, id, runner string) {
	t.Helper()
}

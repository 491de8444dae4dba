package runner

import (
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestQuietSinceTheLastCall: a client that closes a connection which it had kept
// has asked for nothing, and does not put off that its stream is idle.
func TestQuietSinceTheLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls ownCalls
		calls.begin()
		conn, other := net.Pipe()
		defer conn.Close()
		defer other.Close()
		time.Sleep(time.Minute)
		calls.connState(conn, http.StateNew)
		calls.connState(conn, http.StateActive)
		assert.Zero(t, calls.activity().Quiet)
		time.Sleep(time.Minute)
		calls.connState(conn, http.StateIdle)
		assert.Zero(t, calls.activity().Quiet, "it was busy until now")
		time.Sleep(time.Minute)
		calls.connState(conn, http.StateClosed)
		assert.Equal(t, time.Minute, calls.activity().Quiet)

		// One that closes before it has said what it wants was busy.
		calls.connState(conn, http.StateNew)
		calls.connState(conn, http.StateClosed)
		assert.Zero(t, calls.activity().Quiet)
	})
}

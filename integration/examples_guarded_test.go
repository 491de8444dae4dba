package integration

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// driveGuarded sends one call more than there is room for: two are answered at a
// time, three wait, and the last is sent away.
func driveGuarded(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 3)
	assert.JSONEq(t, `{"slept_ms":100}`, told[0])
	assert.Contains(t, told[1], "has not answered within 5s")
	assert.Contains(t, strings.ReplaceAll(told[2], " ", ""), `"calls":{"in_flight":`)
	awaitCalls(t, run.client, "guarded", 0)
	call := request{Method: http.MethodPost, Path: "/guarded/post", Body: "1500"}
	var calls []<-chan answer
	for i := range 5 {
		calls = append(calls, background(t, run.client, call))
		if i < 2 {
			awaitCalls(t, run.client, "guarded", i+1)
		} else {
			awaitWaiting(t, run.client, "guarded", i-1)
		}
	}
	a := run.expect(t, http.StatusTooManyRequests, http.MethodPost, "/guarded/post", "1500")
	assert.Equal(t, "1", a.Header.Get("Retry-After"))
	for _, call := range calls {
		a := replied(t, call)
		assert.Equal(t, http.StatusOK, a.Status, "%s", a)
	}
}

// driveDirect kills the process of the stream that listens itself, whose callers
// wait for the next.
func driveDirect(t *testing.T, run *exampleRun, told []string) {
	assert.Equal(t, []string{`{"echo":"through the server"}`, `{"echo":"straight to it"}`}, told)
	pid := mustStatus(t, run.client, "direct").PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitGone(t, pid)
	assert.JSONEq(t, `{"echo":"again"}`, newCaller(run.own).expect(t, http.StatusOK, http.MethodPost, "/post", "again").Text())
}

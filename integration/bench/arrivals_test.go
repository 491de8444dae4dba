package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// called starts a server whose calls answer does.
func called(t *testing.T, answer http.HandlerFunc) *server {
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return &server{addr: s.Listener.Addr().String(), where: host{}, client: s.Client()}
}

// A server that stands still for a while holds up every call that is due
// meanwhile, and not just the one that is under way.
func TestHearCountsWhatWasHeldUp(t *testing.T) {
	const still = 300 * time.Millisecond
	var calls atomic.Int64
	opens := make(chan struct{})
	s := called(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Equal(t, question, string(body))
		if calls.Add(1) == 1 {
			time.AfterFunc(still, func() { close(opens) })
		}
		<-opens
		_, _ = io.WriteString(w, answer)
	})
	h, err := s.hear(t.Context(), steady("/"), time.Second)
	require.NoError(t, err)
	assert.EqualValues(t, arrivalRate, calls.Load())
	assert.Len(t, h.took, arrivalRate)
	assert.Len(t, h.late, arrivalRate)
	var heldUp int
	for i, took := range h.took {
		assert.GreaterOrEqual(t, took, h.late[i])
		if took > still.Seconds()*1e3/2 {
			heldUp++
		}
	}
	assert.GreaterOrEqual(t, heldUp, int(arrivalRate*still.Seconds()/2)-1)
}

func TestHearFailsOnAWrongAnswer(t *testing.T) {
	var calls atomic.Int64
	s := called(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 3 {
			_, _ = io.WriteString(w, "something else")
			return
		}
		_, _ = io.WriteString(w, answer)
	})
	_, err := s.hear(t.Context(), steady("/"), time.Minute)
	assert.ErrorContains(t, err, "something else")
}

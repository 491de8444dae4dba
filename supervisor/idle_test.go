package supervisor

import (
	"bytes"
	"context"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/store"
)

// awaitInside waits until some goroutine is in the function of that name.
func awaitInside(t *testing.T, function string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var stacks bytes.Buffer
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
		return strings.Contains(stacks.String(), "."+function+"(")
	}, patience, time.Millisecond)
}

// TestIdleIsKeptBeforeItIsSeen: a supervisor that is killed once somebody has
// seen a stream idle leaves one that knows so.
func TestIdleIsKeptBeforeItIsSeen(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	ctx := t.Context()
	require.NoError(t, s.Create(ctx, "a", parsed(t, plain), Change{}))
	// A call keeps it from being idle before the store is held.
	f, err := s.Function(ctx, "a", Call{Method: http.MethodPost, Arrived: time.Now()})
	require.NoError(t, err)
	require.NoError(t, s.Update(ctx, "a", parsed(t, plain+"\nruntime: {idle_timeout: 100ms}"), Change{}))
	holding, goOn, held := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		held <- s.store.Update(func(*store.Tx) error {
			close(holding)
			<-goOn
			return nil
		})
	}()
	<-holding
	f.Release()
	awaitInside(t, "keepIdle")
	snap, err := s.Get("a")
	require.NoError(t, err)
	assert.NotEqual(t, StateIdle, snap.State, "the store does not know it yet")
	close(goOn)
	require.NoError(t, <-held)
	awaitStream(t, s, "a", func(snap Snapshot) bool { return snap.State == StateIdle })
	require.NoError(t, s.Close(context.Background()))
}

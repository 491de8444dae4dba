package supervisor

import (
	"bytes"
	"context"
	"net"
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

// idleListener is a scripted stream that is idle and listens, but for the socket,
// which the test has to put there.
func idleListener(t *testing.T) (s *Supervisor, st *stream, address string, fd int) {
	t.Helper()
	s = newScripted(t)
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, plain+"\nruntime: {idle_timeout: 100ms}"), Change{}))
	awaitStream(t, s, "a", func(snap Snapshot) bool { return snap.State == StateIdle })
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	address = l.Addr().String()
	require.NoError(t, l.Close())
	fd, err = listenOn(address)
	require.NoError(t, err)
	st, err = s.find("a")
	require.NoError(t, err)
	onActor(t, st, func() { st.spec.options.HTTP.Listen = address })
	return s, st, address, fd
}

// onActor waits until the actor has done something.
func onActor(t *testing.T, st *stream, do func()) {
	t.Helper()
	require.NoError(t, st.do(t.Context(), func(context.Context) error {
		do()
		return nil
	}))
}

// TestRegainedSocketOfAnIdleStream: a socket that comes back when the stream has
// become idle wakes it, as any other.
func TestRegainedSocketOfAnIdleStream(t *testing.T) {
	t.Parallel()
	s, st, address, fd := idleListener(t)
	onActor(t, st, st.watchSocket)
	require.NoError(t, s.sockets.regain("a", address, fd))
	onActor(t, st, st.watchSocket)
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	awaitStream(t, s, "a", func(snap Snapshot) bool { return snap.State != StateIdle })
	require.NoError(t, s.Close(context.Background()))
}

// TestUnwatchedSocket: nobody waits at a socket any more that is not watched.
func TestUnwatchedSocket(t *testing.T) {
	t.Parallel()
	s, st, address, fd := idleListener(t)
	require.NoError(t, s.sockets.regain("a", address, fd))
	for range 200 {
		onActor(t, st, func() {
			st.watchSocket()
			st.unwatchSocket()
			st.unwatchSocket = nil
			var stacks bytes.Buffer
			assert.NoError(t, pprof.Lookup("goroutine").WriteTo(&stacks, 2))
			assert.NotContains(t, stacks.String(), "awaitCaller")
		})
	}
	require.NoError(t, s.Close(context.Background()))
}

package share

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc/sharepb"
)

// TestStall: of those who wait, they are told who have what the giver waits for,
// and only when nobody else can have any of it.
func TestStall(t *testing.T) {
	h, from, to, other := newHosting(), NewLink(), NewLink(), NewLink()
	from.stalled("p")
	for _, l := range []*Link{from, to, other} {
		h.connect(t, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pushed := make(chan error, 3)
	push := func() {
		sent := make(chan struct{})
		go func() {
			_, err := from.Push(ctx, "p", batchOf("x"), func() { close(sent) })
			pushed <- err
		}()
		<-sent
	}
	pull := func(l *Link) chan error {
		out := make(chan error, 1)
		go func() {
			_, _, err := l.Pull(ctx, "p")
			out <- err
		}()
		return out
	}
	waiting := func(n int) {
		await(t, func() bool {
			h.pipes.mu.Lock()
			defer h.pipes.mu.Unlock()
			p := h.pipes.byName["p"]
			return p != nil && len(p.pulls) == n
		})
	}
	from.stalled("p")
	push()
	require.NoError(t, <-pull(to))
	push()
	batch, settle, err := to.Pull(ctx, "p")
	require.NoError(t, err)
	assert.Equal(t, "x", text(batch))
	idle := pull(other)
	waiting(1)
	holds := pull(to)
	waiting(2)
	// Of another pipe, and of one that gives nothing: nobody is told.
	from.stalled("q")
	other.stalled("p")
	from.stalled("p")
	require.ErrorContains(t, <-holds, `2 batches of `)
	waiting(1)
	assert.Empty(t, idle, "it holds nothing")
	holds = pull(to)
	waiting(2)
	from.stalled("p")
	// The host has seen that when it has seen the next.
	push()
	require.NoError(t, <-idle)
	assert.Empty(t, holds, "it is told once")
	idle = pull(other)
	waiting(2)
	from.stalled("p")
	require.ErrorContains(t, <-holds, `3 batches of `)
	require.ErrorContains(t, <-idle, `3 batches of `)
	idle = pull(other)
	waiting(1)

	// What was given back and is had by another is that one's.
	settle(&sharepb.Verdict{Returned: true})
	require.NoError(t, <-idle)
	idle = pull(other)
	waiting(1)
	from.stalled("p")
	assert.ErrorContains(t, <-idle, `taken from inproc "p" are not acknowledged`)
	cancel()
	for range 3 {
		require.ErrorIs(t, <-pushed, context.Canceled)
	}
}

// TestStallIsToldAgain: a taker that comes later is told, too, until it is over.
func TestStallIsToldAgain(t *testing.T) {
	h, from, to := newHosting(), NewLink(), NewLink()
	h.connect(t, from)
	h.connect(t, to)
	ctx, cancel := context.WithCancel(t.Context())
	pushed := make(chan error, 1)
	go func() {
		_, err := from.Push(ctx, "p", batchOf("x"), func() {})
		pushed <- err
	}()
	h.awaitPipes(t, 1)
	stall := from.Stall("p")
	stall.Set(true)
	stall.tell()
	// Nobody has taken it. The host has seen that when it answers the next.
	_, _, err := from.Do(ctx, &sharepb.Request{Kind: sharepb.Request_KIND_SET, Key: []byte("k")})
	require.NoError(t, err)
	_, _, err = to.Pull(ctx, "p")
	require.NoError(t, err)
	more := make(chan error, 1)
	go func() {
		_, _, err := to.Pull(ctx, "p")
		more <- err
	}()
	h.awaitPipes(t, 1)
	assert.True(t, stall.timer.Reset(0), "it does not run any more")
	require.ErrorContains(t, <-more, "1 batches of ")
	stall.Set(false)
	stall.tell()
	assert.False(t, stall.timer.Stop(), "it runs still")
	cancel()
	require.ErrorIs(t, <-pushed, context.Canceled)
}

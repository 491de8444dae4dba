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
	from.Stalled("p")
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
	from.Stalled("p")
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
	from.Stalled("q")
	other.Stalled("p")
	from.Stalled("p")
	require.ErrorContains(t, <-holds, `2 batches of `)
	waiting(1)
	assert.Empty(t, idle, "it holds nothing")

	// What was given back and is had by another is that one's.
	settle(&sharepb.Verdict{Returned: true})
	require.NoError(t, <-idle)
	idle = pull(other)
	waiting(1)
	from.Stalled("p")
	assert.ErrorContains(t, <-idle, `taken from inproc "p" are not acknowledged`)
	cancel()
	for range 2 {
		require.ErrorIs(t, <-pushed, context.Canceled)
	}
}

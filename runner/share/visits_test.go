package share

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc/sharepb"
)

// TestManyConnectionsOfOneRunner: one that has many made uses the last. What it
// does not use leaves the others as they are.
func TestManyConnectionsOfOneRunner(t *testing.T) {
	const many = 100
	h := newHosting()
	served := make(chan struct{}, 2*many)
	open := func(name string) net.Conn {
		near, far := net.Pipe()
		go func() {
			Serve(far, name, h.store, h.pipes)
			served <- struct{}{}
		}()
		t.Cleanup(func() { _ = near.Close() })
		return near
	}
	ended := func(n int) {
		t.Helper()
		for range n {
			select {
			case <-served:
			case <-time.After(patience):
				t.Fatal("a connection is served still")
			}
		}
	}
	ask := func(l *Link) {
		t.Helper()
		_, retried, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Key: []byte("k")})
		require.NoError(t, err)
		assert.False(t, retried)
	}
	one, other := NewLink(), NewLink()
	require.NoError(t, one.Join(open("one")))
	require.NoError(t, other.Join(open("other")))
	ask(one)
	ask(other)
	for range many {
		open("one")
	}
	// Of those that say nothing the last is kept beside the one that is used.
	ended(many - 1)
	ask(one)
	next := NewLink()
	require.NoError(t, next.Join(open("one")))
	ended(1)
	ask(next)
	ended(1)
	ask(other)
	h.pipes.mu.Lock()
	assert.Len(t, h.pipes.visits, 2)
	h.pipes.mu.Unlock()
	for _, l := range []*Link{next, other} {
		l.mu.Lock()
		c := l.conn
		l.mu.Unlock()
		c.close()
		<-c.over
	}
	ended(2)
	h.pipes.mu.Lock()
	assert.Empty(t, h.pipes.visits)
	h.pipes.mu.Unlock()
}

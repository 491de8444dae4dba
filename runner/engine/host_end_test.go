package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/runner/share"
)

// TestHostThatIsStopped: what a host is asked while it ends is the next host's to
// answer, and no error of the resource.
func TestHostThatIsStopped(t *testing.T) {
	link := share.NewLink()
	hosting := func() *Stream {
		s, err := Prepare(rpc.PrepareRequest{StreamID: "host", Host: true, Config: []byte("{}"), Resources: []rpc.Resource{memory("one", "a", 1)}}, slog.New(slog.DiscardHandler), link)
		require.NoError(t, err)
		s.Run()
		return s
	}
	stop := func(s *Stream) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, s.Stop(ctx))
	}
	first := hosting()
	var end atomic.Pointer[net.Conn]
	connected(t, link, func(conn net.Conn) { end.Store(&conn); assert.NoError(t, first.Serve(conn, "a")) })
	ctx, cancel := context.WithCancel(t.Context())
	var users sync.WaitGroup
	var done atomic.Int64
	for i := range 8 {
		users.Go(func() {
			c, l := &cacheStandIn{asker{by: link, label: "one"}}, &cacheStandIn{asker{by: link, label: "not yet there"}}
			for n := 0; ctx.Err() == nil; n++ {
				if i == 0 {
					if _, err := l.Get(ctx, "k"); err != nil && ctx.Err() == nil {
						assert.NoError(t, err, "waiting")
						return
					}
					continue
				}
				if err := c.Set(ctx, fmt.Sprint(i), nil, nil); err != nil && ctx.Err() == nil {
					assert.NoError(t, err, "%q", err)
					return
				}
				done.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return done.Load() > 1000 }, patience, time.Millisecond)
	stop(first)
	// It is a while until its process ends.
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, (*end.Load()).Close())
	second := hosting()
	defer stop(second)
	require.Eventually(t, func() bool { n, _ := link.Wanting(); return n > 0 }, patience, time.Millisecond)
	connected(t, link, func(conn net.Conn) { assert.NoError(t, second.Serve(conn, "a")) })
	before := done.Load()
	require.Eventually(t, func() bool { return done.Load() > before+1000 }, patience, time.Millisecond)
	cancel()
	users.Wait()
}

// TestResourcesInACircle: resources that use each other without an end fail, and
// the host does not.
func TestResourcesInACircle(t *testing.T) {
	ring := func(id, other string) rpc.Resource {
		return rpc.Resource{Type: "cache", ID: id, Config: []byte("label: " + id + "\nmultilevel: [one, " + other + "]")}
	}
	s := hostingOf(t, memory("one", "a", 1), ring("two", "three"), ring("three", "two"))
	link := share.NewLink()
	connected(t, link, func(conn net.Conn) { assert.NoError(t, s.Serve(conn, "a")) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := (&cacheStandIn{asker{by: link, label: "two"}}).Get(ctx, "none")
	require.ErrorContains(t, err, "in a circle")
	value, err := (&cacheStandIn{asker{by: link, label: "two"}}).Get(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, "a", string(value))
}

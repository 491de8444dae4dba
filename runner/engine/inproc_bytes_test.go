package engine

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/rpc/sharepb"
	"penstock/runner/share"
)

// TestInprocHoldsFewLargeMessages: without somebody who takes, a stream takes in
// no more than fits, whatever its messages' size, and goes on when somebody does.
func TestInprocHoldsFewLargeMessages(t *testing.T) {
	link, pipes := share.NewLink(), share.NewPipes()
	connected(t, link, func(conn net.Conn) { share.Serve(conn, "", nil, pipes) })
	s, err := Prepare(rpc.PrepareRequest{StreamID: "from", MaxSeries: 1000, Config: []byte(`
input: {generate: {count: 200, interval: "", mapping: 'root = "x".repeat(1048576)'}}
output: {inproc: pipe}
`)}, slog.New(slog.DiscardHandler), link)
	require.NoError(t, err)
	s.Run()
	received := func() (n int64) {
		for _, m := range s.Metrics() {
			if m.Name == "input_received" {
				n += m.Number
			}
		}
		return n
	}
	var last int64
	still := 0
	require.Eventually(t, func() bool {
		now := received()
		if still++; now < 10 || now != last {
			still = 0
		}
		last = now
		return still > 50
	}, patience, 10*time.Millisecond)
	t.Logf("%v messages of 1 MiB are held", last)
	assert.Less(t, last, int64(30))
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, settle, err := link.Pull(ctx, "pipe")
		cancel()
		require.NoError(t, err)
		settle(&sharepb.Verdict{})
	}
	awaitDone(t, s)
}

package engine

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/runner/share"
)

// TestWhoWaitsSaysSo: a stream whose resource the host does not have, as after its
// end, names it in its log, and goes on when it is there.
func TestWhoWaitsSaysSo(t *testing.T) {
	host, link, log := hostingOf(t), share.NewLink(), &lines{}
	connected(t, link, func(conn net.Conn) { assert.NoError(t, host.Serve(conn, "a")) })
	s, err := Prepare(rpc.PrepareRequest{
		StreamID: "waits", MaxSeries: 1000, Resources: []rpc.Resource{{Type: "cache", ID: "gone", Shared: true, Config: []byte("{label: gone, memory: null}")}},
		Config: []byte("input: {generate: {count: 3, interval: '', mapping: 'root = 1'}}\npipeline: {threads: 3}\noutput: {cache: {target: gone, key: k}}"),
	}, slog.New(log), link)
	require.NoError(t, err)
	s.Run()
	const text = `Operations on the shared resource "gone" wait`
	require.Eventually(t, func() bool { return log.has(text) }, waitPatience+patience, 20*time.Millisecond)
	_, err = host.Share([]rpc.Resource{memory("gone", "", 1)})
	require.NoError(t, err)
	awaitDone(t, s)
	log.mu.Lock()
	defer log.mu.Unlock()
	assert.Len(t, log.said, 1, "it is said once: %v", log.said)
}

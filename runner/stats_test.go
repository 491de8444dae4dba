package runner

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// TestStatsFitIntoAnAnswer has a stream fill its metrics with text that grows
// on the wire, and still tell of them.
func TestStatsFitIntoAnAnswer(t *testing.T) {
	ctx := context.Background()
	p := start(t)
	p.prepare(t, `
input: {generate: {interval: "", batch_size: 100, mapping: 'root = ("ff61".repeat(5000) + uuid_v4().replace_all("-", "")).decode("hex")'}}
pipeline: {processors: [{metric: {type: timing, name: mine, value: '1000000000000', labels: {id: '${! content() }'}}}]}
output: {drop: {}}`)
	require.NoError(t, p.Run(ctx))
	require.Eventually(t, func() bool {
		ready, err := p.Ready(ctx)
		return err == nil && len(ready.Warnings) > 0
	}, 4*patience, 50*time.Millisecond, "there is no room for more")
	metrics, err := p.Stats(ctx)
	require.NoError(t, err)
	assert.NotEmpty(t, metrics)
	_, err = p.Stop(ctx, patience)
	require.NoError(t, err)
	record, ok := p.record(t)
	require.True(t, ok)
	assert.Equal(t, rpc.ExitStopped, record.Reason)
}

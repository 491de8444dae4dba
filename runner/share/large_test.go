package share

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc/sharepb"
)

// TestManyLargeAtOnce: more than may wait to be written, asked for at once, takes
// its time, and the connection lasts.
func TestManyLargeAtOnce(t *testing.T) {
	const values, size = 7, 40 << 20
	h, l := newHosting(), NewLink()
	cut := h.connect(t, l)
	defer cut()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	value := bytes.Repeat([]byte("x"), size)
	for _, kind := range []sharepb.Request_Kind{sharepb.Request_KIND_SET, sharepb.Request_KIND_GET} {
		var all sync.WaitGroup
		for i := range values {
			all.Go(func() {
				req := &sharepb.Request{Kind: kind, Key: fmt.Append(nil, i)}
				if kind == sharepb.Request_KIND_SET {
					req.Value = value
				}
				resp, retried, err := l.Do(ctx, req)
				if assert.NoError(t, err) && assert.False(t, retried, "the connection broke") && kind == sharepb.Request_KIND_GET {
					assert.Len(t, resp.GetValue(), size)
				}
			})
		}
		all.Wait()
		require.NoError(t, ctx.Err())
	}
}

package share

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"penstock/rpc/sharepb"
)

// TestManyElements: what would take many times its length in memory is refused on
// both ends.
func TestManyElements(t *testing.T) {
	metas := make([]*sharepb.Meta, maxElements)
	failures := make([]*sharepb.Failure, maxElements+1)
	items := make([]*sharepb.Item, maxElements+1)
	for i := range failures {
		failures[i], items[i] = &sharepb.Failure{}, &sharepb.Item{}
	}
	for i := range metas {
		metas[i] = &sharepb.Meta{}
	}
	for name, req := range map[string]*sharepb.Request{
		"items":    {Kind: sharepb.Request_KIND_SET, Items: items},
		"metadata": {Kind: sharepb.Request_KIND_PUSH, Batch: &sharepb.Batch{Messages: []*sharepb.Message{{Metadata: metas}}}},
		"failures": {Kind: sharepb.Request_KIND_SETTLE, Verdict: &sharepb.Verdict{Failures: failures}},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := proto.Marshal(req)
			require.NoError(t, err)
			assert.ErrorContains(t, few(body), "1048577 elements")
			h := newHosting()
			near, far := net.Pipe()
			defer near.Close()
			served := make(chan struct{})
			go func() {
				defer close(served)
				Serve(far, "", h.store, h.pipes)
			}()
			_, err = near.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
			require.NoError(t, err)
			select {
			case <-served:
			case <-time.After(patience):
				t.Fatal("it is served still")
			}
		})
	}
	h, l := newHosting(), NewLink()
	h.connect(t, l)
	_, _, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Items: items})
	require.ErrorContains(t, err, "make smaller batches")
	_, _, err = l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Items: items[:10]})
	require.NoError(t, err)
}

package document

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRewrite(t *testing.T) {
	doc, err := Parse([]byte("a: &x {\":80\": \"0.0.0.0:80\", b: [\":80\", \"x:8080\", ${V}]}\nc: *x\nd: 80\n"))
	require.NoError(t, err)
	got, err := doc.Rewrite(func(s string) bool { return strings.HasSuffix(s, ":80") }, "127.0.0.1:0")
	require.NoError(t, err)
	a := map[string]any{":80": "127.0.0.1:0", "b": []any{"127.0.0.1:0", "x:8080", "${V}"}}
	assert.Equal(t, map[string]any{"a": a, "c": a, "d": int64(80)}, got.Value())
	assert.NotEqual(t, got.Value(), doc.Value(), "the document itself has not changed")

	same, err := doc.Rewrite(func(string) bool { return false }, "x")
	require.NoError(t, err)
	assert.True(t, doc.Equal(same))
}

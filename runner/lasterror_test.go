package runner

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLastError(t *testing.T) {
	var last lastError
	log := slog.New(newUniqueKeys(slog.NewJSONHandler(io.Discard, nil), "s", &last))
	component := log.With("path", "root").With("path", "root.input", "label", "l")
	component.Warn("nothing to keep")
	require.Nil(t, last.load())

	component.Error("it failed\n")
	got := last.load()
	require.NotNil(t, got)
	assert.Equal(t, "it failed", got.Message)
	assert.Equal(t, "root.input", got.Path)
	assert.False(t, got.At.IsZero())

	log.WithGroup("g").Error("ä" + strings.Repeat("ö", 2000))
	got = last.load()
	assert.LessOrEqual(t, len(got.Message), maxError)
	assert.True(t, strings.HasPrefix(got.Message, "äö"))
	assert.Empty(t, got.Path)
	component.Info("later")
	assert.Same(t, got, last.load())
}

package calls

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestBackoff(t *testing.T) {
	b := Backoff{time.Second, 10 * time.Second}
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 900: 10 * time.Second} {
		for range 50 {
			assert.InDelta(t, want, b.pause(failures), float64(want)/4+1)
		}
	}
}

func TestValidate(t *testing.T) {
	cfg := DefaultConfig()
	require.Empty(t, cfg.Validate())
	cfg = Config{Callbacks: Callbacks{Allow: []string{"*"}}}
	joined := errors.Join(cfg.Validate()...)
	for _, key := range []string{"max_body", "max_result", "stream_storage", "queue", "concurrency", "timeout", "attempts", "backoff.initial", "max_age", "keep",
		"callbacks.timeout", "callbacks.attempts", "callbacks.backoff.initial", "callbacks.max_age", "callbacks.concurrency", "callbacks.allow"} {
		assert.ErrorContains(t, joined, "calls."+key)
	}
	cfg = DefaultConfig()
	cfg.Storage = cfg.StreamStorage - 1
	assert.ErrorContains(t, errors.Join(cfg.Validate()...), "calls.storage")
}

func TestSecret(t *testing.T) {
	cfg := testConfig()
	cfg.Callbacks.SecretFile = filepath.Join(t.TempDir(), "secret")
	_, err := Open(pathOf(t), cfg, &fake{}, nobody{}, zap.NewNop())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(cfg.Callbacks.SecretFile, []byte("short\n"), 0o600))
	_, err = Open(pathOf(t), cfg, &fake{}, nobody{}, zap.NewNop())
	require.ErrorContains(t, err, "at least 16 characters")
}

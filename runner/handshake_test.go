package runner

import (
	"os"
	"testing"

	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func TestForgetHandshake(t *testing.T) {
	kept := "PENSTOCK_STREAM_DIR"
	for _, name := range []string{rpc.Handshake().MagicCookieKey, plugin.EnvUnixSocketDir, "PLUGIN_MIN_PORT", kept} {
		t.Setenv(name, "value")
	}
	require.NoError(t, forgetHandshake())
	assert.Equal(t, "value", os.Getenv(kept))
	for _, name := range []string{rpc.Handshake().MagicCookieKey, plugin.EnvUnixSocketDir, "PLUGIN_MIN_PORT"} {
		_, found := os.LookupEnv(name)
		assert.False(t, found, name)
	}
}

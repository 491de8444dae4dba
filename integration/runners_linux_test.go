package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStrictRunners: under strict a larger runner is confined as the core runner
// is, and reaches no more.
func TestStrictRunners(t *testing.T) {
	core := runnersOf(t, "messaging", "connect")
	p, _ := startStrict(t, "--runner", core)
	p.expect(t, 200, "POST", "/streams/core", echo("core"))
	p.expect(t, 200, "POST", "/streams/messaging", echoMessaging("messaging"))
	p.expect(t, 200, "POST", "/streams/connect", echoConnect("connect"))
	want := strictly(t, p.client, "core").Sandbox
	for _, runner := range []string{"messaging", "connect"} {
		assertRunner(t, p.client, runner, runner)
		a := p.expect(t, 200, "POST", "/"+runner+"/post", "x")
		assert.Contains(t, a.Text(), runner+":x")
		have := strictly(t, p.client, runner).Sandbox
		assert.NotEqual(t, want.UID, have.UID, "a user of its own")
		have.UID, have.GID = want.UID, want.GID
		assert.Equal(t, want, have)
	}
	p.expect(t, 200, "POST", "/resources/cache/far", "redis: {url: 'tcp://127.0.0.1:1'}")
	a, err := p.ask(t.Context(), request{Method: "DELETE", Path: "/streams/connect"})
	require.NoError(t, err)
	assert.Equal(t, 200, a.Status)
}

package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStartThatFails: a file that cannot be run keeps the server from starting,
// and costs no stream that ran before.
func TestStartThatFails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "good.yaml"), []byte(echo("good")), 0o600))
	r := newRestartable(t)
	r.start(t, folder)
	r.expect(t, 200, "POST", "/streams/other", echo("other"))
	good, other := awaitPID(t, r.client, "good"), awaitPID(t, r.client, "other")
	r.kill9(t)

	bad := filepath.Join(folder, "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("input: {nope: {}}\n"), 0o600))
	code, said := serveToEnd(t, r.Penstock, "--data-dir", r.DataDir, "--runner", r.Runner,
		"--set", "orphan_timeout=1h", "--set", "limits.cgroup_parent="+cgroupParent(), folder)
	assert.Equal(t, 1, code)
	assert.Contains(t, said, bad)
	assert.Error(t, gone(good), "the stream of the good file")
	assert.Error(t, gone(other), "the stream of the API")

	require.NoError(t, os.Remove(bad))
	r.start(t, folder)
	awaitEcho(t, r.client, "/good/post", "good")
	awaitEcho(t, r.client, "/other/post", "other")
	assert.Equal(t, good, awaitPID(t, r.client, "good"))
	assert.Equal(t, other, awaitPID(t, r.client, "other"))
	assert.Len(t, r.runners(), 2)
}

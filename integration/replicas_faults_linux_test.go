package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReplicasStrict: each runner is a user of its own, and has its folder to
// itself.
func TestReplicasStrict(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	p.expect(t, 200, "POST", "/streams/a", several("a", "2"))
	now := replicasNow(t, p.client, "a")
	require.NotNil(t, now)
	require.Equal(t, 2, now.Running, now.Failure)
	uids := map[uint32]bool{}
	for pid := range now.pids() {
		info, err := os.Stat(procFile(pid, ""))
		require.NoError(t, err)
		uids[info.Sys().(*syscall.Stat_t).Uid] = true
	}
	assert.Len(t, uids, 2)
	assert.NotContains(t, uids, uint32(0))
	owners := map[uint32]bool{}
	for _, id := range []string{"a", "a@2"} {
		info, err := os.Stat(streamFolder(p.DataDir, id))
		require.NoError(t, err)
		owners[info.Sys().(*syscall.Stat_t).Uid] = true
	}
	assert.Equal(t, uids, owners, "of %s", filepath.Join(p.DataDir, "streams"))
}

// TestReplicasStrictListener: they share an own listener though they are different
// users, and take another one.
func TestReplicasStrictListener(t *testing.T) {
	t.Parallel()
	const former, address = "127.0.0.1:18080", "127.0.0.1:18081"
	p, n := startStrict(t, "--set", "http.stream_listen=['127.0.0.1:1024-65535']")
	answered := func(tag, address string) {
		t.Helper()
		c := newClientIn(n, "http://"+address)
		defer c.close()
		for range 6 {
			text := c.expect(t, 200, "POST", "/post", "x").Text()
			assert.True(t, strings.HasPrefix(text, tag+":"), text)
		}
	}
	p.expect(t, 200, "POST", "/streams/a", several("a", "2, http: {listen: '"+former+"'}"))
	awaitReplicas(t, p.client, "a", 2)
	answered("a", former)
	p.expect(t, 200, "PUT", "/streams/a", several("b", "3, http: {listen: '"+address+"'}"))
	awaitReplicas(t, p.client, "a", 3)
	answered("b", address)
}

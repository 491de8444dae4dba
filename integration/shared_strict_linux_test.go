package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestSharedStrict: streams that can reach neither each other nor the host's
// folder share what is in the host, which is confined as they are.
func TestSharedStrict(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {}")
	p.expect(t, 200, "POST", "/resources/rate_limit/mine-too", "local: {count: 2, interval: 1h}")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, usesCache("mine"))
	}
	assert.Equal(t, "one", operate(t, p.client, "a", "set", "k", "one"))
	assert.Equal(t, "one", operate(t, p.client, "b", "get", "k", "x"))

	host := hostOf(t, p.client, p.runners)
	users := map[uint32]bool{}
	for _, pid := range []int{host, runnerOf(t, p.client, "a"), runnerOf(t, p.client, "b")} {
		var at unix.Stat_t
		require.NoError(t, unix.Stat(fmt.Sprintf("/proc/%d", pid), &at))
		assert.NotZero(t, at.Uid)
		users[at.Uid] = true
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		require.NoError(t, err)
		assert.Contains(t, string(status), "NoNewPrivs:\t1")
		assert.Contains(t, string(status), "CapEff:\t0000000000000000")
		assert.Contains(t, string(status), "Seccomp:\t2")
	}
	assert.Len(t, users, 3, "each has a user of its own")

	// The host's own folder is where a cache may keep what outlives it.
	p.expect(t, 200, "POST", "/resources/cache/kept", "file: {directory: '${PENSTOCK_STREAM_DIR}'}")
	p.expect(t, 200, "POST", "/streams/c", usesCache("kept"))
	assert.Equal(t, "two", operate(t, p.client, "c", "set", "key", "two"))
	text, err := os.ReadFile(filepath.Join(p.DataDir, "streams", "@resources", "data", "key"))
	require.NoError(t, err)
	assert.Equal(t, "two", string(text))
	endHost(t, p.client, p.runners)
	assert.Equal(t, "two", operate(t, p.client, "c", "get", "key", "x"))
	assert.Contains(t, operate(t, p.client, "a", "get", "k", "x"), "does not exist")

	out := "${PENSTOCK_STREAM_DIR}/out"
	p.expect(t, 200, "POST", "/streams/from", "input: {http_server: {}}\noutput: {inproc: pipe}\n")
	p.expect(t, 200, "POST", "/streams/to", "input: {inproc: pipe}\noutput: {file: {path: '"+out+"', codec: lines}}\n")
	p.expect(t, 200, "POST", "/from/post", "across")
	assert.Equal(t, []string{"across"}, linesOf(t, filepath.Join(p.DataDir, "streams", "to", "data", "out")))
}

// TestSharedPolicy: a resource that the policy denies is denied to a stream when
// it is posted, as one of its own is.
func TestSharedPolicy(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	r.expect(t, 200, "POST", "/resources/cache/mine", "lru: {}")
	r.expect(t, 200, "POST", "/streams/a", usesCache("mine"))
	assert.Equal(t, "one", operate(t, r.client, "a", "set", "k", "one"))
	r.stop(t)
	r.start(t, "--set", "isolation.components.caches.deny=[lru]")
	a := r.expect(t, http.StatusBadRequest, "POST", "/streams/b", usesCache("mine"))
	assert.Contains(t, a.Text(), "component type lru is denied")
	for _, config := range []string{"lru: {}", "penstock_shared: {}"} {
		r.expect(t, http.StatusBadRequest, "POST", "/resources/cache/other", config)
	}
	r.expect(t, http.StatusBadRequest, "POST", "/streams/c", strings.Replace(echoYAML, "output:", "cache_resources: [{label: own, penstock_shared: {}}]\noutput:", 1))
}

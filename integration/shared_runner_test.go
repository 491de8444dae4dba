package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSharedRunner: the host is of the smallest runner that has what all shared
// resources name, and streams are not.
func TestSharedRunner(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	const far = "memcached: {addresses: ['127.0.0.1:1']}"
	hosting := func(runner string) {
		t.Helper()
		await(t, changeTimeout, "the host to be of the runner "+runner, func() error {
			exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", hostOf(t, p.client, p.runners)))
			if err == nil && !strings.HasSuffix(exe, runner) {
				err = fmt.Errorf("it is %s", exe)
			}
			return err
		})
	}
	p.expect(t, 200, "POST", "/resources/cache/near", "memory: {}")
	p.expect(t, 200, "POST", "/streams/a", usesCache("near"))
	assert.Equal(t, "one", operate(t, p.client, "a", "set", "k", "one"))
	hosting("penstock-runner")
	pid := runnerOf(t, p.client, "a")
	p.expect(t, 200, "POST", "/resources/cache/far", far)
	hosting("-messaging")
	assert.Equal(t, "two", operate(t, p.client, "a", "set", "k", "two"))
	p.expect(t, 200, "POST", "/resources/cache/both", "multilevel: [near, far]")
	p.expect(t, 200, "POST", "/streams/b", usesCache("both"))
	assertRunner(t, p.client, "b", "core")
	assert.Equal(t, "two", operate(t, p.client, "b", "get", "k", "x"))

	// It is no smaller before it has to be started anew.
	p.expect(t, 200, "DELETE", "/streams/b", "")
	p.expect(t, 200, "DELETE", "/resources/cache/both", "")
	p.expect(t, 200, "DELETE", "/resources/cache/far", "")
	assert.Equal(t, "two", operate(t, p.client, "a", "get", "k", "x"))
	hosting("-messaging")
	require.NoError(t, syscall.Kill(hostOf(t, p.client, p.runners), syscall.SIGKILL))
	hosting("penstock-runner")
	assert.Equal(t, "three", operate(t, p.client, "a", "set", "k", "three"))
	assert.Equal(t, pid, runnerOf(t, p.client, "a"))
}

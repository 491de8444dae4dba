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

// TestRunnerOfTheResourceHost: the smallest that has what all shared resources
// name, while the streams that use them stay on theirs.
func TestRunnerOfTheResourceHost(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	const far = "memcached: {addresses: ['127.0.0.1:1']}"
	p.expect(t, 200, "POST", "/resources/cache/far", far)
	p.expect(t, 200, "POST", "/resources/cache/both", "multilevel: [far, near]")
	p.expect(t, 200, "POST", "/resources/cache/near", "memory: {}")
	p.expect(t, 200, "POST", "/streams/a", withProcessor("a", "{cache: {resource: near, operator: set, key: k, value: v}}"))
	assertRunner(t, p.client, "a", "core")
	answers(t, p.client, "x")
	pid := mustStatus(t, p.client, "a").PID
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
	hosting("-messaging")
	p.expect(t, 200, "DELETE", "/resources/cache/both", "")
	p.expect(t, 200, "DELETE", "/resources/cache/far", "")
	require.NoError(t, syscall.Kill(hostOf(t, p.client, p.runners), syscall.SIGKILL))
	hosting("penstock-runner")
	answers(t, p.client, "x")
	p.expect(t, 200, "POST", "/resources/cache/far", far)
	hosting("-messaging")
	answers(t, p.client, "x")
	assert.Equal(t, pid, mustStatus(t, p.client, "a").PID)
}

package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// saysProcessors has the test's own binary say how many processors it has before
// and after it has built a stream.
const saysProcessors = "RUNNER_TEST_PROCESSORS"

func sayProcessors() int {
	s, err := newServer("")
	if err == nil {
		fmt.Print(runtime.GOMAXPROCS(0))
		_, err = s.Prepare(context.Background(), rpc.PrepareRequest{StreamID: "a", LogLevel: "info", Config: []byte("input: {nonsense: {}}")})
		fmt.Print(" ", runtime.GOMAXPROCS(0))
	}
	var refused *rpc.Rejection
	if !errors.As(err, &refused) {
		fmt.Print(" ", err)
	}
	return 0
}

// TestAheadIsBuiltWithAllProcessors: what a component takes from their number when
// it is built, such as a pool's size, is the same in a runner that was started ahead.
func TestAheadIsBuiltWithAllProcessors(t *testing.T) {
	executable, err := os.Executable()
	require.NoError(t, err)
	// Not t.TempDir: its path is too long for a socket.
	dir, err := os.MkdirTemp("", "penstock-runner")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	cmd := exec.Command(executable)
	// More than this machine may have.
	cmd.Env = []string{saysProcessors + "=1", "GOGC=" + rpc.AheadGOGC, "GOMAXPROCS=3", plugin.EnvUnixSocketDir + "=" + dir}
	said, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "1 3", string(said))
}

package runner

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"penstock/rpc"
)

// TestFileSizeLimitIsAnError has a stream write a file beyond what its process
// may, for which the kernel sends a signal that ends other programs.
func TestFileSizeLimitIsAnError(t *testing.T) {
	const limit = 64 << 10
	ctx := context.Background()
	p := start(t)
	file := filepath.Join(t.TempDir(), "out")
	prepared := p.prepare(t, `
input: {http_server: {path: /post, timeout: 1s}}
output:
  fallback:
    - file: {path: "`+file+`", codec: lines}
    - sync_response: {}
`)
	require.NoError(t, p.Run(ctx))
	limited := &unix.Rlimit{Cur: limit, Max: limit}
	require.NoError(t, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, limited, nil))

	chunk := string(make([]byte, limit/4))
	var failed bool
	for range 8 {
		status, body := call(t, prepared.HTTPSocket, "POST", "/post", chunk)
		require.Equal(t, 200, status)
		// What could not be written goes to the fallback, which gives it back.
		failed = failed || len(body) == len(chunk)
	}
	assert.True(t, failed, "the component is told")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(limit))
	assert.Equal(t, rpc.PhaseRunning, p.phase(t))

	// The record of its end has no room for all that is measured.
	drained, err := p.Stop(ctx, patience)
	require.NoError(t, err)
	assert.True(t, drained)
	record, ok := p.record(t)
	require.True(t, ok)
	assert.Equal(t, rpc.ExitStopped, record.Reason)
}

// TestLogsThatCannotBeWritten has the stream's logs on a full disk, then beyond
// the limit of its process: the stream goes on.
func TestLogsThatCannotBeWritten(t *testing.T) {
	ctx := context.Background()
	const floods = `
input: {generate: {interval: "", mapping: 'root = "x".repeat(1000)'}}
pipeline: {threads: 1, processors: [{log: {message: '${! content() }'}}]}
output: {stdout: {}}`
	for name, full := range map[string]func(*testing.T, *process){
		"no space left": func(t *testing.T, p *process) {
			for _, file := range []string{"stream.log", "output.log"} {
				require.NoError(t, os.Symlink("/dev/full", filepath.Join(p.logs, file)))
			}
		},
		"file too large": func(t *testing.T, p *process) {
			limit := &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}
			require.NoError(t, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, limit, nil))
		},
		"folder is gone": func(t *testing.T, p *process) {
			require.NoError(t, os.Remove(p.logs))
			require.NoError(t, os.WriteFile(p.logs, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			p.prepare(t, floods)
			full(t, p)
			require.NoError(t, p.Run(ctx))
			require.Eventually(t, func() bool {
				metrics, err := p.Stats(ctx)
				for _, m := range metrics {
					if err == nil && m.Name == "output_sent" && m.Number > 3000 {
						return true
					}
				}
				return false
			}, patience, 5*time.Millisecond, "the stream does not wait for its logs")
			assert.Equal(t, rpc.PhaseRunning, p.phase(t))
			drained, err := p.Stop(ctx, patience)
			require.NoError(t, err)
			assert.True(t, drained)
		})
	}
}

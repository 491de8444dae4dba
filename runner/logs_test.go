package runner

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

const chats = `
input: {generate: {interval: 2ms, mapping: 'root = "x"'}}
pipeline:
  processors:
    - log: {level: DEBUG, message: "a whisper"}
    - log: {level: INFO, message: "a word"}
    - log: {level: ERROR, message: "a cry"}
output: {drop: {}}`

// TestLogLevelChangesWhileTheStreamRuns follows the log through every level.
func TestLogLevelChangesWhileTheStreamRuns(t *testing.T) {
	ctx := context.Background()
	p := start(t)
	require.ErrorContains(t, p.SetLogLevel(ctx, "loud"), `log level "loud" does not exist: use debug, info, warn or error`)
	_, err := p.Prepare(ctx, rpc.PrepareRequest{Config: []byte(idle), LogLevel: "loud"})
	require.ErrorContains(t, err, `log level "loud"`)

	p.prepare(t, chats, func(r *rpc.PrepareRequest) { r.LogLevel = "error" })
	require.NoError(t, p.Run(ctx))
	path := filepath.Join(p.logs, "stream.log")
	require.Eventually(t, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, patience, 5*time.Millisecond)
	log, err := os.Open(path)
	require.NoError(t, err)
	defer log.Close()
	for _, level := range []struct {
		name string
		want []string
	}{
		{"error", []string{"ERROR"}},
		{"debug", []string{"DEBUG", "INFO", "ERROR"}},
		{"warn", []string{"ERROR"}},
		{"info", []string{"INFO", "ERROR"}},
	} {
		require.NoError(t, p.SetLogLevel(ctx, level.name))
		// What was logged before, and what was on its way at the change, is not
		// looked at. Every line is written at once.
		_, err := log.Seek(0, io.SeekEnd)
		require.NoError(t, err)
		readUntil(t, log, 2)
		assert.ElementsMatch(t, level.want, readUntil(t, log, 5), level.name)
	}
	assert.Equal(t, rpc.PhaseRunning, p.phase(t))
}

// readUntil reads on until so many errors were logged and returns the levels
// that it met.
func readUntil(t *testing.T, log *os.File, errors int) []string {
	t.Helper()
	met := map[string]bool{}
	deadline := time.Now().Add(patience)
	var rest string
	for errors > 0 {
		require.True(t, time.Now().Before(deadline), "the stream does not log")
		data, err := io.ReadAll(log)
		require.NoError(t, err)
		rest += string(data)
		for errors > 0 {
			line, after, whole := strings.Cut(rest, "\n")
			if !whole {
				break
			}
			rest = after
			var entry struct {
				Level, Msg, Stream string
			}
			require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
			assert.Equal(t, "s", entry.Stream)
			if !strings.HasPrefix(entry.Msg, "a ") {
				continue
			}
			met[entry.Level] = true
			if entry.Level == "ERROR" {
				errors--
			}
		}
	}
	// What else was read is given back.
	_, err := log.Seek(-int64(len(rest)), io.SeekCurrent)
	require.NoError(t, err)
	levels := make([]string, 0, len(met))
	for level := range met {
		levels = append(levels, level)
	}
	return levels
}

// TestSpamIsBounded has a stream log and print as fast as it can.
func TestSpamIsBounded(t *testing.T) {
	const bound = 2 * logMegabytes << 20
	ctx := context.Background()
	p := start(t)
	p.prepare(t, `
input: {generate: {interval: "", batch_size: 20, mapping: 'root = "x".repeat(10000)'}}
pipeline: {threads: 1, processors: [{log: {message: '${! content() }'}}]}
output: {stdout: {}}`)
	began := time.Now()
	require.NoError(t, p.Run(ctx))

	var slowest time.Duration
	require.Eventually(t, func() bool {
		asked := time.Now()
		_, err := p.Ready(ctx)
		slowest = max(slowest, time.Since(asked))
		if err != nil {
			return false
		}
		metrics, err := p.Stats(ctx)
		if err != nil {
			return false
		}
		for _, m := range metrics {
			if m.Name == "output_sent" && m.Number > 5000 {
				return true
			}
		}
		return false
	}, 4*patience, 20*time.Millisecond, "50 MB go through each file")
	t.Logf("50 MB in each file took %s, the slowest answer meanwhile %s", time.Since(began), slowest)
	assert.Less(t, slowest, 5*time.Second, "it still answers")
	_, err := p.Stop(ctx, patience)
	require.NoError(t, err)

	for _, name := range []string{"stream", "output"} {
		// Older files are removed in the background.
		require.Eventually(t, func() bool {
			files, err := filepath.Glob(filepath.Join(p.logs, name+"*.log"))
			var size int64
			for _, file := range files {
				if info, err := os.Stat(file); err == nil {
					assert.LessOrEqual(t, info.Size(), int64(logMegabytes<<20))
					size += info.Size()
				}
			}
			return err == nil && len(files) == 1+logBackups && size <= bound
		}, patience, 5*time.Millisecond, name)
	}
}

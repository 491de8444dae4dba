package rpc

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExitRecordRoundTrip(t *testing.T) {
	dir := t.TempDir()
	_, ok, err := ReadExitRecord(dir)
	require.NoError(t, err)
	assert.False(t, ok, "there is none yet")

	want := ExitRecord{
		At:     time.Date(2026, 11, 21, 1, 2, 3, 4, time.UTC),
		Reason: ExitFinished,
		Error:  "the disk is on fire",
		Metrics: []Metric{
			{Name: "input_received", Kind: KindCounter, Labels: map[string]string{"path": "root.input"}, Number: 1 << 60},
			{Name: "latency", Kind: KindTimer, Timing: &Timing{P50: 1.5, P90: 2, P99: 3, Count: 4, Sum: 5}},
		},
	}
	require.NoError(t, WriteExitRecord(dir, want))
	got, ok, err := ReadExitRecord(dir)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, want, got)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file is left")
}

// TestExitRecordIsWholeOrAbsent has a reader look while records are replaced.
func TestExitRecordIsWholeOrAbsent(t *testing.T) {
	dir := t.TempDir()
	metrics := make([]Metric, 200)
	for i := range metrics {
		metrics[i] = Metric{Name: "m", Kind: KindGauge, Number: int64(i)}
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		for range 30 {
			assert.NoError(t, WriteExitRecord(dir, ExitRecord{Reason: ExitStopped, Metrics: metrics}))
		}
	})
	for range 90 {
		r, ok, err := ReadExitRecord(dir)
		require.NoError(t, err)
		if ok {
			assert.Len(t, r.Metrics, len(metrics))
		}
	}
	writer.Wait()
}

func TestExitRecordThatIsNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "exit.json")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, ok, err := ReadExitRecord(dir)
	require.ErrorContains(t, err, path)
	assert.False(t, ok)

	require.Error(t, WriteExitRecord(filepath.Join(dir, "nowhere"), ExitRecord{}))
}

package rpc

import (
	"errors"
	"io/fs"
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
	data, err := os.ReadFile(filepath.Join(dir, ExitFile))
	require.NoError(t, err)
	got, err := DecodeExitRecord(data)
	require.NoError(t, err)
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
		data, err := os.ReadFile(filepath.Join(dir, ExitFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		r, err := DecodeExitRecord(data)
		require.NoError(t, err)
		assert.Len(t, r.Metrics, len(metrics))
	}
	writer.Wait()
}

func TestExitRecordThatIsNone(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "{", `{"reason": 7}`} {
		_, err := DecodeExitRecord([]byte(text))
		require.ErrorContains(t, err, "the exit record cannot be read")
	}

	require.Error(t, WriteExitRecord(filepath.Join(dir, "nowhere"), ExitRecord{}))
}

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// ExitFile is the name of the exit record in a runner's folder.
	ExitFile = "exit.json"
	// MaxExitRecordBytes bounds that file.
	MaxExitRecordBytes = 16 << 20
)

// ExitReason says why a runner's stream has ended.
type ExitReason string

const (
	// ExitFinished means that the stream ended by itself. It is recorded
	// before the Finished event is sent.
	ExitFinished ExitReason = "finished"
	// ExitOrphaned means that the runner had no supervisor for too long.
	ExitOrphaned ExitReason = "orphaned"
	// ExitTerminated means that the runner was told to end by SIGTERM.
	ExitTerminated ExitReason = "terminated"
	// ExitStopped means that the supervisor stopped the stream.
	ExitStopped ExitReason = "stopped"
)

// ExitRecord is what a runner leaves in its folder about the end of its
// stream, for the supervisor that could not hear of it.
type ExitRecord struct {
	At     time.Time  `json:"at"`
	Reason ExitReason `json:"reason"`
	// Error is empty when the stream ended well.
	Error string `json:"error,omitempty"`
	// Metrics are the stream's last ones.
	Metrics []Metric `json:"metrics,omitempty"`
}

// WriteExitRecord leaves r in dir, wholly or not at all. Metrics that would
// make it larger than MaxExitRecordBytes, or than the disk has room for, are
// left out. It is not synced to the disk: no runner outlives the system that
// would forget it.
func WriteExitRecord(dir string, r ExitRecord) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the exit record: %w", err)
	}
	if len(data) <= MaxExitRecordBytes {
		if err = writeExitFile(dir, data); err == nil || len(r.Metrics) == 0 {
			return err
		}
	}
	r.Metrics = nil
	if data, err = json.Marshal(r); err != nil {
		return fmt.Errorf("encoding the exit record: %w", err)
	}
	return writeExitFile(dir, data)
}

func writeExitFile(dir string, data []byte) (err error) {
	temp, err := os.CreateTemp(dir, ExitFile+".*")
	if err != nil {
		return fmt.Errorf("making the exit record: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("writing the exit record: %w", err)
	}
	if err := os.Rename(temp.Name(), filepath.Join(dir, ExitFile)); err != nil {
		return fmt.Errorf("putting the exit record in its place: %w", err)
	}
	return nil
}

// DecodeExitRecord reads what a runner left in ExitFile. The file is the
// runner's: nothing in it can be relied on.
func DecodeExitRecord(data []byte) (ExitRecord, error) {
	var r ExitRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return ExitRecord{}, fmt.Errorf("the exit record cannot be read: %w", err)
	}
	return r, nil
}

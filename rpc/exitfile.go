package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// exitFile is the name of the exit record in a runner's folder.
const exitFile = "exit.json"

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

// WriteExitRecord leaves r in dir, wholly or not at all. It is not synced to
// the disk: no runner outlives the system that would forget it.
func WriteExitRecord(dir string, r ExitRecord) (err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the exit record: %w", err)
	}
	temp, err := os.CreateTemp(dir, exitFile+".*")
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
	if err := os.Rename(temp.Name(), filepath.Join(dir, exitFile)); err != nil {
		return fmt.Errorf("putting the exit record in its place: %w", err)
	}
	return nil
}

// ReadExitRecord returns the record that a runner left in dir, and false when
// it left none.
func ReadExitRecord(dir string) (ExitRecord, bool, error) {
	path := filepath.Join(dir, exitFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ExitRecord{}, false, nil
	}
	if err != nil {
		return ExitRecord{}, false, fmt.Errorf("reading the exit record: %w", err)
	}
	var r ExitRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return ExitRecord{}, false, fmt.Errorf("the exit record %s cannot be read: %w", path, err)
	}
	return r, true, nil
}

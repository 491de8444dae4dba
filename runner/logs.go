package runner

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"gopkg.in/natefinch/lumberjack.v2"
)

const (
	// logMegabytes bounds one log file; one older file is kept beside it.
	logMegabytes = 8
	logBackups   = 1
)

// logFiles are the files a stream writes: its log, and what its components
// print. Both rotate, so that no stream fills the disk with either.
type logFiles struct {
	logger *slog.Logger
	log    *lumberjack.Logger
	output *lumberjack.Logger
}

// openLogs points the process's standard output and error at the stream's
// output file. The pipes go-plugin put there block the stream when nobody
// drains them.
//
// Without a folder nothing is kept: a runner that only checks resources has
// nothing to say that its answer does not.
func openLogs(dir, streamID string) (*logFiles, error) {
	if dir == "" {
		return &logFiles{logger: slog.New(slog.DiscardHandler)}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the stream's log folder: %w", err)
	}
	f := &logFiles{
		log:    rotated(filepath.Join(dir, "stream.log")),
		output: rotated(filepath.Join(dir, "output.log")),
	}
	f.logger = slog.New(slog.NewJSONHandler(f.log, nil)).With("stream", streamID)

	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the pipe of the stream's output: %w", err)
	}
	os.Stdout, os.Stderr = write, write
	go func() {
		if _, err := io.Copy(f.output, read); err != nil {
			f.logger.Error("The stream's output is no longer kept", "error", err)
			// The stream must not block on a pipe that nobody reads.
			_, _ = io.Copy(io.Discard, read)
		}
	}()
	return f, nil
}

func rotated(path string) *lumberjack.Logger {
	return &lumberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logBackups}
}

func (f *logFiles) close() {
	if f.log != nil {
		_ = f.log.Close()
		_ = f.output.Close()
	}
}

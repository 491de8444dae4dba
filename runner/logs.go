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
	// logMegabytes bounds one log file unless the supervisor says otherwise;
	// one older file is kept beside it.
	logMegabytes = 8
	logBackups   = 1
)

// logFiles are the files a stream writes: its log, and what its components
// print. Both rotate, so that no stream fills the disk with either.
type logFiles struct {
	logger *slog.Logger
	log    *lumberjack.Logger
	output *lumberjack.Logger
	last   lastError
}

// openLogs points the process's standard output and error at the stream's
// output file. The pipes go-plugin put there block the stream when nobody
// drains them. The log takes what is at least as severe as level, which may
// change at any time.
//
// Without a folder nothing is kept: a runner that only checks resources has
// nothing to say that its answer does not.
func openLogs(dir, streamID string, level slog.Leveler, megabytes int) (*logFiles, error) {
	if dir == "" {
		return &logFiles{logger: slog.New(slog.DiscardHandler)}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the stream's log folder: %w", err)
	}
	f := &logFiles{
		log:    rotated(filepath.Join(dir, "stream.log"), megabytes),
		output: rotated(filepath.Join(dir, "output.log"), megabytes),
	}
	f.logger = slog.New(newUniqueKeys(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: level}), streamID, &f.last))

	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the pipe of the stream's output: %w", err)
	}
	os.Stdout, os.Stderr = write, write
	go f.keepOutput(read)
	return f, nil
}

// keepOutput copies what the stream prints to its file. It reads on when the
// file cannot be written, for the stream must not block on a pipe that nobody
// reads, and writes again once that works.
func (f *logFiles) keepOutput(from io.Reader) {
	chunk := make([]byte, 32<<10)
	lost := false
	for {
		n, err := from.Read(chunk)
		if n > 0 {
			_, writeErr := f.output.Write(chunk[:n])
			if writeErr != nil && !lost {
				f.logger.Error("What the stream prints is lost until its file can be written", "error", writeErr)
			}
			lost = writeErr != nil
		}
		if err != nil {
			return
		}
	}
}

func rotated(path string, megabytes int) *lumberjack.Logger {
	if megabytes == 0 {
		megabytes = logMegabytes
	}
	return &lumberjack.Logger{Filename: path, MaxSize: megabytes, MaxBackups: logBackups}
}

// parseLevel reads the name of a level; an empty one is info.
func parseLevel(name string) (slog.Level, error) {
	switch name {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log level %q does not exist: use debug, info, warn or error", name)
}

func (f *logFiles) close() {
	if f.log != nil {
		_ = f.log.Close()
		_ = f.output.Close()
	}
}

package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// What is written with one call can be read in parts: a file grows page by page.
const (
	// writeTakes is how long the rest of a line is waited for. The writer has
	// only to get a processor.
	writeTakes = 100 * time.Millisecond
	// stillWritten is how long ago, at most, somebody wrote to a file that is
	// perhaps being written. Older ends of a line are what a crash has left.
	stillWritten = time.Second
	// lookEvery is how often the rest is looked for meanwhile.
	lookEvery = time.Millisecond
)

// finish reads the rest of the last line, if it was being written when the
// size of the file was taken.
func (r *Reader) finish(ctx context.Context) error {
	if r.follow || len(r.chain) == 0 {
		return nil
	}
	last := r.chain[0]
	info, err := last.Stat()
	if err != nil {
		return fmt.Errorf("reading the age of the log: %w", err)
	}
	patience := writeTakes
	if time.Since(info.ModTime()) > stillWritten {
		patience = 0
	}
	over := time.NewTimer(patience)
	defer over.Stop()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for len(r.line) < MaxLine {
		n, err := last.ReadAt(r.block, last.next)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the log: %w", err)
		}
		rest, _, whole := bytes.Cut(r.block[:n], []byte{'\n'})
		last.next += int64(len(rest))
		last.end = last.next
		r.keep(rest)
		if whole {
			return nil
		}
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over.C:
			return nil
		case <-again.C:
		}
	}
	return nil
}

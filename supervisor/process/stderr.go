package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"penstock/supervisor/folder"
)

const (
	// maxStderr is how much of a standard error is read. A panic is at its
	// beginning: components print to a file of their own.
	maxStderr = 256 << 10
	// maxMessage bounds the message of an exit, in bytes.
	maxMessage = 1 << 10
	// maxFrames is how many calls of a panic's goroutine a message has.
	maxFrames = 5
)

const stderrFile = "stderr.log"

func stderrPath(dir string) string { return filepath.Join(dir, stderrFile) }

// readStderr returns the beginning of what a process wrote to its standard
// error.
func readStderr(dir string) ([]byte, error) {
	file, err := folder.Open(dir, stderrFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the runner's standard error: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxStderr))
	if err != nil {
		return nil, fmt.Errorf("reading the runner's standard error: %w", err)
	}
	return data, nil
}

// lastWords is the beginning of a panic in a process's standard error, or else
// its first line.
func lastWords(dir string) string {
	// Without a text there is still an exit to tell of.
	data, err := readStderr(dir)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i, line := range lines {
		if isPanic(line) {
			return panicMessage(lines[i:])
		}
	}
	return clip(lines[0])
}

// isPanic tells whether a text is what the Go runtime prints when it ends the
// process.
func isPanic(text string) bool {
	return strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") || strings.HasPrefix(text, "runtime: ")
}

// panicMessage takes the message, the goroutine and the first calls of a panic
// that lines begin with.
func panicMessage(lines []string) string {
	end := len(lines)
	for i, line := range lines {
		if strings.HasPrefix(line, "goroutine ") {
			// Each call has a line for its name and one for its place.
			end = min(end, i+1+2*maxFrames)
			break
		}
	}
	for i, line := range lines[:end] {
		if line == "" && i > 0 && strings.HasPrefix(lines[i-1], "\t") && hasGoroutine(lines[:i]) {
			end = i
			break
		}
	}
	return clip(strings.Join(lines[:end], "\n"))
}

func hasGoroutine(lines []string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, "goroutine ") {
			return true
		}
	}
	return false
}

// clip cuts a text to the length of a message: after its last line that fits
// or, where not even the first one does, between two characters.
func clip(text string) string {
	if len(text) > maxMessage {
		// A line may end just where the message does.
		end := strings.LastIndexByte(text[:maxMessage+1], '\n')
		if end < 0 {
			end = maxMessage
		}
		text = strings.TrimRight(text[:end], "\n")
	}
	return strings.ToValidUTF8(text, "")
}

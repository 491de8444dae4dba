package runner

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// limitMemory bounds the memory that the process can write to.
func limitMemory(bytes int64) error {
	limit := &unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &now); err != nil {
		return fmt.Errorf("reading the limit of memory: %w", err)
	}
	if now.Max <= limit.Max {
		return nil // What is there is lower.
	}
	if err := unix.Setrlimit(unix.RLIMIT_DATA, limit); err != nil {
		return fmt.Errorf("limiting the memory to %d bytes: %w", bytes, err)
	}
	return nil
}

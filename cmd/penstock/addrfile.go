package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// clearAddr removes the file at path, which may tell the address of a server
// that was killed: whoever waits for the file must not read that one. An empty
// path is none.
func clearAddr(path string) error {
	if path == "" {
		return nil
	}
	// Unlike os.Remove, this leaves folders alone.
	if err := syscall.Unlink(path); err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("cannot remove --addr-file %s, which an earlier server wrote: %w", path, err)
	}
	return nil
}

// writeAddr puts addr into the file at path, all at once: whoever sees the file
// sees all of it.
func writeAddr(path, addr string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("cannot write --addr-file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
			err = fmt.Errorf("cannot write --addr-file %s: %w", path, err)
		}
	}()
	_, writeErr := temp.WriteString(addr + "\n")
	if err := errors.Join(writeErr, temp.Chmod(0o644), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

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

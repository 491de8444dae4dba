package main

import (
	"fmt"
	"io"
	"os"
)

// longestFile bounds a file that defines streams, resources or templates: a
// config of a few MB is a very long one.
const longestFile = 32 << 20

// readRegular reads a regular file, or what a symbolic link to one leads to. What
// else there is may never end, or have no writer: the server would wait for it.
// The error names the path.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fmt.Errorf("%s is a %s and no regular file: write the config into a file, or link to one", path, kindOf(info.Mode()))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestFile+1))
	if err == nil && len(text) > longestFile {
		return nil, fmt.Errorf("%s is longer than %d MiB, which no config is", path, longestFile>>20)
	}
	return text, err
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode&os.ModeNamedPipe != 0:
		return "pipe"
	case mode&os.ModeSocket != 0:
		return "socket"
	default:
		return "device"
	}
}

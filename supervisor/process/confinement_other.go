//go:build !linux

package process

import (
	"os"
	"syscall"
)

// startIn has nothing to do: there are no cgroups, and so no folder of one.
func startIn(*syscall.SysProcAttr, *os.File) {}

// preload has nothing to do: no reads are limited.
func preload(string) error { return nil }

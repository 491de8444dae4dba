//go:build !linux

package stats

import (
	"context"

	"github.com/shirou/gopsutil/v3/process"
)

// pssBytes is zero: only Linux counts shared pages by their share.
func pssBytes(context.Context, *process.Process) uint64 { return 0 }

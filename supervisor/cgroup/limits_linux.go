package cgroup

import (
	"fmt"
	"math"
)

// What the kernel can enforce at all. The least CPU time is 1 ms of its period
// of 100 ms; one byte or operation per second is refused by version 2.
const (
	minCPU       = 0.01
	maxCPU       = 1024
	maxCPUWeight = 10000
	maxBytes     = math.MaxInt64 / 4
	maxPIDs      = 1 << 22
	minIO        = 2
	maxIOPS      = math.MaxUint32 - 1
)

// check refuses figures that no kernel enforces.
func (l Limits) check() error {
	for _, field := range []struct {
		name        string
		value       int64
		least, most int64
	}{
		{"memory", l.Memory, 1, maxBytes},
		{"swap", l.Swap, 1, maxBytes},
		{"cpu_weight", int64(l.CPUWeight), 1, maxCPUWeight},
		{"pids", int64(l.PIDs), 1, maxPIDs},
		{"io.read_bps", l.IO.ReadBPS, minIO, maxBytes},
		{"io.write_bps", l.IO.WriteBPS, minIO, maxBytes},
		{"io.read_iops", int64(l.IO.ReadIOPS), minIO, maxIOPS},
		{"io.write_iops", int64(l.IO.WriteIOPS), minIO, maxIOPS},
	} {
		if field.value != 0 && (field.value < field.least || field.value > field.most) {
			return fmt.Errorf("%w: %s: %d is not from %d to %d, nor 0 for no limit", ErrUnenforceable, field.name, field.value, field.least, field.most)
		}
	}
	if l.CPU != 0 && !(l.CPU >= minCPU && l.CPU <= maxCPU) {
		return fmt.Errorf("%w: cpu: %g cores are not from %g to %d, nor 0 for no limit", ErrUnenforceable, l.CPU, minCPU, maxCPU)
	}
	if l.Swap != 0 && l.Memory == 0 {
		return fmt.Errorf("%w: swap: it is counted beyond the memory limit, and there is none: set memory", ErrUnenforceable)
	}
	return nil
}

// names are those of the limits that are set.
func (l Limits) names() []string {
	var names []string
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"memory", l.Memory != 0},
		{"swap", l.Swap != 0},
		{"cpu", l.CPU != 0},
		{"cpu_weight", l.CPUWeight != 0},
		{"pids", l.PIDs != 0},
		{"io.read_bps", l.IO.ReadBPS != 0},
		{"io.write_bps", l.IO.WriteBPS != 0},
		{"io.read_iops", l.IO.ReadIOPS != 0},
		{"io.write_iops", l.IO.WriteIOPS != 0},
	} {
		if field.set {
			names = append(names, field.name)
		}
	}
	return names
}

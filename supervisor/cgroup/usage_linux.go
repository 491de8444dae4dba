package cgroup

import (
	"path/filepath"
	"strconv"
	"strings"
)

// usage of version 1.
func (v1) usage(l *Leaf, u *Usage) error {
	if err := memoryUsageV1(l, u); err != nil {
		return err
	}
	if file := l.file("cpuacct", "cpuacct.usage"); file != "" {
		nanoseconds, err := readUint(file)
		if err != nil {
			return err
		}
		u.CPUSeconds = float64(nanoseconds) / 1e9
	}
	if file := l.file("cpu", "cpu.stat"); file != "" {
		keys, err := readKeys(file)
		if err != nil {
			return err
		}
		u.Periods, u.ThrottledPeriods = keys["nr_periods"], keys["nr_throttled"]
		u.ThrottledSeconds = float64(keys["throttled_time"]) / 1e9
	}
	if err := pidsUsage(l, u); err != nil {
		return err
	}
	return ioUsageV1(l, u)
}

func memoryUsageV1(l *Leaf, u *Usage) error {
	file := l.file("memory", "memory.usage_in_bytes")
	if file == "" {
		return nil
	}
	var err error
	if u.MemoryBytes, err = readUint(file); err != nil {
		return err
	}
	if u.MemoryPeakBytes, err = readUint(l.file("memory", "memory.max_usage_in_bytes")); err != nil {
		return err
	}
	u.OOMKills, err = v1{}.oomKills(l)
	return err
}

func (v1) oomKills(l *Leaf) (uint64, error) {
	return event(l.file("memory", "memory.oom_control"), "oom_kill")
}

// event is one number of a file of keys; 0 without the file's controller.
func event(file, key string) (uint64, error) {
	if file == "" {
		return 0, nil
	}
	keys, err := readKeys(file)
	return keys[key], err
}

// ioUsageV1 adds up the disks. What is stacked on them counts the same again.
func ioUsageV1(l *Leaf, u *Usage) error {
	for _, part := range []struct {
		file        string
		read, write *uint64
	}{
		{"blkio.throttle.io_service_bytes", &u.IOReadBytes, &u.IOWriteBytes},
		{"blkio.throttle.io_serviced", &u.IOReads, &u.IOWrites},
	} {
		file := l.has("blkio", part.file)
		if file == "" {
			continue
		}
		text, err := read(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			fields := strings.Fields(line)
			if len(fields) != 3 || fields[1] != "Read" && fields[1] != "Write" || stacked(fields[0]) {
				continue
			}
			n, err := number(file, fields[2])
			if err != nil {
				return err
			}
			if fields[1] == "Read" {
				*part.read += n
			} else {
				*part.write += n
			}
		}
	}
	return nil
}

// usage of version 2.
func (v2) usage(l *Leaf, u *Usage) error {
	if file := l.file("memory", "memory.current"); file != "" {
		var err error
		if u.MemoryBytes, err = readUint(file); err != nil {
			return err
		}
		if u.MemoryPeakBytes, err = readUint(l.file("memory", "memory.peak")); optional(err) != nil {
			return err
		}
		if u.OOMKills, err = (v2{}).oomKills(l); err != nil {
			return err
		}
	}
	// It exists without the controller too, with fewer keys.
	keys, err := readKeys(filepath.Join(l.dir(l.h.trees[0]), "cpu.stat"))
	if err != nil {
		return err
	}
	u.CPUSeconds, u.ThrottledSeconds = float64(keys["usage_usec"])/1e6, float64(keys["throttled_usec"])/1e6
	u.Periods, u.ThrottledPeriods = keys["nr_periods"], keys["nr_throttled"]
	if err := pidsUsage(l, u); err != nil {
		return err
	}
	return ioUsageV2(l, u)
}

func (v2) oomKills(l *Leaf) (uint64, error) {
	return event(l.file("memory", "memory.events"), "oom_kill")
}

func ioUsageV2(l *Leaf, u *Usage) error {
	file := l.file("io", "io.stat")
	if file == "" {
		return nil
	}
	text, err := read(file)
	if err != nil {
		return err
	}
	into := map[string]*uint64{"rbytes": &u.IOReadBytes, "wbytes": &u.IOWriteBytes, "rios": &u.IOReads, "wios": &u.IOWrites}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || stacked(fields[0]) {
			continue
		}
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			if sum, ok := into[key]; ok {
				n, err := number(file, value)
				if err != nil {
					return err
				}
				*sum += n
			}
		}
	}
	return nil
}

// pidsUsage is the same in both versions.
func pidsUsage(l *Leaf, u *Usage) error {
	file := l.file("pids", "pids.current")
	if file == "" {
		return nil
	}
	var err error
	if u.PIDs, err = readUint(file); err != nil {
		return err
	}
	u.PIDsRefused, err = event(l.file("pids", "pids.events"), "max")
	return optional(err)
}

// stall reads the pressure, which only version 2 has.
func (l *Leaf) stall(u *Usage) error {
	for _, t := range l.h.trees {
		if l.h.Version() == 1 && !t.companion {
			continue
		}
		var p Pressure
		for name, line := range map[string]*PressureLine{"cpu": &p.CPU, "memory": &p.Memory, "io": &p.IO} {
			text, err := read(filepath.Join(l.dir(t), name+".pressure"))
			if err != nil {
				return optional(err)
			}
			*line = parsePressure(text)
		}
		u.Pressure, u.IOWaitSeconds = &p, float64(p.IO.SomeTotal)/1e6
	}
	return nil
}

// parsePressure reads the lines some and full. Older kernels have no full for
// the CPU.
func parsePressure(text string) PressureLine {
	var p PressureLine
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		figures := map[string]float64{}
		for _, field := range strings.Fields(rest) {
			key, value, _ := strings.Cut(field, "=")
			figures[key], _ = strconv.ParseFloat(value, 64)
		}
		switch kind {
		case "some":
			p.SomeAvg10, p.SomeAvg60, p.SomeTotal = figures["avg10"], figures["avg60"], uint64(figures["total"])
		case "full":
			p.FullAvg10, p.FullAvg60, p.FullTotal = figures["avg10"], figures["avg60"], uint64(figures["total"])
		}
	}
	return p
}

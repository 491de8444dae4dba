package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// v2 is the second version of the interface: one hierarchy for all.
type v2 struct{}

func (v2) version() int { return 2 }

func (v2) needs() []need {
	return []need{
		{"memory", "memory", "memory.max"},
		{"swap", "memory", "memory.swap.max"},
		{"cpu", "cpu", "cpu.max"},
		{"cpu_weight", "cpu", "cpu.weight"},
		{"pids", "pids", "pids.max"},
		{"io.read_bps", "io", "io.max"},
		{"io.write_bps", "io", "io.max"},
		{"io.read_iops", "io", "io.max"},
		{"io.write_iops", "io", "io.max"},
	}
}

func (v2) mend(what string) string {
	switch what {
	case "memory", "cpu", "pids", "io":
		return fmt.Sprintf("have systemd delegate it (Delegate=yes in the unit), or enable it above: `echo +%s >> cgroup.subtree_control`", what)
	case "memory.swap.max":
		return "boot with swapaccount=1, or set no swap"
	default:
		return "use a kernel that was built with it, or leave the limit out"
	}
}

func (v2) memory(t tree) (uint64, error) {
	least := uint64(math.MaxUint64)
	for dir := t.dir; len(dir) >= len(t.mount); dir = filepath.Dir(dir) {
		text, err := read(filepath.Join(dir, "memory.max"))
		if errors.Is(err, fs.ErrNotExist) {
			// The root has none.
			continue
		}
		if err != nil {
			return 0, err
		}
		limit, err := fromMax(text)
		if err != nil {
			return 0, err
		}
		if limit != 0 {
			least = min(least, uint64(limit))
		}
	}
	return least, nil
}

func (v2) settings(l *Leaf, to Limits) ([]setting, error) {
	settings := memoryV2(l, to)
	if file := l.has("cpu", "cpu.max"); file != "" {
		value := "max"
		if to.CPU != 0 {
			value = quota(to.CPU)
		}
		value += " " + strconv.Itoa(period)
		settings = append(settings, setting{limit: "cpu", path: file, value: value, holds: exactly(value)})
	}
	if file := l.has("cpu", "cpu.weight"); file != "" {
		value := "100"
		if to.CPUWeight != 0 {
			value = strconv.Itoa(to.CPUWeight)
		}
		settings = append(settings, setting{limit: "cpu_weight", path: file, value: value, holds: exactly(value)})
	}
	if file := l.has("pids", "pids.max"); file != "" {
		value := orMax(to.PIDs)
		settings = append(settings, setting{limit: "pids", path: file, value: value, holds: exactly(value)})
	}
	if file := l.has("io", "io.max"); file != "" {
		settings = append(settings, ioV2(l.h.disks.devices, file, to.IO)...)
	}
	return settings, nil
}

// memoryV2 sets memory and what goes with it: swap has a limit of its own, and
// at the limit all processes of the leaf end together.
func memoryV2(l *Leaf, to Limits) []setting {
	file := l.has("memory", "memory.max")
	if file == "" {
		return nil
	}
	bytes := func(limit, file string, value int64, none string) setting {
		s := setting{limit: limit, path: file, value: none, holds: exactly(none)}
		if value != 0 {
			s.value, s.holds = strconv.FormatInt(value, 10), pages(value)
		}
		return s
	}
	memory := bytes("memory", file, to.Memory, "max")
	if to.Memory != 0 {
		memory.before = func() error { return makeRoom(l, to.Memory) }
	}
	settings := []setting{memory}
	if file := l.has("memory", "memory.swap.max"); file != "" {
		settings = append(settings, bytes("swap", file, to.Swap, "0"))
	}
	if file := l.has("memory", "memory.oom.group"); file != "" {
		settings = append(settings, setting{limit: "memory", path: file, value: "1", holds: exactly("1")})
	}
	return settings
}

// makeRoom sees to it that a limit is not below what is in use: the kernel
// would take it and kill the processes at once. What can be freed is freed
// before, where the kernel offers that (Linux 5.19).
func makeRoom(l *Leaf, limit int64) error {
	file := l.file("memory", "memory.current")
	used, err := readUint(file)
	if err != nil {
		return err
	}
	if used <= uint64(limit) {
		return nil
	}
	free := write(l.file("memory", "memory.reclaim"), strconv.FormatUint(used-uint64(limit), 10))
	// It fails with EAGAIN when it could free a part only, which may be enough.
	if optional(free) != nil && !errors.Is(free, unix.EAGAIN) {
		return free
	}
	if used, err = readUint(file); err != nil {
		return err
	}
	if used > uint64(limit) {
		return busy(file, strconv.FormatInt(limit, 10))
	}
	return nil
}

func ioV2(devices []string, file string, to IO) []setting {
	var fields []string
	for i, figure := range to.figures() {
		fields = append(fields, ioKinds[i].v2+"="+orMax(figure))
	}
	value := strings.Join(fields, " ")
	var settings []setting
	for _, device := range devices {
		settings = append(settings, setting{
			limit: "io", path: file, value: device + " " + value,
			holds: func(text string) bool {
				got := ofDevice(text, device)
				return got == value || got == "" && to == (IO{})
			},
		})
	}
	return settings
}

func (v2) limits(l *Leaf) (Limits, error) {
	var out Limits
	for _, part := range []func(*Leaf, *Limits) error{memoryLimitsV2, cpuLimitsV2, pidsLimit, ioLimitsV2} {
		if err := part(l, &out); err != nil {
			return Limits{}, err
		}
	}
	return out, nil
}

func memoryLimitsV2(l *Leaf, out *Limits) error {
	for _, part := range []struct {
		file string
		into *int64
	}{{"memory.max", &out.Memory}, {"memory.swap.max", &out.Swap}} {
		file := l.has("memory", part.file)
		if file == "" {
			continue
		}
		text, err := read(file)
		if err != nil {
			return err
		}
		if *part.into, err = fromMax(text); err != nil {
			return err
		}
	}
	return nil
}

func cpuLimitsV2(l *Leaf, out *Limits) error {
	if file := l.has("cpu", "cpu.max"); file != "" {
		text, err := read(file)
		if err != nil {
			return err
		}
		quota, period, _ := strings.Cut(text, " ")
		if out.CPU, err = cores(quota, period); err != nil {
			return err
		}
	}
	if file := l.has("cpu", "cpu.weight"); file != "" {
		weight, err := readUint(file)
		if err != nil {
			return err
		}
		if weight != 100 {
			out.CPUWeight = int(weight)
		}
	}
	return nil
}

func ioLimitsV2(l *Leaf, out *Limits) error {
	file := l.has("io", "io.max")
	if file == "" || len(l.h.disks.devices) == 0 {
		return nil
	}
	text, err := read(file)
	if err != nil {
		return err
	}
	var figures [4]int64
	// All disks have the same.
	for _, field := range strings.Fields(ofDevice(text, l.h.disks.devices[0])) {
		key, value, _ := strings.Cut(field, "=")
		for i, kind := range ioKinds {
			if kind.v2 == key {
				if figures[i], err = fromMax(value); err != nil {
					return err
				}
			}
		}
	}
	out.IO = ioOf(figures)
	return nil
}

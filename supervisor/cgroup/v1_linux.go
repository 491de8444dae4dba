package cgroup

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// defaultParent is below the root, where nobody else's cgroups are.
const defaultParent = "/penstock"

// v1 is the first version of the interface: a hierarchy per controller.
type v1 struct{}

// openV1 makes the subtree in each controller that can be written.
func (s system) openV1(cfg Config) (*Hierarchy, error) {
	h := &Hierarchy{kernel: v1{}, missing: map[string]string{}, disks: findDisks(cfg.Paths)}
	parent, found := cfg.Parent, cfg.Parent != ""
	if !found {
		if parent, found = s.unit(); !found {
			parent, h.shared = defaultParent, defaultParent
		}
	}
	h.path = filepath.Join(parent, cfg.Name)
	for _, controller := range controllers {
		m, ok := s.holding(controller)
		if !ok {
			continue
		}
		dir := filepath.Join(m.point, h.path)
		if i := slices.IndexFunc(h.trees, func(t tree) bool { return t.dir == dir }); i >= 0 {
			// cpu and cpuacct are often mounted as one.
			h.trees[i].controllers = append(h.trees[i].controllers, controller)
			continue
		}
		if err := makeSubtree(dir); err != nil {
			h.missing[controller] = err.Error()
			continue
		}
		h.trees = append(h.trees, tree{mount: m.point, dir: dir, controllers: []string{controller}})
	}
	if len(h.trees) == 0 {
		why := strings.Join(slices.Sorted(maps.Values(h.missing)), "; ")
		return nil, fmt.Errorf("%w: %s: run the server as root with a writable /sys/fs/cgroup, or set limits.cgroup_parent to a cgroup that belongs to its user", ErrUnavailable, why)
	}
	s.addCompanion(h)
	h.countIO()
	return h, nil
}

// addCompanion adds version 2 where it is mounted beside. Leaves do without it
// where it cannot be written.
func (s system) addCompanion(h *Hierarchy) {
	m, ok := s.v2()
	if !ok {
		return
	}
	dir := filepath.Join(m.point, h.path)
	if makeSubtree(dir) == nil {
		h.trees = append(h.trees, tree{mount: m.point, dir: dir, forks: canFork(), companion: true})
	}
}

// makeSubtree makes a folder and says why nothing can be made in it.
func makeSubtree(dir string) error {
	// Another supervisor that ends may remove the parent in between.
	for range 3 {
		if err := os.MkdirAll(dir, 0o755); err == nil || !os.IsNotExist(err) {
			if err != nil {
				return err
			}
			return writable(dir)
		}
	}
	return os.MkdirAll(dir, 0o755)
}

// countIO has the kernel count what is read and written: since Linux 6.9 it
// does so only for a disk that some cgroup has had a limit for, be it "none".
func (h *Hierarchy) countIO() {
	t := h.tree("blkio")
	if t == nil {
		return
	}
	for _, device := range h.disks.devices {
		// Only figures depend on it.
		_ = write(filepath.Join(t.dir, "blkio.throttle.read_bps_device"), device+" 0")
	}
}

func (v1) version() int { return 1 }

func (v1) needs() []need {
	return []need{
		{"memory", "memory", "memory.limit_in_bytes"},
		{"swap", "memory", "memory.memsw.limit_in_bytes"},
		{"cpu", "cpu", "cpu.cfs_quota_us"},
		{"cpu_weight", "cpu", "cpu.shares"},
		{"pids", "pids", "pids.max"},
		{"io.read_bps", "blkio", throttle("read_bps")},
		{"io.write_bps", "blkio", throttle("write_bps")},
		{"io.read_iops", "blkio", throttle("read_iops")},
		{"io.write_iops", "blkio", throttle("write_iops")},
	}
}

func throttle(kind string) string { return "blkio.throttle." + kind + "_device" }

func (v1) mend(what string) string {
	switch what {
	case "memory":
		return "boot with cgroup_enable=memory, and mount it: `mount -t cgroup -o memory none /sys/fs/cgroup/memory`"
	case "memory.memsw.limit_in_bytes":
		return "boot with swapaccount=1, or set no swap"
	case "cpu", "pids", "blkio":
		return fmt.Sprintf("mount it where the server can write: `mount -t cgroup -o %s none /sys/fs/cgroup/%[1]s`", what)
	default:
		return "use a kernel that was built with it, or leave the limit out"
	}
}

func (v1) memory(t tree) (uint64, error) {
	keys, err := readKeys(filepath.Join(t.dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	// This counts what is above a container's root too.
	if limit, ok := keys["hierarchical_memory_limit"]; ok {
		return limit, nil
	}
	return math.MaxUint64, nil
}

func (v1) settings(l *Leaf, to Limits) ([]setting, error) {
	settings, err := memoryV1(l, to)
	if err != nil {
		return nil, err
	}
	if file := l.has("cpu", "cpu.cfs_quota_us"); file != "" {
		text, value := strconv.Itoa(period), "-1"
		if to.CPU != 0 {
			value = quota(to.CPU)
		}
		settings = append(settings,
			setting{limit: "cpu", path: l.file("cpu", "cpu.cfs_period_us"), value: text, holds: exactly(text)},
			setting{limit: "cpu", path: file, value: value, holds: exactly(value)})
	}
	if file := l.has("cpu", "cpu.shares"); file != "" {
		value := shares(to.CPUWeight)
		settings = append(settings, setting{limit: "cpu_weight", path: file, value: value, holds: exactly(value)})
	}
	if file := l.has("pids", "pids.max"); file != "" {
		value := orMax(to.PIDs)
		settings = append(settings, setting{limit: "pids", path: file, value: value, holds: exactly(value)})
	}
	return append(settings, ioV1(l, to.IO)...), nil
}

// memoryV1 sets memory, and memory with swap, which may never be the smaller
// one of the two.
func memoryV1(l *Leaf, to Limits) ([]setting, error) {
	file := l.file("memory", "memory.limit_in_bytes")
	if file == "" {
		return nil, nil
	}
	now, err := readUint(file)
	if err != nil {
		return nil, err
	}
	bytes := func(name string, value int64) setting {
		s := setting{limit: "memory", path: l.file("memory", "memory."+name+"limit_in_bytes"), value: "-1", holds: unlimited}
		if to.Memory != 0 {
			s.value, s.holds = strconv.FormatInt(value, 10), pages(value)
			s.usage = l.file("memory", "memory."+name+"usage_in_bytes")
		}
		return s
	}
	settings := []setting{bytes("", to.Memory)}
	if l.has("memory", "memory.memsw.limit_in_bytes") != "" {
		settings = append(settings, bytes("memsw.", to.Memory+to.Swap))
		if to.Memory == 0 || uint64(to.Memory+to.Swap) >= now {
			slices.Reverse(settings)
		}
	}
	if file := l.has("memory", "memory.swappiness"); file != "" {
		value := "0"
		if to.Swap != 0 {
			if value, err = read(filepath.Join(l.h.tree("memory").dir, "memory.swappiness")); err != nil {
				return nil, err
			}
		}
		settings = append(settings, setting{limit: "swap", path: file, value: value, holds: exactly(value)})
	}
	return settings, nil
}

// shares are the weight in version 1, whose default is 1024 and not 100.
func shares(weight int) string {
	if weight == 0 {
		weight = 100
	}
	return strconv.FormatInt(int64(math.Round(float64(weight)*1024/100)), 10)
}

// weight is the other way round, and 0 for the default.
func weight(shares uint64) int {
	if shares == 1024 {
		return 0
	}
	return int(math.Round(float64(shares) * 100 / 1024))
}

func ioV1(l *Leaf, to IO) []setting {
	var settings []setting
	for i, figure := range to.figures() {
		file := l.has("blkio", throttle(ioKinds[i].v1))
		if file == "" {
			continue
		}
		value := strconv.FormatInt(figure, 10)
		for _, device := range l.h.disks.devices {
			settings = append(settings, setting{
				limit: "io." + ioKinds[i].v1, path: file, value: device + " " + value,
				holds: func(text string) bool {
					got := ofDevice(text, device)
					return got == value || got == "" && figure == 0
				},
			})
		}
	}
	return settings
}

func (v1) limits(l *Leaf) (Limits, error) {
	var out Limits
	for _, part := range []func(*Leaf, *Limits) error{memoryLimitsV1, cpuLimitsV1, pidsLimit, ioLimitsV1} {
		if err := part(l, &out); err != nil {
			return Limits{}, err
		}
	}
	return out, nil
}

func memoryLimitsV1(l *Leaf, out *Limits) error {
	file := l.file("memory", "memory.limit_in_bytes")
	if file == "" {
		return nil
	}
	memory, err := readUint(file)
	if err != nil || memory >= unlimitedBytes {
		return err
	}
	out.Memory = int64(memory)
	if file = l.has("memory", "memory.memsw.limit_in_bytes"); file == "" {
		return nil
	}
	both, err := readUint(file)
	if err == nil && both < unlimitedBytes {
		out.Swap = int64(both - memory)
	}
	return err
}

func cpuLimitsV1(l *Leaf, out *Limits) error {
	if file := l.has("cpu", "cpu.cfs_quota_us"); file != "" {
		quota, err := read(file)
		if err != nil {
			return err
		}
		period, err := read(l.file("cpu", "cpu.cfs_period_us"))
		if err != nil {
			return err
		}
		if out.CPU, err = cores(quota, period); err != nil {
			return err
		}
	}
	if file := l.has("cpu", "cpu.shares"); file != "" {
		shares, err := readUint(file)
		if err != nil {
			return err
		}
		out.CPUWeight = weight(shares)
	}
	return nil
}

func ioLimitsV1(l *Leaf, out *Limits) error {
	if len(l.h.disks.devices) == 0 {
		return nil
	}
	var figures [4]int64
	for i := range figures {
		file := l.has("blkio", throttle(ioKinds[i].v1))
		if file == "" {
			continue
		}
		text, err := read(file)
		if err != nil {
			return err
		}
		// All disks have the same.
		if got := ofDevice(text, l.h.disks.devices[0]); got != "" {
			if figures[i], err = fromMax(got); err != nil {
				return err
			}
		}
	}
	out.IO = ioOf(figures)
	return nil
}

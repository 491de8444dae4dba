package integration

import (
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cgroupRoot is where the kernel shows its cgroups: those of version 2, or one
// folder for each controller of version 1.
const cgroupRoot = "/sys/fs/cgroup"

// cgroupVersion tells which of them limits.
func cgroupVersion() int {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return 2
	}
	return 1
}

// kernelFile names what holds a figure: the controller and its file in version
// 1, and the file in version 2.
type kernelFile struct{ controller, v1, v2 string }

// cgroupOf are the folders of the cgroup that a process is in, by controller;
// of version 2 the only one, without a name. Nothing of it is asked of Penstock.
func cgroupOf(t testing.TB, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(procFile(pid, "cgroup"))
	require.NoError(t, err)
	dirs := map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		require.Len(t, fields, 3, "a line of %s", procFile(pid, "cgroup"))
		for _, controller := range strings.Split(fields[1], ",") {
			switch {
			case cgroupVersion() == 1:
				dirs[controller] = filepath.Join(cgroupRoot, controller, fields[2])
			case controller == "":
				dirs[""] = filepath.Join(cgroupRoot, fields[2])
			}
		}
	}
	return dirs
}

// readKernel reads a file of the cgroup of a process.
func readKernel(t testing.TB, dirs map[string]string, file kernelFile) string {
	t.Helper()
	text, err := os.ReadFile(kernelPath(dirs, file))
	require.NoError(t, err)
	return strings.TrimSpace(string(text))
}

// kernelPath is where a file of the cgroup of a process is.
func kernelPath(dirs map[string]string, file kernelFile) string {
	if cgroupVersion() == 2 {
		return filepath.Join(dirs[""], file.v2)
	}
	return filepath.Join(dirs[file.controller], file.v1)
}

// kernelNumber is a number in a kernel's file, and 0 for no limit: in version 1
// that is -1, or the largest number of whole pages.
func kernelNumber(t testing.TB, text string) float64 {
	t.Helper()
	if text == "max" || text == "-1" {
		return 0
	}
	number, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	if number > 1<<62 {
		return 0
	}
	return number
}

// kernelKey is the number of a key in a file of keys.
func kernelKey(t testing.TB, text, key string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			return kernelNumber(t, f[1])
		}
	}
	require.Fail(t, "no such key", "%s in %q", key, text)
	return 0
}

// limitFigures are limits, as a status has them and as the kernel does. Zero is
// none.
type limitFigures struct {
	Memory    float64 `json:"memory_bytes"`
	Swap      float64 `json:"swap_bytes"`
	CPU       float64 `json:"cpu"`
	CPUWeight float64 `json:"cpu_weight"`
	PIDs      float64 `json:"pids"`
	IO        struct {
		ReadBPS   float64 `json:"read_bps"`
		WriteBPS  float64 `json:"write_bps"`
		ReadIOPS  float64 `json:"read_iops"`
		WriteIOPS float64 `json:"write_iops"`
	} `json:"io"`
	NoFile float64 `json:"nofile"`
}

// kernelLimits reads those of a process. The limit of open files counts where
// it is not that of the supervisor.
func kernelLimits(t testing.TB, pid, supervisor int) (l limitFigures) {
	t.Helper()
	dirs := cgroupOf(t, pid)
	number := func(controller, v1, v2 string) float64 {
		return kernelNumber(t, readKernel(t, dirs, kernelFile{controller, v1, v2}))
	}
	l.Memory = number("memory", "memory.limit_in_bytes", "memory.max")
	l.PIDs = number("pids", "pids.max", "pids.max")
	if cgroupVersion() == 2 {
		l.Swap = number("", "", "memory.swap.max")
		quota, period, _ := strings.Cut(readKernel(t, dirs, kernelFile{v2: "cpu.max"}), " ")
		l.CPU = kernelNumber(t, quota) / kernelNumber(t, period)
		l.CPUWeight = number("", "", "cpu.weight")
		for _, field := range strings.Fields(sameForAllDisks(t, readKernel(t, dirs, kernelFile{v2: "io.max"}))) {
			key, value, _ := strings.Cut(field, "=")
			*map[string]*float64{
				"rbps": &l.IO.ReadBPS, "wbps": &l.IO.WriteBPS, "riops": &l.IO.ReadIOPS, "wiops": &l.IO.WriteIOPS,
			}[key] = kernelNumber(t, value)
		}
	} else {
		if l.Memory > 0 {
			l.Swap = number("memory", "memory.memsw.limit_in_bytes", "") - l.Memory
		}
		l.CPU = number("cpu", "cpu.cfs_quota_us", "") / number("cpu", "cpu.cfs_period_us", "")
		l.CPUWeight = math.Round(number("cpu", "cpu.shares", "") * 100 / 1024)
		for name, into := range map[string]*float64{
			"read_bps": &l.IO.ReadBPS, "write_bps": &l.IO.WriteBPS, "read_iops": &l.IO.ReadIOPS, "write_iops": &l.IO.WriteIOPS,
		} {
			text := readKernel(t, dirs, kernelFile{controller: "blkio", v1: "blkio.throttle." + name + "_device"})
			*into = kernelNumber(t, "0"+sameForAllDisks(t, text))
		}
	}
	if l.CPUWeight == 100 {
		// The kernel's default: there is no having none.
		l.CPUWeight = 0
	}
	if files := openFilesLimit(t, pid); files != openFilesLimit(t, supervisor) {
		l.NoFile = files
	}
	return l
}

// sameForAllDisks is what a file says of a disk, which it is to say of all.
func sameForAllDisks(t testing.TB, text string) (figures string) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, of, _ := strings.Cut(strings.TrimSpace(line), " ")
		require.Contains(t, []string{"", of}, figures, "limits of disks that differ: %s", text)
		figures = of
	}
	return figures
}

// openFilesLimit is a process's, the soft one, which is to be the hard one too
// where a stream has one.
func openFilesLimit(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(procFile(pid, "limits"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "Max open files"); found {
			return kernelNumber(t, strings.Fields(rest)[0])
		}
	}
	require.Fail(t, "no limit of open files", "%s", text)
	return 0
}

// kernelUsage is what the kernel has counted for a process's cgroup, by the
// places in a status's usage.
func kernelUsage(t testing.TB, pid int) map[string]float64 {
	t.Helper()
	dirs := cgroupOf(t, pid)
	text := func(controller, v1, v2 string) string { return readKernel(t, dirs, kernelFile{controller, v1, v2}) }
	stat := text("cpu", "cpu.stat", "cpu.stat")
	out := map[string]float64{
		"memory.bytes":          kernelNumber(t, text("memory", "memory.usage_in_bytes", "memory.current")),
		"memory.peak_bytes":     kernelNumber(t, text("memory", "memory.max_usage_in_bytes", "memory.peak")),
		"memory.oom_kills":      kernelKey(t, text("memory", "memory.oom_control", "memory.events"), "oom_kill"),
		"pids.current":          kernelNumber(t, text("pids", "pids.current", "pids.current")),
		"pids.refused":          kernelKey(t, text("pids", "pids.events", "pids.events"), "max"),
		"cpu.periods":           kernelKey(t, stat, "nr_periods"),
		"cpu.throttled_periods": kernelKey(t, stat, "nr_throttled"),
	}
	if cgroupVersion() == 2 {
		out["cpu.seconds"] = kernelKey(t, stat, "usage_usec") / 1e6
		out["cpu.throttled_seconds"] = kernelKey(t, stat, "throttled_usec") / 1e6
		for line := range strings.Lines(text("", "", "io.stat")) {
			for _, field := range strings.Fields(line)[1:] {
				key, value, _ := strings.Cut(field, "=")
				if place, counted := map[string]string{
					"rbytes": "io.read_bytes", "wbytes": "io.write_bytes", "rios": "io.reads", "wios": "io.writes",
				}[key]; counted {
					out[place] += kernelNumber(t, value)
				}
			}
		}
		return out
	}
	out["cpu.seconds"] = kernelNumber(t, text("cpuacct", "cpuacct.usage", "")) / 1e9
	out["cpu.throttled_seconds"] = kernelKey(t, stat, "throttled_time") / 1e9
	for place, file := range map[string]string{
		"Read io.read_bytes": "io_service_bytes", "Write io.write_bytes": "io_service_bytes",
		"Read io.reads": "io_serviced", "Write io.writes": "io_serviced",
	} {
		kind, name, _ := strings.Cut(place, " ")
		for line := range strings.Lines(text("blkio", "blkio.throttle."+file, "")) {
			if f := strings.Fields(line); len(f) == 3 && f[1] == kind {
				out[name] += kernelNumber(t, f[2])
			}
		}
	}
	return out
}

// gauges are the figures of kernelUsage that can fall.
var gauges = []string{"memory.bytes", "pids.current"}

// between asserts that figures lie between what the kernel said before they were
// asked for and what it said after. What can fall may have been anything.
func between(t testing.TB, before, after map[string]float64, got func(place string) (float64, error)) {
	t.Helper()
	for place := range after {
		figure, err := got(place)
		if !assert.NoError(t, err, place) || slices.Contains(gauges, place) {
			continue
		}
		assert.GreaterOrEqual(t, figure, before[place], place)
		assert.LessOrEqual(t, figure, after[place], place)
	}
}

// leavesOf are the names of all cgroups that a supervisor has for runners, in
// any hierarchy. The cgroup is one of them, as a status has it.
func leavesOf(t testing.TB, cgroup string) []string {
	t.Helper()
	require.NotEmpty(t, cgroup)
	var names []string
	for _, root := range []string{cgroupRoot, filepath.Join(cgroupRoot, "*")} {
		// Every cgroup has this file, whatever its version and controller.
		found, err := filepath.Glob(filepath.Join(root, path.Dir(cgroup), "*", "cgroup.procs"))
		require.NoError(t, err)
		for _, file := range found {
			names = append(names, filepath.Base(filepath.Dir(file)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// awaitLeaves waits until a supervisor has so many cgroups for runners.
func awaitLeaves(t testing.TB, cgroup string, want int) {
	t.Helper()
	await(t, patience, "cgroups to be removed", func() error {
		if left := leavesOf(t, cgroup); len(left) != want {
			return fmt.Errorf("there are %v instead of %d", left, want)
		}
		return nil
	})
}

package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Inspect reads what is in force for a process. The error wraps
// fs.ErrNotExist when there is no such process.
func Inspect(pid int) (Layers, error) {
	layers, err := inspect("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return Layers{}, fmt.Errorf("inspecting process %d: %w", pid, err)
	}
	return layers, nil
}

func inspect(dir string) (Layers, error) {
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Layers{}, err
	}
	fields := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if name, values, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.Fields(values)
		}
	}
	// number reads one of a line's values.
	number := func(name string, index, base int) uint64 {
		if err != nil {
			return 0
		}
		values := fields[name]
		if index >= len(values) {
			err = fmt.Errorf("%s/status says nothing of %s", dir, name)
			return 0
		}
		var value uint64
		value, err = strconv.ParseUint(values[index], base, 64)
		return value
	}
	layers := Layers{
		UID:         uint32(number("Uid", 1, 10)), // the effective one
		GID:         uint32(number("Gid", 1, 10)),
		NoNewPrivs:  number("NoNewPrivs", 0, 10) == 1,
		Seccomp:     number("Seccomp", 0, 10) == 2, // a filter
		LandlockABI: landlockABI(),
	}
	held := number("CapPrm", 0, 16) | number("CapEff", 0, 16) | number("CapInh", 0, 16) | number("CapAmb", 0, 16)
	bounding := number("CapBnd", 0, 16)
	layers.Capabilities = held != 0 || bounding != 0 && !layers.NoNewPrivs
	if err != nil {
		return Layers{}, err
	}
	for _, name := range []string{"mnt", "pid", "ipc", "uts"} {
		theirs, err := os.Readlink(dir + "/ns/" + name)
		if err != nil {
			return Layers{}, err
		}
		ours, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return Layers{}, err
		}
		if theirs != ours {
			layers.Namespaces = append(layers.Namespaces, name)
		}
	}
	return layers, nil
}

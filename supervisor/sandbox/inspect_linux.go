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

// status is a process's or a thread's file of that name.
type status struct {
	path   string
	fields map[string][]string
	// err is the first fault of what was read.
	err error
}

func readStatus(dir string) (*status, error) {
	s := &status{path: dir + "/status", fields: map[string][]string{}}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if name, values, ok := strings.Cut(line, ":"); ok {
			s.fields[name] = strings.Fields(values)
		}
	}
	return s, nil
}

// number reads one of a line's values.
func (s *status) number(name string, index, base int) uint64 {
	if s.err != nil {
		return 0
	}
	values := s.fields[name]
	if index >= len(values) {
		s.err = fmt.Errorf("%s says nothing of %s", s.path, name)
		return 0
	}
	var value uint64
	value, s.err = strconv.ParseUint(values[index], base, 64)
	return value
}

// held are the capabilities that it has or passes on.
func (s *status) held() uint64 {
	return s.number("CapPrm", 0, 16) | s.number("CapEff", 0, 16) | s.number("CapInh", 0, 16) | s.number("CapAmb", 0, 16)
}

// filterMode is what status says of Seccomp when there is a filter.
const filterMode = 2

func inspect(dir string) (Layers, error) {
	s, err := readStatus(dir)
	if err != nil {
		return Layers{}, err
	}
	layers := Layers{
		UID:         uint32(s.number("Uid", 1, 10)), // the effective one
		GID:         uint32(s.number("Gid", 1, 10)),
		NoNewPrivs:  s.number("NoNewPrivs", 0, 10) == 1,
		Seccomp:     s.number("Seccomp", 0, 10) == filterMode,
		LandlockABI: landlockABI(),
	}
	held, bounding := s.held(), s.number("CapBnd", 0, 16)
	layers.Capabilities = held != 0 || bounding != 0 && !layers.NoNewPrivs
	if s.err != nil {
		return Layers{}, s.err
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

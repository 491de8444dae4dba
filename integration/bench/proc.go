package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of the CPU times in /proc: 100 a second on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// memory is what one process holds, in bytes.
type memory struct {
	// PSS counts a page that n processes share as one nth of a page.
	PSS int64
	// Private counts only the pages that no other process has.
	Private int64
}

func (m memory) plus(other memory) memory {
	return memory{PSS: m.PSS + other.PSS, Private: m.Private + other.Private}
}

func memoryOf(pid int) (memory, error) {
	text, err := os.ReadFile(procFile(pid, "smaps_rollup"))
	if err != nil {
		return memory{}, err
	}
	m, err := parseRollup(string(text))
	if err != nil {
		return memory{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return m, nil
}

func parseRollup(text string) (memory, error) {
	var m memory
	seen := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kb, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("reading smaps_rollup: %w", err)
		}
		switch fields[0] {
		case "Pss:":
			m.PSS, seen = kb<<10, true
		case "Private_Clean:", "Private_Dirty:":
			m.Private += kb << 10
		}
	}
	if !seen {
		return memory{}, errors.New("smaps_rollup tells no Pss")
	}
	return m, nil
}

// memoryOfAll sums up several processes.
func memoryOfAll(pids []int) (memory, error) {
	var sum memory
	for _, pid := range pids {
		m, err := memoryOf(pid)
		if err != nil {
			return memory{}, err
		}
		sum = sum.plus(m)
	}
	return sum, nil
}

// resident is the memory of one process that is not swapped, in bytes: what it
// is and the most that it was.
type resident struct{ now, peak int64 }

func residentOf(pid int) (resident, error) {
	text, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return resident{}, err
	}
	return parseResident(string(text))
}

func parseResident(text string) (r resident, err error) {
	for name, to := range map[string]*int64{"VmRSS:": &r.now, "VmHWM:": &r.peak} {
		_, rest, _ := strings.Cut(text, "\n"+name)
		line, _, _ := strings.Cut(rest, "\n")
		kb, parsed := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
		if parsed != nil {
			err = fmt.Errorf("reading %s of a status: %w", name, parsed)
		}
		*to = kb << 10
	}
	return r, err
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	parent int
	cpu    time.Duration
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, nil
}

func parseStat(text []byte) (stat, error) {
	// The second field is the name in parentheses and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	// What follows it is, from 0: state, parent, … user time 11, system time 12.
	const parent, user, system = 1, 11, 12
	if len(fields) <= system {
		return stat{}, fmt.Errorf("unexpected stat: %q", text)
	}
	var values [3]int64
	for i, at := range []int{parent, user, system} {
		var err error
		if values[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return stat{}, fmt.Errorf("unexpected stat: %w", err)
		}
	}
	return stat{parent: int(values[0]), cpu: time.Duration(values[1]+values[2]) * tick}, nil
}

// children returns the processes whose parent is one of pids. For a supervisor
// these are its runners, and what it keeps for new ones.
func children(pids ...int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for processes: %w", err)
	}
	var found []int
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		s, err := readStat(child)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(pids, s.parent) {
			found = append(found, child)
		}
	}
	return found, nil
}

// descendants returns the children of a process, theirs, and so on.
func descendants(pid int) ([]int, error) {
	var all []int
	next, err := children(pid)
	for err == nil && len(next) > 0 {
		all = append(all, next...)
		next, err = children(next...)
	}
	return all, err
}

// cpuOf sums up the CPU time of several processes since their start.
func cpuOf(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		s, err := readStat(pid)
		if err != nil {
			return 0, err
		}
		sum += s.cpu
	}
	return sum, nil
}

// threadTimes sums up the CPU time of the threads that several processes have, in
// nanoseconds instead of ticks: of processes that do next to nothing.
func threadTimes(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		threads, err := filepath.Glob(procFile(pid, "task/*/schedstat"))
		if err != nil {
			return 0, err
		}
		if len(threads) == 0 {
			return 0, fmt.Errorf("process %d tells no times of its threads", pid)
		}
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue // ended meanwhile
			}
			if err != nil {
				return 0, err
			}
			ran, _, _ := strings.Cut(string(text), " ")
			nanoseconds, err := strconv.ParseInt(ran, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading %s: %w", file, err)
			}
			sum += time.Duration(nanoseconds)
		}
	}
	return sum, nil
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("reading the benchmark's own CPU time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

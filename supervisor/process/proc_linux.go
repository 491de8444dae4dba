package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// bootID is the kernel's id of the present boot.
func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the system's boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// procStat is what we read of /proc/PID/stat.
type procStat struct {
	state     byte
	session   int
	startTime uint64
	// exitCode is a wait status. Zero unless state is Z.
	exitCode int
}

func (s procStat) dead() bool { return s.state == 'Z' || s.state == 'X' }

// Places of fields in /proc/PID/stat, counted from the one after the name; see
// proc_pid_stat(5), where these are 3, 6, 22 and 52.
const (
	statState     = 0
	statSession   = 3
	statStartTime = 19
	statExitCode  = 49
)

func readStat(pid int) (procStat, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	data, err := os.ReadFile(path)
	if err != nil {
		return procStat{}, err
	}
	// The name may hold anything, even a parenthesis.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) <= statExitCode {
		return procStat{}, fmt.Errorf("%s has %d fields after the name, too few", path, len(fields))
	}
	session, sessionErr := strconv.Atoi(fields[statSession])
	start, startErr := strconv.ParseUint(fields[statStartTime], 10, 64)
	code, codeErr := strconv.Atoi(fields[statExitCode])
	if sessionErr != nil || startErr != nil || codeErr != nil {
		return procStat{}, fmt.Errorf("%s cannot be read: %q", path, data)
	}
	return procStat{state: fields[statState][0], session: session, startTime: start, exitCode: code}, nil
}

// effectiveUID is the user that a process acts as.
func effectiveUID(pid int) (uint32, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "status")
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "\nUid:")
	line, _, _ := strings.Cut(rest, "\n")
	// Real, effective, saved, of the file system.
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0, fmt.Errorf("%s has no Uid", path)
	}
	uid, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return uint32(uid), nil
}

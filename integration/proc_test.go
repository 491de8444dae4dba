package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// process is one entry of /proc at the moment it was read.
type process struct {
	PID, PPID int
	// State is the kernel's letter: R, S, D, T (stopped), Z (zombie) …
	State string
	// Cmdline is the command line with spaces between the arguments.
	Cmdline string
}

func (p process) String() string {
	return fmt.Sprintf("%d (parent %d, state %s): %s", p.PID, p.PPID, p.State, p.Cmdline)
}

// children returns the processes whose parent is pid, zombies too.
func children(pid int) []process {
	return slices.DeleteFunc(processes(), func(p process) bool { return p.PPID != pid })
}

// mentioning returns the processes that have text in their command line or
// environment, the test's own process left out. A data directory's path finds
// every process of one supervisor, whoever its parent is by now.
func mentioning(text string) []process {
	return slices.DeleteFunc(processes(), func(p process) bool {
		if p.PID == os.Getpid() {
			return true
		}
		env, err := os.ReadFile(procFile(p.PID, "environ"))
		return !strings.Contains(p.Cmdline, text) && (err != nil || !bytes.Contains(env, []byte(text)))
	})
}

// processes reads /proc; a process that ends meanwhile is left out.
func processes() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		panic(err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			found = append(found, p)
		}
	}
	return found
}

func readProcess(pid int) (process, error) {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return process{}, err
	}
	// The second field is the name in parentheses and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return process{}, fmt.Errorf("unexpected /proc/%d/stat: %s", pid, stat)
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, err
	}
	cmdline, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil {
		return process{}, err
	}
	return process{
		PID: pid, PPID: ppid, State: fields[0],
		Cmdline: strings.TrimSpace(string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))),
	}, nil
}

// openFiles counts the file descriptors of a process.
func openFiles(pid int) (int, error) {
	entries, err := os.ReadDir(procFile(pid, "fd"))
	return len(entries), err
}

// listensOn tells whether the process pid itself has a TCP socket listening on
// the port of IPv4.
func listensOn(pid, port int) bool {
	table, err := os.ReadFile(procFile(pid, "net/tcp"))
	if err != nil {
		return false
	}
	const listen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], suffix) {
			return holdsSocket(pid, f[9])
		}
	}
	return false
}

func holdsSocket(pid int, inode string) bool {
	fds, _ := filepath.Glob(procFile(pid, "fd/*"))
	return slices.ContainsFunc(fds, func(fd string) bool {
		target, err := os.Readlink(fd)
		return err == nil && target == "socket:["+inode+"]"
	})
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// freeze stops a process and returns when all of it has stopped, which takes
// until each of its threads has had a turn.
func freeze(t testing.TB, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	await(t, changeTimeout, fmt.Sprintf("process %d to stop", pid), func() error {
		threads, err := filepath.Glob(procFile(pid, "task/*/stat"))
		if err == nil && len(threads) == 0 {
			err = errors.New("it is gone")
		}
		for _, path := range threads {
			stat, readErr := os.ReadFile(path)
			if readErr != nil || !strings.Contains(string(stat), ") T ") {
				return errors.Join(fmt.Errorf("%s: %.40q", path, stat), readErr)
			}
		}
		return err
	})
}

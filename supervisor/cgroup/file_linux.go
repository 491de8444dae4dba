package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// write writes a file of a cgroup. It must exist: O_CREATE would make a
// missing file look like a forbidden one. It is no os.File, which would wait
// for ever when the kernel says EAGAIN, as memory.reclaim does.
func write(path, value string) error {
	fd, err := openFile(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	err = retry(func() error {
		_, err := unix.Write(fd, []byte(value))
		return err
	})
	if err != nil {
		err = &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}

// read is a file's text without the space around it.
func read(path string) (string, error) {
	fd, err := openFile(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	var text []byte
	part := make([]byte, 4096)
	for {
		var n int
		if err := retry(func() error { n, err = unix.Read(fd, part); return err }); err != nil {
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return strings.TrimSpace(string(text)), nil
		}
		text = append(text, part[:n]...)
	}
}

func openFile(path string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func readUint(path string) (uint64, error) {
	text, err := read(path)
	if err != nil {
		return 0, err
	}
	return number(path, text)
}

func number(path, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s reads %q, not a number", path, text)
	}
	return n, nil
}

// readKeys reads a file of lines that are a key and a number.
func readKeys(path string) (map[string]uint64, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	keys := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		// What is no number is nothing that anybody asks for.
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			keys[key] = n
		}
	}
	return keys, nil
}

// readList reads a file of words.
func readList(path string) ([]string, error) {
	text, err := read(path)
	return strings.Fields(text), err
}

// processes are the ids in a folder's cgroup.procs. A process of another
// namespace that cannot be seen from here is 0.
func processes(dir string) ([]int, error) {
	path := filepath.Join(dir, "cgroup.procs")
	words, err := readList(path)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(words))
	for _, word := range words {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("%s holds %q, not a process id", path, word)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func exists(path string) bool {
	err := unix.Access(path, unix.F_OK)
	return err == nil
}

// writable says why a file or folder cannot be written, if so. It is the
// kernel's answer, for a read-only mount and for root, too.
func writable(path string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// optional takes a missing file for none, and a file that the kernel was told
// not to fill (pressure, with psi=0) likewise.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

package sandbox

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// libraries are what a dynamic program loads code from.
var libraries = []string{
	"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
}

// executables returns what a strict plan may execute, and the loaders of those
// programs that are dynamic: the kernel executes both.
func executables(plan Plan) (programs, loaders []string, err error) {
	const step = "read the program"
	programs = append([]string{plan.Program}, plan.Strict.Exec...)
	for _, program := range programs {
		loader, script, err := interpreter(program)
		if err != nil {
			return nil, nil, fail(step, err, "it must be an executable of this system (allow_exec)")
		}
		switch {
		case loader == "" || slices.Contains(programs, loader) || slices.Contains(loaders, loader):
		case script:
			return nil, nil, fail(step, fmt.Errorf("%s is a script for %s", program, loader), "allow "+loader+" too (allow_exec)")
		default:
			loaders = append(loaders, loader)
		}
	}
	return programs, loaders, nil
}

// interpreter returns the program that the kernel starts in the place of this
// one: that of a script, or the loader of a dynamic program.
func interpreter(program string) (path string, script bool, err error) {
	file, err := os.Open(program)
	if err != nil {
		return "", false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", false, err
	}
	if !info.Mode().IsRegular() {
		return "", false, fmt.Errorf("%s is not a file", program)
	}
	start := make([]byte, 256) // as much as the kernel looks at
	n, err := file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	if line, ok := bytes.CutPrefix(start[:n], []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		words := strings.Fields(string(line))
		if len(words) == 0 {
			return "", false, fmt.Errorf("%s is a script that names no interpreter", program)
		}
		return words[0], true, nil
	}
	binary, err := elf.NewFile(file)
	if err != nil {
		return "", false, fmt.Errorf("%s is neither a program nor a script: %w", program, err)
	}
	for _, segment := range binary.Progs {
		if segment.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(segment.Open(), 4096))
			return strings.TrimRight(string(name), "\x00"), false, err
		}
	}
	return "", false, nil
}

package sandbox

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// FailureCode is the exit status of penstock-launch when it could not start the
// program. The program may exit with it too: what tells them apart is the line
// on standard error, which begins with "penstock-launch: ".
const FailureCode = 125

// ErrUnsupported is wrapped by every error of a system that has no sandbox.
var ErrUnsupported = errors.New("there is no sandbox on this system, only on Linux")

// Plan is how a program is to be started.
type Plan struct {
	// Program is the absolute path of an executable. Under Strict it is mounted
	// at the same path in the private root.
	Program string
	// Args are the arguments, with argv[0].
	Args []string
	// Env is the whole environment, as NAME=value.
	Env []string
	// WorkDir is the working directory. When it is empty it is the parent's;
	// under Strict it is then the private root.
	WorkDir string
	// Cgroups are files of cgroups (tasks or cgroup.procs) that the process writes
	// itself into before anything else, from the thread that goes on.
	Cgroups []string
	// OOMScoreAdj is -1000 to 1000; 0 leaves it as it is. Lowering it needs
	// CAP_SYS_RESOURCE.
	OOMScoreAdj int
	// NoFile is how many files may be open, at least 16 and at most penstock's own
	// hard limit; 0 leaves the limit as it is. Under Strict without Exec the kernel
	// keeps eight bytes for each, 0 is at most 16384, and what equals the hard
	// limit becomes one less.
	NoFile uint64
	// FileSize is how many bytes a file may grow to; 0 leaves it as it is.
	FileSize uint64
	// Lock takes all capabilities, the right to gain new ones, dangerous system
	// calls, core dumps and inherited files from the program. It needs no
	// privileges itself.
	Lock bool
	// Strict adds a user and a root of its own; nil is without. It implies Lock
	// and needs root.
	Strict *Strict
	// Shield is set by Command: a locked program of root gets a mount namespace in
	// which the kernel's settings are read-only.
	Shield bool
}

// Strict is the sandbox of a program that is not trusted.
type Strict struct {
	// UID and GID are the program's user and only group, neither zero unless there
	// is something Vacant.
	UID, GID uint32
	// Vacant are folders that the private root has empty. With any, the program is
	// started for nobody yet: as root, with nothing in /tmp, and no capability but
	// those to become another user. Assign gives it a user's files, and then it has
	// to become that user by itself: see CheckAssigned.
	Vacant []string
	// Hostname is what the program sees as the host's name, at most 64 bytes.
	Hostname string
	// Mount is an existing empty folder, which only root may write, and on which
	// each launch builds its private root: in a mount namespace of its own, so
	// that all launches can share the folder.
	Mount string
	// Read and Write are existing files and folders that are mounted at the same
	// place in the private root. A symbolic link on the way is followed only when
	// it is root's. What is in Write must be the user's by its owner and mode.
	// Neither may be executed from.
	Read, Write []string
	// Exec are programs that may be executed, each with the same restrictions as
	// the program itself. Their loader comes with them, which runs whatever code
	// it is given from a folder of libraries. What they leave behind is for the
	// program to wait for: it is the first process of its namespace. Without any
	// Exec, no execve is possible at all once the program runs.
	Exec []string
	// TmpBytes is the size of the program's own /tmp; without one, /tmp is empty
	// and cannot be written.
	TmpBytes int64
	// BindPorts are the TCP ports that may be bound; port 0 stands for one that
	// the kernel chooses. A socket that listens without being bound gets such a
	// port in any case: Landlock has no rule for it, nor for UDP.
	BindPorts []PortRange
	// ConnectPorts are the TCP ports that may be connected to; nil is any.
	ConnectPorts []PortRange
}

// PortRange is a range of ports with both ends.
type PortRange struct{ First, Last uint16 }

// Layers is what the kernel says is in force for a process.
type Layers struct {
	UID, GID uint32
	// Capabilities tells whether the process holds any capability or could still
	// come by one: in its permitted, effective, inheritable or ambient set, or in
	// the bounding set while NoNewPrivs is off.
	Capabilities bool
	NoNewPrivs   bool
	Seccomp      bool
	// Namespaces are those of "mnt", "pid", "ipc" and "uts" that are not the
	// caller's own.
	Namespaces []string
	// LandlockABI is the kernel's; 0 is none. The kernel does not say which
	// process it restricts.
	LandlockABI int
}

// minNoFile is less than what any Go program needs.
const minNoFile = 16

// check refuses a plan that nobody could mean.
func (p Plan) check() error {
	switch {
	case !filepath.IsAbs(p.Program):
		return fmt.Errorf("the program %q must be an absolute path", p.Program)
	case len(p.Args) == 0:
		return errors.New("the arguments must begin with the program's name")
	case p.OOMScoreAdj < -1000 || p.OOMScoreAdj > 1000:
		return fmt.Errorf("the oom score adjustment %d must be from -1000 to 1000", p.OOMScoreAdj)
	case p.NoFile != 0 && p.NoFile < minNoFile:
		return fmt.Errorf("a limit of %d open files is too low: at least %d", p.NoFile, minNoFile)
	}
	for _, text := range append(append([]string{p.Program, p.WorkDir}, p.Args...), p.Env...) {
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("%q holds a zero byte, which no argument, path or environment variable can", text)
		}
		if !utf8.ValidString(text) {
			return fmt.Errorf("%q is not UTF-8", text)
		}
	}
	if p.Strict == nil {
		return nil
	}
	return p.Strict.check()
}

// reserved are the folders of the private root that hold something of its own.
var reserved = []string{"/proc", "/dev"}

func (s *Strict) check() error {
	switch root := s.UID == 0 && s.GID == 0; {
	case len(s.Vacant) > 0 && !root:
		return fmt.Errorf("uid %d and gid %d: a program for nobody yet has neither", s.UID, s.GID)
	case len(s.Vacant) == 0 && (s.UID == 0 || s.GID == 0):
		return fmt.Errorf("uid %d and gid %d: neither may be root's", s.UID, s.GID)
	}
	if len(s.Hostname) > 64 {
		return fmt.Errorf("the host name %q is longer than 64 bytes", s.Hostname)
	}
	if s.TmpBytes < 0 {
		return fmt.Errorf("the size of /tmp is negative: %d", s.TmpBytes)
	}
	for _, list := range [][]string{{s.Mount}, s.Read, s.Write, s.Exec, s.Vacant} {
		for _, path := range list {
			if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
				return fmt.Errorf("%q must be an absolute path without . or .. below /", path)
			}
			for _, dir := range reserved {
				if within(path, dir) {
					return fmt.Errorf("%s: the sandbox has its own %s", path, dir)
				}
			}
		}
	}
	for _, list := range [][]PortRange{s.BindPorts, s.ConnectPorts} {
		for _, ports := range list {
			if ports.First > ports.Last {
				return fmt.Errorf("the ports %d-%d are the wrong way round", ports.First, ports.Last)
			}
		}
	}
	return nil
}

// within tells whether path is dir or lies below it. Both are clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Hierarchy is this supervisor's subtree of the cgroups. Its methods may be
// called from several goroutines at once.
type Hierarchy struct {
	kernel kernel
	// path is the subtree, from the root of the mounted hierarchies.
	path string
	// shared is the parent that all supervisors of a host share, which goes with
	// the last of them; empty where the parent is somebody else's.
	shared string
	trees  []tree
	// missing says of controllers why they cannot be used.
	missing map[string]string
	disks   disks
}

// tree is the subtree in one mounted hierarchy.
type tree struct {
	mount string
	// dir is the subtree's folder.
	dir         string
	controllers []string
	// forks tells that a process can be forked into a leaf of it. The others
	// are joined.
	forks bool
	// companion is version 2 beside a version 1 that has all controllers.
	companion bool
}

// kernel is what differs between the versions.
type kernel interface {
	version() int
	// needs are the files that enforce the limits.
	needs() []need
	// mend says how to get a controller that is missing.
	mend(controller string) string
	// settings are the values to be written, in this order.
	settings(l *Leaf, to Limits) ([]setting, error)
	limits(l *Leaf) (Limits, error)
	usage(l *Leaf, u *Usage) error
	oomKills(l *Leaf) (uint64, error)
	// memory is the smallest memory limit at and above the subtree.
	memory(t tree) (uint64, error)
}

// need is the file that enforces a limit.
type need struct{ limit, controller, file string }

// Open finds the cgroups and makes the supervisor's subtree. It fails with
// ErrUnavailable where nothing can be written. A single controller that is
// missing is no failure: Check tells. On version 2 it may move the supervisor
// itself to a child of its cgroup, named supervisor.
func Open(cfg Config) (*Hierarchy, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := inspect()
	if err != nil {
		return nil, err
	}
	return s.open(cfg)
}

func (s system) open(cfg Config) (*Hierarchy, error) {
	var available []string
	unified, ok := s.v2()
	if ok {
		// What cannot be read is as good as none.
		available, _ = readList(filepath.Join(unified.point, "cgroup.controllers"))
	}
	switch s.version(available) {
	case 1:
		return s.openV1(cfg)
	case 2:
		return s.openV2(cfg, unified)
	default:
		return nil, fmt.Errorf("%w: no hierarchy with a controller is mounted: mount one, with `mount -t cgroup2 none /sys/fs/cgroup`", ErrUnavailable)
	}
}

func (c Config) check() error {
	if err := checkName(c.Name); err != nil {
		return err
	}
	if c.Name == supervisorName {
		return fmt.Errorf("the cgroup name %q is reserved for the supervisor itself: choose another", c.Name)
	}
	if c.Parent != "" && (!path.IsAbs(c.Parent) || path.Clean(c.Parent) != c.Parent) {
		return fmt.Errorf("the parent cgroup %q must be an absolute path without . or .., from the root of the cgroup file system", c.Parent)
	}
	return nil
}

// checkName keeps names to what is one folder, and not one of the kernel's
// files, which have dots.
func checkName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if name == "" || len(name) > 128 || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("the cgroup name %q must be 1 to 128 letters, digits, - and _", name)
	}
	return nil
}

// Version is 1 or 2, the kernel's interface in use.
func (h *Hierarchy) Version() int { return h.kernel.version() }

// Path is the subtree's path from the root of the mounted hierarchy, for
// people to read.
func (h *Hierarchy) Path() string { return h.path }

// Memory is how many bytes everything in the subtree may use together: the
// smallest limit above it, or the host's memory.
func (h *Hierarchy) Memory() (uint64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("the host's memory is unknown: %w", err)
	}
	total := info.Totalram * uint64(info.Unit)
	for _, t := range h.trees {
		if !slices.Contains(t.controllers, "memory") {
			continue
		}
		limit, err := h.kernel.memory(t)
		if err != nil {
			return 0, fmt.Errorf("the memory limit of %s is unknown: %w", h.path, err)
		}
		total = min(total, limit)
	}
	return total, nil
}

// HasMemory says whether memory can be limited.
func (h *Hierarchy) HasMemory() bool { return h.Check(Limits{Memory: 1 << 30}) == nil }

// Check says with ErrUnenforceable which of the limits cannot be enforced, and
// why.
func (h *Hierarchy) Check(l Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	var errs []error
	set := l.names()
	for _, n := range h.kernel.needs() {
		if !slices.Contains(set, n.limit) {
			continue
		}
		if err := h.offers(n); err != nil {
			errs = append(errs, err)
		}
	}
	if err := h.checkSwap(l); err != nil {
		errs = append(errs, err)
	}
	if l.IO != (IO{}) && h.disks.err != nil {
		errs = append(errs, fmt.Errorf("%w: io: %w", ErrUnenforceable, h.disks.err))
	}
	return errors.Join(errs...)
}

// offers tells whether the kernel has the file that enforces a limit.
func (h *Hierarchy) offers(n need) error {
	t := h.tree(n.controller)
	if t == nil {
		why := h.missing[n.controller]
		if why == "" {
			why = "the kernel does not offer it"
		}
		return fmt.Errorf("%w: %s: no controller %s: %s: %s", ErrUnenforceable, n.limit, n.controller, why, h.kernel.mend(n.controller))
	}
	if !exists(filepath.Join(t.dir, n.file)) {
		return fmt.Errorf("%w: %s: the kernel has no %s: %s", ErrUnenforceable, n.limit, filepath.Join(t.dir, n.file), h.kernel.mend(n.file))
	}
	return nil
}

// checkSwap refuses a memory limit that swap would void: none is allowed
// unless the limits say so, but version 2 can only forbid what it counts.
// Version 1 does not swap out at a limit with a swappiness of 0.
func (h *Hierarchy) checkSwap(l Limits) error {
	if l.Memory == 0 || l.Swap != 0 || h.Version() == 1 {
		return nil
	}
	t := h.tree("memory")
	if t == nil || exists(filepath.Join(t.dir, "memory.swap.max")) || !hasSwap() {
		return nil
	}
	return fmt.Errorf("%w: memory: the host has swap that the kernel does not count: boot it with swapaccount=1, or turn swap off", ErrUnenforceable)
}

func hasSwap() bool {
	text, err := os.ReadFile("/proc/swaps")
	return err == nil && strings.Count(string(text), "\n") > 1
}

// tree is the one that has a controller, or nil.
func (h *Hierarchy) tree(controller string) *tree {
	for i := range h.trees {
		if slices.Contains(h.trees[i].controllers, controller) {
			return &h.trees[i]
		}
	}
	return nil
}

// Find returns a leaf that exists, or fs.ErrNotExist.
func (h *Hierarchy) Find(name string) (*Leaf, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	l := &Leaf{h: h, name: name}
	for _, t := range h.trees {
		if t.companion {
			continue
		}
		if _, err := os.Lstat(l.dir(t)); err != nil {
			return nil, fmt.Errorf("cgroup %s: %w", l.path(), err)
		}
	}
	return l, nil
}

// Sweep kills what is in the leaves that are not to be kept and removes them; a
// nil keep keeps none. What has a name that Create would refuse is left alone. It goes on after an
// error, and returns all of them.
func (h *Hierarchy) Sweep(keep func(name string) bool) error {
	var names []string
	for _, t := range h.trees {
		entries, err := os.ReadDir(t.dir)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return fmt.Errorf("sweeping cgroups: %w", err)
		}
		for _, entry := range entries {
			if entry.IsDir() && checkName(entry.Name()) == nil {
				names = append(names, entry.Name())
			}
		}
	}
	slices.Sort(names)
	var errs []error
	for _, name := range slices.Compact(names) {
		if keep != nil && keep(name) {
			continue
		}
		l := &Leaf{h: h, name: name}
		errs = append(errs, errors.Join(l.Kill(), l.Remove()))
	}
	return errors.Join(errs...)
}

// Close removes the subtree if it is empty. It does not wait.
func (h *Hierarchy) Close() error {
	var errs []error
	for _, t := range h.trees {
		for _, dir := range []string{t.dir, filepath.Join(t.mount, h.shared)} {
			if dir == t.mount {
				continue
			}
			switch err := unix.Rmdir(dir); {
			case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY):
			default:
				errs = append(errs, fmt.Errorf("removing cgroup %s: %w", dir, err))
			}
		}
	}
	return errors.Join(errs...)
}

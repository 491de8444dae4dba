package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Leaf is the cgroup of one start of a runner. Its methods may be called from
// several goroutines at once, but for Set.
type Leaf struct {
	h    *Hierarchy
	name string
}

// Create makes a leaf with its limits. Each value is read back. Nothing is
// left behind when it fails. A leaf that exists already is fs.ErrExist, a limit
// that the kernel cannot enforce ErrUnenforceable.
func (h *Hierarchy) Create(name string, limits Limits) (leaf *Leaf, err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := h.Check(limits); err != nil {
		return nil, err
	}
	l := &Leaf{h: h, name: name}
	var made []string
	defer func() {
		if err == nil {
			return
		}
		for _, dir := range slices.Backward(made) {
			err = errors.Join(err, unix.Rmdir(dir))
		}
	}()
	for _, t := range h.trees {
		if err := os.Mkdir(l.dir(t), 0o755); err != nil {
			return nil, fmt.Errorf("making cgroup %s: %w", l.path(), err)
		}
		made = append(made, l.dir(t))
	}
	settings, err := h.kernel.settings(l, limits)
	if err != nil {
		return nil, fmt.Errorf("limiting cgroup %s: %w", l.path(), err)
	}
	if err := apply(settings); err != nil {
		return nil, fmt.Errorf("limiting cgroup %s: %w", l.path(), err)
	}
	return l, nil
}

// dir is the leaf's folder in a tree.
func (l *Leaf) dir(t tree) string { return filepath.Join(t.dir, l.name) }

// path is for people.
func (l *Leaf) path() string { return path.Join(l.h.path, l.name) }

// file is a file of a controller, and empty without the controller.
func (l *Leaf) file(controller, name string) string {
	t := l.h.tree(controller)
	if t == nil {
		return ""
	}
	return filepath.Join(l.dir(*t), name)
}

// has is file for those that the kernel offers; others are empty. That the
// leaf itself is gone shows when the file is opened.
func (l *Leaf) has(controller, name string) string {
	if t := l.h.tree(controller); t == nil || !exists(filepath.Join(t.dir, name)) {
		return ""
	}
	return l.file(controller, name)
}

// Name is what Create was given.
func (l *Leaf) Name() string { return l.name }

// Procs are the files through which a process joins the leaf, on version 1, and
// nil where the fork does it all. They are for the thread that writes: it
// writes "0" to each, and executes the program from that same thread, which is
// the only one that the kernel keeps then. To move all threads would cost
// several milliseconds each time.
func (l *Leaf) Procs() []string {
	var files []string
	for _, t := range l.h.trees {
		switch {
		case t.forks:
		case l.h.Version() == 1 && !t.companion:
			files = append(files, filepath.Join(l.dir(t), "tasks"))
		default:
			files = append(files, filepath.Join(l.dir(t), "cgroup.procs"))
		}
	}
	return files
}

// Open returns the leaf's folder of version 2 for syscall.SysProcAttr.CgroupFD,
// which is to be used together with Procs: a hybrid system has both. It is nil,
// without an error, where there is none. The caller closes it.
func (l *Leaf) Open() (*os.File, error) {
	for _, t := range l.h.trees {
		if !t.forks {
			continue
		}
		file, err := os.OpenFile(l.dir(t), os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, fmt.Errorf("opening cgroup %s: %w", l.path(), err)
		}
		return file, nil
	}
	return nil, nil
}

// Set changes the limits of a leaf that is in use, from those that the caller
// holds to be in force. When it fails, from is put back. ErrBusy means that the
// new memory limit is below what is in use and cannot be freed. It must not run
// twice at once.
func (l *Leaf) Set(from, to Limits) error {
	if err := l.h.Check(to); err != nil {
		return err
	}
	err := l.set(to)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("limiting cgroup %s: %w", l.path(), err)
	if undo := l.set(from); undo != nil {
		err = errors.Join(err, fmt.Errorf("putting back the old limits of cgroup %s: %w", l.path(), undo))
	}
	return err
}

func (l *Leaf) set(to Limits) error {
	settings, err := l.h.kernel.settings(l, to)
	if err != nil {
		return err
	}
	return apply(settings)
}

// Limits are those that the kernel says are in force. What is not limited, and
// a CPU weight of 100, which is the kernel's default, is zero.
func (l *Leaf) Limits() (Limits, error) {
	limits, err := l.h.kernel.limits(l)
	if err != nil {
		return Limits{}, fmt.Errorf("reading the limits of cgroup %s: %w", l.path(), err)
	}
	return limits, nil
}

// Usage is what the leaf's processes have used. A figure is zero when its
// controller is missing. It fails with fs.ErrNotExist when the leaf is gone.
func (l *Leaf) Usage() (Usage, error) {
	var u Usage
	err := l.h.kernel.usage(l, &u)
	if err == nil {
		err = l.stall(&u)
	}
	if err != nil {
		return Usage{}, fmt.Errorf("reading the usage of cgroup %s: %w", l.path(), err)
	}
	return u, nil
}

// OOMKills is Usage.OOMKills alone.
func (l *Leaf) OOMKills() (uint64, error) {
	kills, err := l.h.kernel.oomKills(l)
	if err != nil {
		return 0, fmt.Errorf("reading the memory events of cgroup %s: %w", l.path(), err)
	}
	return kills, nil
}

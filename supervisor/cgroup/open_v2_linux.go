package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// supervisorName is the child of a delegated cgroup that the supervisor moves
// to: a cgroup whose children are limited may hold no process of its own.
const supervisorName = "supervisor"

// unifiedControllers are those of version 2 that enforce limits.
var unifiedControllers = []string{"memory", "cpu", "pids", "io"}

// candidate is a cgroup below which the subtree could be.
type candidate struct {
	// path is from the mount point.
	path string
	// top is from where on controllers are ours to be enabled.
	top string
	// shared tells that it belongs to all supervisors of the host.
	shared bool
}

// openV2 makes the subtree below the first cgroup where that works.
func (s system) openV2(cfg Config, m mount) (*Hierarchy, error) {
	own, known := m.inside(s.unified)
	if !known {
		own = ""
	}
	var errs []error
	candidates := m.candidates(cfg.Parent, own)
	for _, c := range candidates {
		h, err := m.openAt(cfg, c, own)
		if err == nil {
			return h, nil
		}
		errs = append(errs, err)
	}
	if len(candidates) == 0 {
		errs = append(errs, fmt.Errorf("%s is not delegated to this user", filepath.Join(m.point, own)))
	}
	return nil, fmt.Errorf("%w: %w: run the server as root, as a systemd unit with Delegate=yes, or by `systemd-run --user --scope -p Delegate=yes`; in a container, with a writable /sys/fs/cgroup", ErrUnavailable, errors.Join(errs...))
}

// candidates are in the order in which they are tried. own is the supervisor's
// cgroup; empty is unknown.
func (m mount) candidates(parent, own string) []candidate {
	if parent != "" {
		return []candidate{{path: parent, top: "/"}}
	}
	root := os.Geteuid() == 0
	home := own
	if path.Base(own) == supervisorName {
		home = path.Dir(own)
	}
	var found []candidate
	add := func(at string) {
		c := candidate{path: at, top: at}
		if !slices.Contains(found, c) && m.delegable(at) == nil {
			found = append(found, c)
		}
	}
	if own != "" && (home != "/" || !m.isRoot()) {
		if !root {
			add(home)
		}
		// As root only the own unit counts: what is above belongs to somebody
		// who logged in.
		for at := home; ; at = path.Dir(at) {
			if m.delegated(at) {
				add(at)
				break
			}
			if at == "/" || root && isUnit(at) {
				break
			}
		}
		if root && home == "/" {
			add(home)
		}
	}
	if root {
		found = append(found, candidate{path: defaultParent, top: "/", shared: true})
	}
	return found
}

// isRoot tells whether the mount shows the real root, which may hold processes
// beside its children. A container's root is like any other cgroup.
func (m mount) isRoot() bool { return !exists(filepath.Join(m.point, "cgroup.type")) }

// delegated tells whether systemd left a cgroup to whoever runs in it.
func (m mount) delegated(cgroup string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(filepath.Join(m.point, cgroup), name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}

// delegable says why a cgroup cannot be used as a delegated one, if so.
func (m mount) delegable(cgroup string) error {
	dir := filepath.Join(m.point, cgroup)
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if err := writable(filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return nil
}

// openAt makes the subtree below one candidate.
func (m mount) openAt(cfg Config, c candidate, own string) (_ *Hierarchy, err error) {
	h := &Hierarchy{kernel: v2{}, path: path.Join(c.path, cfg.Name), missing: map[string]string{}, disks: findDisks(cfg.Paths)}
	if c.shared {
		h.shared = c.path
	}
	base := filepath.Join(m.point, c.path)
	t := tree{mount: m.point, dir: filepath.Join(m.point, h.path), forks: canFork()}
	h.trees = []tree{t}
	existed := exists(t.dir)
	if err := makeSubtree(t.dir); err != nil {
		return nil, err
	}
	back := func() error { return nil }
	defer func() {
		if err != nil {
			err = errors.Join(err, back())
			if !existed {
				err = errors.Join(err, h.Close())
			}
		}
	}()
	if inRoot := own == "/" && m.isRoot(); own == c.path && !inRoot {
		if back, err = moveAside(base); err != nil {
			return nil, err
		}
		own = path.Join(own, supervisorName)
	}
	for _, dir := range between(filepath.Join(m.point, c.top), t.dir) {
		enable(dir, h.missing)
	}
	enabled, err := readList(filepath.Join(t.dir, "cgroup.subtree_control"))
	if err != nil {
		return nil, err
	}
	for _, controller := range unifiedControllers {
		if slices.Contains(enabled, controller) {
			h.trees[0].controllers = append(h.trees[0].controllers, controller)
			delete(h.missing, controller)
		}
	}
	if len(h.trees[0].controllers) == 0 {
		return nil, fmt.Errorf("%s has no controller: %s", t.dir, h.missing["memory"])
	}
	return h, m.reachable(own, h.path)
}

// moveAside moves the supervisor to a child of its own cgroup, and returns how
// to move it back.
func moveAside(base string) (back func() error, err error) {
	nothing := func() error { return nil }
	pids, err := processes(base)
	if err != nil {
		return nothing, err
	}
	if others := slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() }); len(others) > 0 {
		return nothing, fmt.Errorf("%s holds other processes than the supervisor: %v: give it a cgroup of its own", base, others)
	}
	aside := filepath.Join(base, supervisorName)
	if err := os.Mkdir(aside, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nothing, err
	}
	if err := write(filepath.Join(aside, "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
		return nothing, errors.Join(err, unix.Rmdir(aside))
	}
	return func() error {
		if err := write(filepath.Join(base, "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
			return err
		}
		return unix.Rmdir(aside)
	}, nil
}

// between are the folders from top down to dir, both included.
func between(top, dir string) []string {
	var dirs []string
	for at := dir; len(at) >= len(top); at = filepath.Dir(at) {
		dirs = append(dirs, at)
		if at == "/" {
			break
		}
	}
	slices.Reverse(dirs)
	return dirs
}

// enable passes the controllers on to the children of a folder. What it cannot
// pass on it notes: somebody above may have done so already.
func enable(dir string, missing map[string]string) {
	control := filepath.Join(dir, "cgroup.subtree_control")
	available, err := readList(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		for _, controller := range unifiedControllers {
			missing[controller] = err.Error()
		}
		return
	}
	enabled, _ := readList(control)
	for _, controller := range unifiedControllers {
		switch {
		case slices.Contains(enabled, controller):
		case !slices.Contains(available, controller):
			if missing[controller] == "" {
				missing[controller] = dir + " is not given it"
			}
		default:
			// One at a time: one that fails must not keep the others.
			if err := write(control, "+"+controller); err != nil {
				missing[controller] = explainEnable(dir, err)
			}
		}
	}
}

func explainEnable(dir string, err error) string {
	if errors.Is(err, unix.EBUSY) {
		pids, _ := processes(dir)
		return fmt.Sprintf("%s holds processes itself: %v", dir, pids)
	}
	return err.Error()
}

// reachable says why no process can be started in the subtree, if so: the
// kernel asks for a right in the cgroup that is above both.
func (m mount) reachable(own, subtree string) error {
	if own == "" {
		return nil
	}
	above := subtree
	for above != "/" && own != above && !strings.HasPrefix(own, above+"/") {
		above = path.Dir(above)
	}
	if err := writable(filepath.Join(m.point, above, "cgroup.procs")); err != nil {
		return fmt.Errorf("nothing can be moved from %s to %s: %w: start the supervisor below the parent cgroup", own, subtree, err)
	}
	return nil
}

// canFork tells whether processes can be forked into a cgroup. Some containers
// forbid it, and the kernel is asked without being given anything to do.
func canFork() bool {
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	return errno != unix.ENOSYS && errno != unix.EPERM
}

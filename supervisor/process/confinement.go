package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"penstock/supervisor/cgroup"
	"penstock/supervisor/sandbox"
)

// Confinement is what a runner is started in. The zero value starts it
// directly, with the supervisor's own privileges and without limits.
type Confinement struct {
	// Launcher is the path of penstock-launch; empty starts the runner
	// directly, and then Plan is not used.
	Launcher string
	// Plan says what the launcher does. Program, Args and the environment's
	// part that makes a runner of it are filled in at the start, as is its own
	// folder among what it may write.
	Plan sandbox.Plan
	// Hierarchy is where the process gets a leaf of its own, with Limits; nil
	// makes none.
	Hierarchy *cgroup.Hierarchy
	Limits    cgroup.Limits
	// Background has it start when nobody else needs the processors, until
	// ComeForward.
	Background bool
}

// owner is the user that the runner's folder is to belong to, if it is another
// one than ours.
func (c *Confinement) owner() (uid, gid uint32, other bool) {
	if c.Plan.Strict == nil {
		return 0, 0, false
	}
	return c.Plan.Strict.UID, c.Plan.Strict.GID, true
}

// ready makes the leaf of a runner that is about to start, and gives its folder
// to its user.
func (c *Confinement) ready(dir string) (*cgroup.Leaf, error) {
	if uid, gid, other := c.owner(); other {
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, fmt.Errorf("giving the runner its folder: %w", err)
		}
	}
	if c.Hierarchy == nil {
		return nil, nil
	}
	return c.Hierarchy.Create(filepath.Base(dir), c.Limits)
}

// command is what starts the runner in its confinement. done is to be called
// once it was started, or not.
func (c *Confinement) command(binary, dir string, env []string, leaf *cgroup.Leaf) (cmd *exec.Cmd, done func(), err error) {
	if c.Launcher == "" {
		cmd, done = exec.Command(binary), func() {}
		cmd.Env = effective(env)
	} else {
		plan := c.Plan
		plan.Program, plan.Args = binary, []string{binary}
		plan.Env = effective(append(env, plan.Env...))
		if leaf != nil {
			plan.Cgroups = leaf.Procs()
		}
		if plan.Strict != nil {
			strict := *plan.Strict
			strict.Write = append(strict.Write[:len(strict.Write):len(strict.Write)], dir)
			plan.Strict = &strict
		}
		if cmd, done, err = plan.Command(c.Launcher); err != nil {
			return nil, nil, err
		}
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if leaf == nil {
		return cmd, done, nil
	}
	if c.Limits.IO.ReadBPS > 0 || c.Limits.IO.ReadIOPS > 0 {
		for _, program := range []string{binary, c.Launcher} {
			if program == "" {
				continue
			}
			if err := preload(program); err != nil {
				done()
				return nil, nil, fmt.Errorf("reading %s: %w", program, err)
			}
		}
	}
	folder, err := leaf.Open()
	if err != nil {
		done()
		return nil, nil, err
	}
	if folder == nil {
		return cmd, done, nil
	}
	startIn(cmd.SysProcAttr, folder)
	started := done
	return cmd, func() { started(); _ = folder.Close() }, nil
}

// effective drops the variables that a later one of the same name replaces: a
// process may take either.
func effective(env []string) []string {
	last := map[string]int{}
	for i, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		last[name] = i
	}
	out := make([]string, 0, len(last))
	for i, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); last[name] == i {
			out = append(out, entry)
		}
	}
	return out
}

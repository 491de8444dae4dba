package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/folder"
	"penstock/supervisor/sandbox"
)

// errUnconfined means that a process is not what it was to become.
var errUnconfined = errors.New("the runner has not become what it was told to")

// Assume has a process that was started for nobody yet, and has come forward,
// become what Start would have started in c: its limits, its user and files, its
// environment. limits are those of its Go runtime. Nothing of a config may have
// been sent, and c must fit. What the kernel can vouch for is read back. After
// any error the process is to be killed.
func (p *Process) Assume(ctx context.Context, c Confinement, limits rpc.Limits) error {
	if leaf := p.Leaf(); leaf != nil && c.Limits != (cgroup.Limits{}) {
		if err := leaf.Set(cgroup.Limits{}, c.Limits); err != nil {
			return err
		}
	}
	if c.Launcher == "" {
		return nil
	}
	if err := p.Restrict(c.Plan.NoFile, c.Plan.FileSize); err != nil {
		return err
	}
	a := rpc.Assignment{WorkDir: c.Plan.WorkDir, Environment: map[string]string{}, Limits: limits}
	for _, entry := range c.Plan.Env {
		name, value, _ := strings.Cut(entry, "=")
		a.Environment[name] = value
	}
	strict := c.Plan.Strict
	if strict == nil {
		return p.Client.Assume(ctx, a)
	}
	a.User = &rpc.User{UID: strict.UID, GID: strict.GID}
	if err := folder.Own(p.Dir(), strict.UID, strict.GID); err != nil {
		return err
	}
	files := sandbox.Assignment{UID: strict.UID, GID: strict.GID, Write: strict.Write, Tmp: strict.TmpBytes > 0}
	if err := sandbox.Assign(p.PID(), files); err != nil {
		return err
	}
	if err := p.Client.Assume(ctx, a); err != nil {
		return err
	}
	if err := sandbox.CheckAssigned(p.PID(), strict.UID, strict.GID); err != nil {
		return fmt.Errorf("%w: %w", errUnconfined, err)
	}
	p.identity.UID = strict.UID
	return p.checkListener()
}

// ComeForward gives a process that was started in the background the priority of
// every other: it has started, and is to answer at once. from is what ForNobody
// made. After an error the process is to be killed.
func (p *Process) ComeForward(from Confinement) error {
	if leaf := p.Leaf(); leaf != nil {
		if err := leaf.Set(from.Limits, cgroup.Limits{}); err != nil {
			return err
		}
	}
	if err := comeBack(p.PID()); err != nil {
		return fmt.Errorf("giving process %d its priority: %w", p.PID(), err)
	}
	return nil
}

// unassigned is the leaf's limits of a process that nobody has yet: none, but
// that it gives way where the kernel can have it do so.
func unassigned(h *cgroup.Hierarchy) cgroup.Limits {
	idle := cgroup.Limits{CPUWeight: 1}
	if h.Check(idle) != nil {
		return cgroup.Limits{}
	}
	return idle
}

// ForNobody is the confinement in which a process is started before it is known
// whose it will be: as c, which is nobody's either, and with what Assume brings
// left out.
func ForNobody(c Confinement) Confinement {
	c.Background = true
	if c.Hierarchy != nil {
		c.Limits = unassigned(c.Hierarchy)
	}
	c.Plan.Env, c.Plan.NoFile, c.Plan.FileSize = nil, 0, 0
	return c
}

// Fits says whether a process that was started in from, as ForNobody made it, can
// become by Assume what Start would have started in c. files is the hard limit
// of open files that it has, which cannot be raised.
func Fits(from, c Confinement, files uint64) bool {
	if from.Launcher != c.Launcher || from.Hierarchy != c.Hierarchy || (from.Plan.Strict == nil) != (c.Plan.Strict == nil) {
		return false
	}
	if c.Launcher == "" {
		return true
	}
	if from.Plan.Lock != c.Plan.Lock || from.Plan.OOMScoreAdj != c.Plan.OOMScoreAdj || c.Plan.NoFile > files {
		return false
	}
	return c.Plan.Strict == nil || fitsStrict(from.Plan.Strict, c.Plan.Strict)
}

// fitsStrict is Fits for what cannot be changed in a private root, under Landlock
// and under a filter of system calls.
func fitsStrict(from, to *sandbox.Strict) bool {
	return from.Hostname == to.Hostname && from.Mount == to.Mount && from.TmpBytes == to.TmpBytes &&
		len(to.Read) == 0 && slices.Equal(from.Exec, to.Exec) &&
		slices.Equal(from.BindPorts, to.BindPorts) &&
		// No ports at all are not the same as any.
		(from.ConnectPorts == nil) == (to.ConnectPorts == nil) && slices.Equal(from.ConnectPorts, to.ConnectPorts) &&
		!slices.ContainsFunc(to.Write, func(folder string) bool { return !slices.Contains(from.Vacant, filepath.Dir(folder)) })
}

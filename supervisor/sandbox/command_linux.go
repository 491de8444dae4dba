package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// planFD is where penstock-launch finds its plan.
const planFD = 3

// namespaces are those that a strict program has for itself. The network stays
// the host's.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// Command returns the command that starts the plan by penstock-launch, which is
// at the absolute path launcher. The caller adds what the program's standard
// files are to be, may set further fields of SysProcAttr, and starts it. It
// calls done when it has, or will not: done frees the plan. The process that is
// started becomes the program.
func (p Plan) Command(launcher string) (cmd *exec.Cmd, done func(), err error) {
	if !filepath.IsAbs(launcher) {
		return nil, nil, fmt.Errorf("the launcher %q must be an absolute path", launcher)
	}
	if err := p.check(); err != nil {
		return nil, nil, fmt.Errorf("planning the start of %s: %w", p.Program, err)
	}
	p.Shield = p.shields()
	text, err := json.Marshal(p)
	if err != nil {
		return nil, nil, fmt.Errorf("planning the start of %s: %w", p.Program, err)
	}
	fd, err := unix.MemfdCreate("penstock-plan", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("making memory for the plan: %w", err)
	}
	plan := os.NewFile(uintptr(fd), "plan")
	// Written at an offset, which leaves the position that is shared with the
	// launcher at the beginning.
	if _, err := plan.WriteAt(text, 0); err != nil {
		_ = plan.Close()
		return nil, nil, fmt.Errorf("writing the plan: %w", err)
	}
	cmd = exec.Command(launcher)
	// One processor is all that a launch needs, and finding out how many there
	// are takes a Go program a while.
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.ExtraFiles = []*os.File{plan}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	switch {
	case p.Strict != nil:
		cmd.SysProcAttr.Cloneflags = namespaces
	case p.Shield:
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNS
	}
	return cmd, func() { _ = plan.Close() }, nil
}

// Supported tells whether this system has the sandbox at all.
func Supported() bool { return true }

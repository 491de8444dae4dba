package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kill is the action of a filter that ends the process.
const kill = uint32(unix.SECCOMP_RET_KILL_PROCESS)

// nobody is the user and group of a trial.
const nobody = 65534

// CheckStrict says what a Strict plan needs and the system lacks: every line of
// the error is one thing, with what to do about it. When it finds nothing
// missing it starts the launcher, at its absolute path, in a strict sandbox of
// its own. nil is that this worked.
func CheckStrict(launcher string) error {
	missing := append(missingPrivileges(), missingNamespaces()...)
	if abi := landlockABI(); abi < minLandlock {
		missing = append(missing, fmt.Errorf("the kernel's Landlock has ABI %d (0 is none), and %d is the least: %s", abi, minLandlock, landlockMend))
	}
	missing = append(missing, missingFilter(), missingLauncher(launcher))
	if err := errors.Join(missing...); err != nil {
		return err
	}
	mount, err := os.MkdirTemp("", "penstock-root")
	if err != nil {
		return fmt.Errorf("making a folder for a trial of the sandbox: %w: TMPDIR must be writable", err)
	}
	defer os.Remove(mount)
	return trial(launcher, Plan{Strict: &Strict{UID: nobody, GID: nobody, Hostname: "trial", Mount: mount, TmpBytes: 1 << 20}})
}

// CheckLock says what a locked plan needs and the system lacks, as CheckStrict
// does.
func CheckLock(launcher string) error {
	if err := errors.Join(missingFilter(), missingLauncher(launcher)); err != nil {
		return err
	}
	return trial(launcher, Plan{Lock: true})
}

// trial starts the launcher in the sandbox of the plan.
func trial(launcher string, plan Plan) error {
	plan.Program, plan.Args = launcher, []string{launcher, trialArgument}
	cmd, done, err := plan.Command(launcher)
	if err != nil {
		return err
	}
	defer done()
	var said, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &failed
	err = cmd.Run()
	if err == nil && said.String() == trialAnswer {
		return nil
	}
	if why := strings.TrimSpace(failed.String()); strings.HasPrefix(why, "penstock-launch: ") {
		return fmt.Errorf("a trial of the sandbox failed: %s", why)
	}
	if err == nil {
		err = errors.New("it did not answer")
	}
	return fmt.Errorf("a trial of the sandbox with %s failed: %w: it must be the penstock-launch that came with penstock (isolation.launcher)", launcher, err)
}

// missingPrivileges names what root can do and we cannot.
func missingPrivileges() []error {
	var lacking []string
	for _, needed := range []struct {
		name       string
		capability uint
	}{
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_SETUID", unix.CAP_SETUID},
		{"CAP_SETGID", unix.CAP_SETGID}, {"CAP_SETPCAP", unix.CAP_SETPCAP},
		// To give another user its files, to see what it is confined in, and to
		// end it.
		{"CAP_CHOWN", unix.CAP_CHOWN}, {"CAP_DAC_OVERRIDE", unix.CAP_DAC_OVERRIDE},
		{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE}, {"CAP_KILL", unix.CAP_KILL},
	} {
		if held, err := has(needed.capability); err != nil || !held {
			lacking = append(lacking, needed.name)
		}
	}
	switch {
	case len(lacking) == 0:
		return nil
	case os.Geteuid() != 0:
		return []error{fmt.Errorf("penstock runs as user %d and lacks %s: run it as root", os.Geteuid(), strings.Join(lacking, ", "))}
	}
	return []error{fmt.Errorf("penstock runs as root without %s: add them to what contains it (CapabilityBoundingSet= of its unit, --cap-add of its container)",
		strings.Join(lacking, ", "))}
}

// missingNamespaces names the kinds that the kernel was built without.
func missingNamespaces() []error {
	var missing []error
	for _, kind := range []string{"mnt", "pid", "ipc", "uts"} {
		if _, err := os.Lstat("/proc/self/ns/" + kind); err != nil {
			missing = append(missing, fmt.Errorf("there are no %s namespaces: %w: mount /proc, and use a kernel that has them (CONFIG_NAMESPACES)", kind, err))
		}
	}
	return missing
}

// missingFilter tells whether system calls can be filtered.
func missingFilter() error {
	if !filtered {
		return errors.New("there is no list of system calls for this processor: amd64 and arm64 have one, so use the isolation profile none")
	}
	action := kill
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if errno != 0 {
		return fmt.Errorf("system calls cannot be filtered: %w: use a kernel with CONFIG_SECCOMP_FILTER, and no outer sandbox that forbids seccomp", errno)
	}
	return nil
}

// missingLauncher tells whether the launcher can be executed.
func missingLauncher(launcher string) error {
	_, err := exec.LookPath(launcher)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("there is no launcher at %s: install penstock-launch beside penstock, or name it (isolation.launcher)", launcher)
	}
	if err != nil {
		return fmt.Errorf("the launcher cannot be executed: %w: make it executable", err)
	}
	return nil
}

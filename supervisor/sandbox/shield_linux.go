package sandbox

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// settings are where the kernel is told what to do, cgroups and their limits
// among it. Their files belong to root by mode, whatever capabilities it has.
var settings = []string{"/sys", "/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"}

// shields tells whether a plan is for a program of root that can be kept from
// the kernel's settings. Where root may not mount, as in most containers, what
// contains it has to.
func (p Plan) shields() bool {
	if !p.Lock || p.Strict != nil || os.Geteuid() != 0 {
		return false
	}
	may, err := has(unix.CAP_SYS_ADMIN)
	return err == nil && may
}

// shield makes the kernel's settings read-only for this process and those it
// starts, in a mount namespace of its own. What is mounted on the host later is
// mounted here as well.
func shield() error {
	const step = "protect the kernel's settings"
	slave := unix.MountAttr{Propagation: unix.MS_SLAVE}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &slave); err != nil {
		return fail(step, err, shieldMend(err))
	}
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	for _, path := range settings {
		// It becomes a mount of its own, if it is none.
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &readOnly)
		}
		if err != nil {
			return fail(step, &os.PathError{Op: "mount", Path: path, Err: err}, shieldMend(err))
		}
	}
	return nil
}

// shieldMend says what can be done where root may mount and cannot.
func shieldMend(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "what contains this server forbids mounting: allow it (AppArmor, seccomp), or take the capability SYS_ADMIN from the server"
	case errors.Is(err, unix.EINVAL):
		return "the server's root folder must be a mount point, which that of a chroot is not: bind it on itself first"
	}
	return "this needs Linux 5.12: use the isolation profile none on an older one"
}

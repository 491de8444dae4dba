package process

import (
	"os"
	"syscall"
)

// startIn has the kernel fork the process into a cgroup: it is never outside.
func startIn(attr *syscall.SysProcAttr, cgroup *os.File) {
	attr.UseCgroupFD, attr.CgroupFD = true, int(cgroup.Fd())
}

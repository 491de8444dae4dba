package process

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// startIn has the kernel fork the process into a cgroup: it is never outside.
func startIn(attr *syscall.SysProcAttr, cgroup *os.File) {
	attr.UseCgroupFD, attr.CgroupFD = true, int(cgroup.Fd())
}

// preload has the system have a file in its cache. A process whose reads are
// limited would wait for its own program longer than a start may take.
func preload(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	pages, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	return unix.Munmap(pages)
}

package supervisor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"penstock/supervisor/sandbox"
)

// enterable says why a runner cannot get to a path in its confinement.
func (c *confiner) enterable(path string) error {
	if c.cfg.Profile != ProfileStandard || !sandbox.Supported() || os.Geteuid() != 0 {
		return nil
	}
	return enterable(path)
}

// enterable says whether root without capabilities gets to a path: the folders
// above it may belong to somebody who lets nobody else in, which only the
// capabilities of root override. The path is absolute; what does not exist yet
// is made with our own user.
func enterable(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && !rootMayEnter(info) {
			return fmt.Errorf("streams of root without capabilities cannot enter %s (mode %s of user %d), which %s is in: choose another place, `chmod o+x %s`, or --isolation none",
				dir, info.Mode().Perm(), ownerOf(info), path, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func rootMayEnter(info fs.FileInfo) bool {
	const ownerMay, othersMay = 0o100, 0o001
	if ownerOf(info) == 0 {
		return info.Mode()&ownerMay != 0
	}
	return info.Mode()&othersMay != 0
}

func ownerOf(info fs.FileInfo) uint32 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Uid
	}
	return 0
}

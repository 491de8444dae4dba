package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// disks are the whole disks that IO limits are for, as major:minor. The kernel
// holds requests back where they enter a disk, not at a partition.
type disks struct {
	devices []string
	// err says why there are none, or not all.
	err error
}

// sysBlock has a link for each block device, by major:minor.
const sysBlock = "/sys/dev/block"

// findDisks finds the disks that hold the paths. A path that does not exist
// yet is where its nearest existing parent is.
func findDisks(paths []string) disks {
	var d disks
	var errs []error
	for _, path := range paths {
		devices, err := disksOf(path)
		errs = append(errs, err)
		d.devices = append(d.devices, devices...)
	}
	slices.Sort(d.devices)
	d.devices = slices.Compact(d.devices)
	if d.err = errors.Join(errs...); d.err == nil && len(d.devices) == 0 {
		d.err = fmt.Errorf("no disk holds %s: keep the data on a local disk", strings.Join(paths, ", "))
	}
	return d
}

// disksOf finds the disks that hold a path. Memory file systems have none, and
// nothing to limit.
func disksOf(path string) ([]string, error) {
	path, err := existing(path)
	if err != nil {
		return nil, err
	}
	unknown := func(err error) error { return fmt.Errorf("the disk of %s is unknown: %w", path, err) }
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return nil, unknown(err)
	}
	var system unix.Statfs_t
	if err := unix.Statfs(path, &system); err != nil {
		return nil, unknown(err)
	}
	device := stat.Dev
	switch {
	case stat.Mode&unix.S_IFMT == unix.S_IFBLK:
		device = stat.Rdev
	case system.Type == unix.TMPFS_MAGIC || system.Type == unix.RAMFS_MAGIC:
		return nil, nil
	case unix.Major(device) == 0:
		// Such a number is the file system's own. That of btrfs has a disk
		// nevertheless, an overlay or a network share has none.
		if device, err = sourceOf(path); err != nil {
			return nil, unknown(err)
		}
	}
	found, err := wholeDisks(sysBlock, fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device)))
	if err != nil {
		return nil, unknown(err)
	}
	return found, nil
}

// existing is the path without links, or that of its nearest parent that
// exists.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || path == "/" {
			return real, err
		}
		path = filepath.Dir(path)
	}
}

// sourceOf finds the block device that the file system of a path was mounted
// from.
func sourceOf(path string) (uint64, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	var point, source string
	for line := range strings.Lines(string(text)) {
		left, right, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(kind) < 2 {
			continue
		}
		// The innermost mount, and of those at one place the last, is on top.
		at := unescape(fields[4])
		if (at == "/" || path == at || strings.HasPrefix(path, at+"/")) && len(at) >= len(point) {
			point, source = at, unescape(kind[1])
		}
	}
	var stat unix.Stat_t
	if unix.Stat(source, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, fmt.Errorf("%s is mounted from %q, which is no local disk: keep the data on one", point, source)
	}
	return stat.Rdev, nil
}

// wholeDisks are the disks that a device is on: a partition is on one, a
// logical volume or an array on several. links is sysBlock.
func wholeDisks(links, device string) ([]string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(links, device))
	if err != nil {
		return nil, err
	}
	if exists(filepath.Join(dir, "partition")) {
		dir = filepath.Dir(dir)
	}
	if device, err = read(filepath.Join(dir, "dev")); err != nil {
		return nil, err
	}
	below, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if optional(err) != nil {
		return nil, err
	}
	if len(below) == 0 {
		return []string{device}, nil
	}
	var found []string
	for _, entry := range below {
		device, err := read(filepath.Join(dir, "slaves", entry.Name(), "dev"))
		if err != nil {
			return nil, err
		}
		disks, err := wholeDisks(links, device)
		if err != nil {
			return nil, err
		}
		found = append(found, disks...)
	}
	return found, nil
}

// stacked tells whether a device passes its requests on to others, which count
// them again.
func stacked(device string) bool {
	below, err := os.ReadDir(filepath.Join(sysBlock, device, "slaves"))
	return err == nil && len(below) > 0
}

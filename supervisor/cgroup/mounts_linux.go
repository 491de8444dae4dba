package cgroup

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

// controllers are those that enforce limits, by their names in version 1.
// Version 2 calls blkio io and has no cpuacct.
var controllers = []string{"memory", "cpu", "cpuacct", "pids", "blkio"}

// mount is a hierarchy as it is mounted.
type mount struct {
	point string
	// root is the cgroup that point shows. In a container it may be the
	// container's own.
	root        string
	unified     bool
	controllers []string // in version 1
}

// parseMounts reads the cgroup mounts from the text of /proc/self/mountinfo.
func parseMounts(text string) []mount {
	var found []mount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		if !ok {
			continue
		}
		fields, kind := strings.Fields(left), strings.Fields(right)
		if len(fields) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{root: unescape(fields[3]), point: unescape(fields[4])}
		switch kind[0] {
		case "cgroup":
			m.controllers = strings.Split(kind[2], ",")
		case "cgroup2":
			m.unified = true
		default:
			continue
		}
		found = append(found, m)
	}
	return found
}

// unescape undoes the octal escapes of a mount table.
func unescape(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// visible tells whether the mount is what its place shows, and not covered by
// another one.
func (m mount) visible() bool {
	var stat unix.Statfs_t
	if err := unix.Statfs(m.point, &stat); err != nil {
		return false
	}
	if m.unified {
		return stat.Type == unix.CGROUP2_SUPER_MAGIC
	}
	return stat.Type == unix.CGROUP_SUPER_MAGIC
}

// inside is the path of a cgroup below the mount point. It is not known of one
// that the mount does not show.
func (m mount) inside(cgroup string) (string, bool) {
	switch {
	case m.root == "/":
		return cgroup, true
	case cgroup == m.root:
		return "/", true
	case strings.HasPrefix(cgroup, m.root+"/"):
		return strings.TrimPrefix(cgroup, m.root), true
	default:
		return "", false
	}
}

// system is what there is of cgroups.
type system struct {
	mounts []mount
	// legacy and unified are the supervisor's own cgroups, as the kernel names
	// them: by controller in version 1, one in version 2.
	legacy  map[string]string
	unified string
}

func inspect() (system, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return system{}, fmt.Errorf("%w: the mounts are unknown: %w: mount /proc", ErrUnavailable, err)
	}
	var s system
	for _, m := range parseMounts(string(text)) {
		if m.visible() {
			s.mounts = append(s.mounts, m)
		}
	}
	s.legacy, s.unified, err = cgroups.ParseCgroupFileUnified("/proc/self/cgroup")
	if err != nil {
		return system{}, fmt.Errorf("%w: the supervisor's own cgroup is unknown: %w: mount /proc", ErrUnavailable, err)
	}
	return s, nil
}

// holding is the version 1 mount that holds a controller.
func (s system) holding(controller string) (mount, bool) {
	i := slices.IndexFunc(s.mounts, func(m mount) bool { return slices.Contains(m.controllers, controller) })
	if i < 0 {
		return mount{}, false
	}
	return s.mounts[i], true
}

// v2 is the mount of version 2.
func (s system) v2() (mount, bool) {
	i := slices.IndexFunc(s.mounts, func(m mount) bool { return m.unified })
	if i < 0 {
		return mount{}, false
	}
	return s.mounts[i], true
}

// version decides which one is used: a controller is in one of them only, and
// memory is the one that matters. available are the controllers of version 2.
func (s system) version(available []string) int {
	legacy := 0
	for _, controller := range controllers {
		if _, ok := s.holding(controller); ok {
			legacy++
		}
	}
	_, memory := s.holding("memory")
	switch {
	case memory:
		return 1
	case slices.Contains(available, "memory"):
		return 2
	case legacy > 0:
		return 1
	case len(available) > 0:
		return 2
	default:
		return 0
	}
}

// isUnit tells whether a cgroup is that of a service or scope of systemd,
// below which everything belongs to whoever runs in it.
func isUnit(cgroup string) bool {
	return strings.HasSuffix(cgroup, ".service") || strings.HasSuffix(cgroup, ".scope")
}

// unit is the version 1 cgroup of the systemd unit that the supervisor runs
// in. Only systemd's own hierarchy always has it.
func (s system) unit() (string, bool) {
	for _, name := range append([]string{"name=systemd"}, controllers...) {
		m, ok := s.holding(name)
		if !ok {
			continue
		}
		if own, ok := m.inside(s.legacy[name]); ok && isUnit(own) {
			return path.Clean(own), true
		}
	}
	return "", false
}

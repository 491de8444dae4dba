package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// needRoot skips a test that only root can run, unless it is CI's.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		require.Fail(t, "the profile strict needs root")
	}
	t.Skip("the profile strict needs root")
}

// cgroupParent is where the supervisors under test make the cgroups of their
// runners, apart from everything else on the host. Who may not write cgroups
// has them look for themselves.
func cgroupParent() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return fmt.Sprintf("/penstock-test-%d", os.Getpid())
}

// dropCgroups removes the cgroups of supervisors that were killed. Their
// runners have ended.
func dropCgroups() {
	if cgroupParent() == "" {
		return
	}
	// One in each hierarchy of v1, or the one of v2.
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		roots, err := filepath.Glob(pattern + cgroupParent())
		if err != nil {
			panic(err)
		}
		for _, root := range roots {
			var dirs []string
			_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for i := len(dirs) - 1; i >= 0; i-- {
				if err := os.Remove(dirs[i]); err != nil && !strings.Contains(err.Error(), "no such file") {
					fmt.Fprintln(os.Stderr, "a cgroup of the tests is left:", err)
				}
			}
		}
	}
}

package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMountsContainEachOther(t *testing.T) {
	w := newWorld(t)
	plan := w.strict(t)
	// Shared contains a folder that may be written, which contains a file that
	// may not, whatever order they are named in.
	inner := filepath.Join(w.Shared, "inner")
	require.NoError(t, os.Mkdir(inner, 0o777))
	require.NoError(t, os.Chmod(inner, 0o777))
	fixed := filepath.Join(inner, "fixed")
	require.NoError(t, os.WriteFile(fixed, nil, 0o666))
	require.NoError(t, os.Chmod(fixed, 0o666))
	plan.Strict.Write = append(plan.Strict.Write, inner)
	plan.Strict.Read = []string{fixed, w.Shared}
	plan.Args = append([]string{"program", inside, "paths"}, w.Shared, inner, fixed)
	got := report[map[string]string](t, plan)
	assert.Equal(t, map[string]string{
		w.Shared + " create": "EROFS", w.Shared + " read": "ok",
		inner + " create": "ok", inner + " read": "ok",
		fixed + " write": "EROFS", fixed + " read": "ok",
	}, got)
}

// Root's symbolic links are followed, and are there inside too.
func TestLinksAreShown(t *testing.T) {
	w := newWorld(t)
	plan := w.strict(t)
	dir := folder(t, 0)
	direct, relative := filepath.Join(dir, "direct"), filepath.Join(dir, "relative")
	require.NoError(t, os.Symlink(w.Shared, direct))
	require.NoError(t, os.Symlink("../"+filepath.Base(dir)+"/./direct/file", relative))
	plan.Strict.Read = []string{relative, direct}
	plan.Args = append([]string{"program", inside, "paths"}, direct, relative)
	assert.Equal(t, map[string]string{
		direct + " create": "EROFS", direct + " read": "ok",
		relative + " write": "EROFS", relative + " read": "ok",
	}, report[map[string]string](t, plan))

	loop := filepath.Join(dir, "loop")
	require.NoError(t, os.Symlink("loop", loop))
	plan.Strict.Read = []string{loop}
	_, stderr, err := run(t, plan)
	require.Error(t, err)
	assert.Contains(t, stderr, "too many levels of symbolic links")

	device := filepath.Join(dir, "device")
	require.NoError(t, os.Symlink("/dev/../dev/null", device))
	plan.Strict.Read = []string{device}
	_, stderr, err = run(t, plan)
	require.Error(t, err)
	assert.Contains(t, stderr, device+" leads to /dev/null: the sandbox has its own")
}

// tryPaths reads each path, and makes a file in it if it is a folder, or writes
// it.
func tryPaths(paths []string) map[string]string {
	results := map[string]string{}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			results[path] = outcome(err)
		case info.IsDir():
			_, err := os.ReadDir(path)
			results[path+" read"] = outcome(err)
			results[path+" create"] = outcome(createFile(filepath.Join(path, "new")))
		default:
			results[path+" read"] = outcome(read(path))
			results[path+" write"] = outcome(write(path))
		}
	}
	return results
}

// Nothing of a launch is left on the host: neither mounts nor files.
func TestHostIsAsBefore(t *testing.T) {
	plan := strictPlan(t, "self")
	before, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	report[self](t, plan)
	after, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	left, err := os.ReadDir(plan.Strict.Mount)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// Without a size, /tmp is there and nothing can be put into it.
func TestNoTmp(t *testing.T) {
	plan := strictPlan(t)
	plan.Strict.TmpBytes = 0
	plan.Args = append(plan.Args, "paths", "/tmp")
	assert.Equal(t, map[string]string{"/tmp read": "ok", "/tmp create": "EROFS"}, report[map[string]string](t, plan))
}

// What a program may see of the host, other than what its plan names, is this.
func TestMountsAreThese(t *testing.T) {
	plan := strictPlan(t)
	plan.Args = append(plan.Args, "mounts")
	lines := report[[]string](t, plan)
	allowed := append([]string{"/", "/proc", "/tmp", plan.Program, plan.WorkDir}, append(environmentFiles, devices...)...)
	// The race detector makes the program a dynamic one.
	allowed = append(allowed, libraries...)
	for _, line := range lines {
		fields := strings.Fields(line)
		point, options := fields[4], fields[5]
		known := false
		for _, path := range allowed {
			real, err := filepath.EvalSymlinks(path)
			known = known || path == point || err == nil && real == point || strings.HasSuffix(point, "/ld-linux-x86-64.so.2")
		}
		assert.True(t, known, "%s is mounted", point)
		assert.Contains(t, options, "nosuid", line)
		if point != "/tmp" && point != plan.WorkDir && point != "/proc" {
			assert.Regexp(t, "^ro,", options, line)
		}
	}
}

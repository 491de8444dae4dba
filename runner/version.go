package runner

import "runtime/debug"

// recordedVersion is what the Go tool recorded of a binary that was linked
// without a version: its module's version or its commit, else "dev".
func recordedVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && setting.Value != "" {
			return setting.Value
		}
	}
	return "dev"
}

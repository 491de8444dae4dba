//go:build !linux

package runner

// limitMemory is the collector's alone: other systems hold no such limit.
func limitMemory(int64) error { return nil }

package supervisor

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// versionTime bounds how long the runner's binary may take to tell its version.
const versionTime = 5 * time.Second

// runnerBinary knows the version of the binary that new runners are started
// from. It asks again when the file has changed.
type runnerBinary struct {
	path string

	mu      sync.Mutex
	asked   os.FileInfo
	version string
}

// RunnerVersion is the version of the runner's binary as it is on disk now:
// that of the runners that are started from now on. It is empty when the
// binary does not tell.
func (s *Supervisor) RunnerVersion() string {
	b := s.runner
	b.mu.Lock()
	defer b.mu.Unlock()
	path, err := exec.LookPath(b.path)
	if err != nil {
		s.log.Warn("the runner's binary cannot be found", zap.Error(err))
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		s.log.Warn("the runner's binary cannot be read", zap.Error(err))
		return ""
	}
	if b.asked != nil && os.SameFile(b.asked, info) && b.asked.ModTime().Equal(info.ModTime()) && b.asked.Size() == info.Size() {
		return b.version
	}
	ctx, cancel := context.WithTimeout(s.root, versionTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		s.log.Warn("the runner's binary does not tell its version", zap.String("runner", path), zap.Error(err))
		return ""
	}
	b.asked, b.version = info, strings.TrimSpace(string(out))
	return b.version
}

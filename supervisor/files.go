package supervisor

import (
	"errors"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

// dropStrayFiles removes the files of an id that no stream has.
func (s *Supervisor) dropStrayFiles(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		// Streams are let go of one by one, and their files stay.
		return
	}
	if _, taken := s.streams[id]; !taken {
		s.dropFiles(id)
		s.confiner.forget(id)
	}
}

// dropAllStrayFiles removes the files of streams that were being deleted when
// an earlier supervisor died.
func (s *Supervisor) dropAllStrayFiles() {
	// There is no such folder before the first stream.
	entries, err := os.ReadDir(s.streamDir(""))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("the files of deleted streams cannot be found", zap.Error(err))
	}
	for _, entry := range entries {
		s.dropStrayFiles(entry.Name())
	}
}

func (s *Supervisor) dropFiles(id string) {
	if err := os.RemoveAll(s.streamDir(id)); err != nil {
		s.log.Warn("the stream's files cannot be removed", zap.String("stream", id), zap.Error(err))
	}
}

// callsPath is the file of asynchronous calls.
func (s *Supervisor) callsPath() string { return filepath.Join(s.cfg.DataDir, "calls.db") }

func (s *Supervisor) storePath() string { return filepath.Join(s.cfg.DataDir, "state.db") }

func (s *Supervisor) streamDir(id string) string {
	return filepath.Join(s.cfg.DataDir, "streams", id)
}

package process

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// EndOthers ends the runners that earlier supervisors left, but for those whose
// folder's name (Identity.Dir) is in keep, and removes their folders. Two
// copies of a stream would take each other's input, or each other's address.
// A runner may drain for two seconds and is killed then; all end at the same
// time. It must not be called while runners are being started.
func (l *Launcher) EndOthers(keep []string) {
	// A folder that cannot be read has no runner that could be reached.
	entries, err := os.ReadDir(l.runDir)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, entry := range entries {
		if slices.Contains(keep, entry.Name()) {
			continue
		}
		wg.Go(func() {
			dir := filepath.Join(l.runDir, entry.Name())
			endLeftover(dir)
			// What cannot be removed is tried again at the next start.
			_ = os.RemoveAll(dir)
		})
	}
	wg.Wait()
}

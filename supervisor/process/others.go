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
			dir := l.moved(entry.Name())
			endLeftover(dir)
			// What cannot be removed is tried again at the next start.
			_ = os.RemoveAll(dir)
		})
	}
	wg.Wait()
}

// moved takes a runner's folder out of its place, and returns where it is. A
// runner whose supervisor died while it was being started is about to make its
// socket there: it would be reached by nobody, and not be found either. Now it
// finds no folder, and ends.
func (l *Launcher) moved(name string) string {
	from := filepath.Join(l.runDir, name)
	// As long as the other: a socket's path has a bound.
	to := filepath.Join(l.runDir, "g"+name[1:])
	if os.Rename(from, to) != nil {
		return from
	}
	return to
}

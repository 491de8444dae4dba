package process

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Runners that were just being started when their supervisor died make their
// sockets while their folders are being removed.
func TestEndOthersMeetsRunnersThatAreBeingStarted(t *testing.T) {
	runDir := t.TempDir()
	l := &Launcher{runDir: runDir}
	for round := range 50 {
		var wg sync.WaitGroup
		for i := range 8 {
			dir := filepath.Join(runDir, fmt.Sprintf("r%d-%d", round, i))
			require.NoError(t, os.Mkdir(dir, 0o700))
			made := make(chan struct{})
			wg.Go(func() {
				for n := 0; ; n++ {
					f, err := os.Create(filepath.Join(dir, fmt.Sprint("plugin", n)))
					if n == 0 {
						close(made)
					}
					if err != nil {
						assert.ErrorIs(t, err, os.ErrNotExist)
						return
					}
					f.Close()
				}
			})
			<-made
		}
		l.EndOthers(nil)
		// Who finds a folder still goes on for ever.
		left, err := os.ReadDir(runDir)
		require.NoError(t, err)
		if !assert.Empty(t, left, "folders of runners that nobody can end any more") {
			require.NoError(t, os.RemoveAll(runDir))
		}
		wg.Wait()
	}
}

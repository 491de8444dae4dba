package calls

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// BenchmarkSubmit is how many calls are accepted a second, each synced.
func BenchmarkSubmit(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			cfg := testConfig()
			cfg.Queue, cfg.Storage, cfg.StreamStorage = 1_000_000, 8<<30, 8<<30
			c := open(b, filepath.Join(b.TempDir(), "calls.db"), cfg, &fake{})
			body := strings.Repeat("x", 1000)
			work := make(chan struct{})
			var group sync.WaitGroup
			for range clients {
				group.Go(func() {
					for range work {
						submit(b, c, "s", body)
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			group.Wait()
		})
	}
}

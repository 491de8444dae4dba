package store

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCommit is the durable part of creating a stream, of one caller and
// of 64, on the disk of the temporary folder.
func BenchmarkCommit(b *testing.B) {
	config := strings.Repeat("x", 2000)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := mustOpen(b, statePath(b))
			var number atomic.Int64
			create := func() error {
				i := number.Add(1)
				id := fmt.Sprintf("stream-%d", i%500)
				return s.Update(func(tx *Tx) error {
					return errors.Join(tx.PutStream(stream(id, uint64(i), config)), tx.PutRunner(id, runner(int(i))))
				})
			}
			b.ResetTimer()
			if callers == 1 {
				for b.Loop() {
					require.NoError(b, create())
				}
				return
			}
			b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := create(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkOpen opens and loads 2,000 streams of 10 revisions, 2 kB each.
func BenchmarkOpen(b *testing.B) {
	path := memoryPath(b)
	s, err := Open(path)
	require.NoError(b, err)
	fill(b, s, 2000, KeepRevisions, strings.Repeat("x", 2000))
	require.NoError(b, s.Close())
	for b.Loop() {
		s, err := Open(path)
		require.NoError(b, err)
		_, err = s.Load()
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}

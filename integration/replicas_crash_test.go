package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestReplicasOverCrashes: a supervisor that is killed at any moment of changes
// of streams with replicas leaves the next one with all or none of them, each
// with what the stream itself runs.
func TestReplicasOverCrashes(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	const rounds = 8
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var changes sync.WaitGroup
		for _, id := range []string{"a", "b"} {
			changes.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					config := several(fmt.Sprint(round, "-", i), fmt.Sprint(1+rand.IntN(4)))
					for _, do := range []request{
						{Method: http.MethodPost, Path: "/streams/" + id, Body: config},
						{Method: http.MethodPut, Path: "/streams/" + id, Body: config},
						{Method: http.MethodDelete, Path: "/streams/" + id},
					} {
						if rand.IntN(3) > 0 {
							// It may be cut off, or find what the last one has left.
							_, _ = r.ask(ctx, do)
						}
					}
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		r.kill9(t)
		cancel()
		changes.Wait()
		r.start(t)

		expected := 0
		list, err := listStreams(t.Context(), r.client)
		if !assert.NoError(t, err) {
			return
		}
		for id := range list {
			var config struct {
				Config struct {
					Runtime struct{ Replicas int }
				}
			}
			awaitState(t, r.client, id, "running")
			r.getJSON(t, "/streams/"+id, &config)
			want := config.Config.Runtime.Replicas
			expected += want
			await(t, changeTimeout, fmt.Sprintf("round %d: %s to have %d runners", round, id, want), func() error {
				now := replicasNow(t, r.client, id)
				if want == 1 && now == nil || now != nil && now.Running == want && now.busy() == want {
					return nil
				}
				return fmt.Errorf("it has %+v", now)
			})
			await(t, changeTimeout, fmt.Sprintf("round %d: all of %s to run the same", round, id), func() error {
				tags := map[string]bool{}
				for range 2 * want {
					tag, _, _ := strings.Cut(r.expect(t, 200, "POST", "/"+id+"/post", "x").Text(), ":")
					tags[tag] = true
				}
				if len(tags) != 1 {
					return fmt.Errorf("they run %v", tags)
				}
				return nil
			})
		}
		await(t, changeTimeout, "nothing to be left", func() error {
			if n := len(r.runners()); n != expected {
				return fmt.Errorf("%d runners instead of %d", n, expected)
			}
			entries, err := os.ReadDir(filepath.Join(r.DataDir, "streams"))
			if err != nil || len(entries) != expected {
				return fmt.Errorf("%d folders of streams instead of %d: %w", len(entries), expected, err)
			}
			return nil
		})
	}
}

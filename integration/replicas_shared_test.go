package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReplicasShareResources: the runners of one stream use one instance, as those of
// several streams do. Each of the keys is added once, whoever is asked, and as many
// calls pass as the limit lets pass in all.
func TestReplicasShareResources(t *testing.T) {
	t.Parallel()
	const replicas, keys, limit = 3, 60, 40
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {}")
	p.expect(t, 200, "POST", "/resources/rate_limit/few", fmt.Sprintf("local: {count: %d, interval: 1h}", limit))
	p.expect(t, 200, "POST", "/streams/adds", fmt.Sprintf("runtime: {replicas: %d}", replicas)+usesCache("mine"))
	p.expect(t, 200, "POST", "/streams/limited", fmt.Sprintf("runtime: {replicas: %d}\n", replicas)+strings.ReplaceAll(limitedYAML, "mine", "few"))
	require.Len(t, awaitReplicas(t, p.client, "adds", replicas).pids(), replicas)
	require.Len(t, awaitReplicas(t, p.client, "limited", replicas).pids(), replicas)

	// Each key is asked for as often as there are runners, at once.
	var all sync.WaitGroup
	var mu sync.Mutex
	added, refused := map[string]int{}, 0
	for key := range keys {
		for range replicas {
			all.Go(func() {
				a, err := p.ask(t.Context(), request{
					Method: http.MethodPost, Path: "/adds/op", Body: "x", Header: map[string]string{"Op": "add", "Key": fmt.Sprint(key)},
				})
				if !assert.NoError(t, err) || !assert.Equal(t, http.StatusOK, a.Status, a.Text()) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(a.Text(), "error: key already exists") {
					refused++
				} else if assert.Equal(t, "x", a.Text()) {
					added[fmt.Sprint(key)]++
				}
			})
		}
	}
	all.Wait()
	assert.Len(t, added, keys)
	for key, times := range added {
		assert.Equal(t, 1, times, "key %s", key)
	}
	assert.Equal(t, keys*(replicas-1), refused)

	passed := 0
	for range replicas * limit {
		a, err := p.ask(t.Context(), request{Method: http.MethodPost, Path: "/limited/post", Body: "x"})
		require.NoError(t, err)
		if a.Status == http.StatusOK {
			passed++
		} else {
			require.Equal(t, http.StatusTooManyRequests, a.Status, a.Text())
		}
	}
	assert.Equal(t, limit, passed)
	assert.Len(t, p.runners(), 2*replicas+1, "one host for all")
	// Every runner has answered: none of it is one runner's alone.
	metrics := p.expect(t, 200, "GET", "/metrics", "").Text()
	for _, id := range []string{"adds", "limited"} {
		for number := 1; number <= replicas; number++ {
			assert.Regexp(t, fmt.Sprintf(`input_received\{label="",path="root.input",replica="%d",stream="%s"\} [1-9]`, number, id), metrics)
		}
	}
	t.Logf("%d of %d adds and %d of %d calls passed, over %d runners each", len(added), keys*replicas, passed, replicas*limit, replicas)
}

package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cachedYAML answers with what the cache "mine" holds, and is held up at the
// gate while it is created.
func cachedYAML(g *gate) string {
	return fmt.Sprintf(`
input: {http_server: {}}
pipeline: {processors: [{mapping: '%s'}, {cache: {resource: mine, operator: get, key: k}}]}
output: {sync_response: {}}
`, g.mapping())
}

// TestResourcesReplacedDuringChanges: a stream that was being created or
// changed while its resource was replaced gets the new one.
func TestResourcesReplacedDuringChanges(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.prepare=60s")
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {init_values: {k: zero}}")
	last := "zero"
	for _, c := range []struct {
		method, id, version string
		replaced            []int
	}{
		{http.MethodPost, "a", "one", []int{200}},
		// It may name the stream as one that somebody else has changed.
		{http.MethodPut, "a", "two", []int{200}},
		{http.MethodPost, "b", "three", []int{200}},
	} {
		g := newGate(t)
		change := begin(t, p.client, request{Method: c.method, Path: "/streams/" + c.id, Body: cachedYAML(g)})
		g.awaitReader(t)
		replacement := begin(t, p.client, request{Method: http.MethodPost, Path: "/resources/cache/mine", Body: "memory: {init_values: {k: " + c.version + "}}"})
		await(t, changeTimeout, "the resource to be replaced", func() error {
			a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/resources/cache/mine"})
			if err == nil && !strings.Contains(a.Text(), c.version) {
				err = fmt.Errorf("it is %s", a)
			}
			return err
		})
		g.open(t)
		o := end(t, "the change", change)
		require.Equal(t, 200, o.Status, "%s %s: %s", c.method, c.id, o.answer)
		o = end(t, "the replacement", replacement)
		require.Contains(t, c.replaced, o.Status, "%s %s: %s", c.method, c.id, o.answer)
		assert.Equal(t, c.version, p.expect(t, 200, "POST", "/"+c.id+"/post", "x").Text(), "%s %s; it was %s", c.method, c.id, last)
		last = c.version
	}
	assert.Equal(t, last, p.expect(t, 200, "POST", "/a/post", "x").Text(), "after another stream was created")
	assert.Len(t, p.runners(), 3, "with the resource host")
}

// TestResourcesDeletedDuringCreate: a stream that is being created uses its
// resources already.
func TestResourcesDeletedDuringCreate(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--set", "timeouts.prepare=60s")
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {init_values: {k: one}}")
	g := newGate(t)
	create := begin(t, p.client, request{Method: http.MethodPost, Path: "/streams/coming", Body: cachedYAML(g)})
	g.awaitReader(t)
	a := p.expect(t, 409, "DELETE", "/resources/cache/mine", "")
	assert.NoError(t, line("coming")(a))
	g.open(t)
	o := end(t, "the creation", create)
	require.Equal(t, 200, o.Status, "%s", o.answer)
	assert.Equal(t, "one", p.expect(t, 200, "POST", "/coming/post", "x").Text())
	p.expect(t, 200, "DELETE", "/streams/coming", "")
	p.expect(t, 200, "DELETE", "/resources/cache/mine", "")
}

// processFigures are what statistics tell of a stream's process.
type processFigures struct {
	PID     int
	RSS     float64 `json:"rss_bytes"`
	Threads float64
}

func figuresOf(t *testing.T, p *penstock, id string) (figures *processFigures) {
	t.Helper()
	var stats struct{ Process *processFigures }
	p.getJSON(t, "/streams/"+id+"/stats", &stats)
	return stats.Process
}

// TestResourcesOfAProcessThatEnded: a finished stream keeps the figures of its
// process, and a stream that is started again has those of the new one.
func TestResourcesOfAProcessThatEnded(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	t.Cleanup(sink.Close)
	p := startPenstock(t)
	config := fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "x"'}}
output: {http_client: {url: '%s', verb: POST}}
`, sink.URL)
	p.expect(t, 200, "POST", "/streams/short", config)
	p.expect(t, 200, "POST", "/streams/killed", echo("killed"))
	running := figuresOf(t, p, "short")
	require.NotNil(t, running)
	close(held)
	awaitInactive(t, p, "short")
	awaitGone(t, running.PID)
	finished := figuresOf(t, p, "short")
	if assert.NotNil(t, finished, "the figures of a finished stream") {
		assert.Equal(t, running.PID, finished.PID)
		assert.Positive(t, finished.RSS)
		assert.Positive(t, finished.Threads)
	}

	former := awaitPID(t, p.client, "killed")
	require.NoError(t, syscall.Kill(former, syscall.SIGKILL))
	pid := awaitPID(t, p.client, "killed", former)
	awaitEcho(t, p.client, "/killed/post", "killed")
	figures := figuresOf(t, p, "killed")
	require.NotNil(t, figures)
	assert.Equal(t, pid, figures.PID)
	if runners := p.runners(); assert.Len(t, runners, 1) {
		assert.Equal(t, pid, runners[0].PID)
	}
	assert.Equal(t, finished, figuresOf(t, p, "short"))
}

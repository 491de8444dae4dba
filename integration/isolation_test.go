package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listLimit is what GET /streams may take, whatever the streams are up to. Not
// counted is how long client and server were ready to run and had no CPU.
const listLimit = 100 * time.Millisecond

const (
	// crashingYAML ends its process as soon as it runs.
	crashingYAML = `
input: {generate: {interval: "", mapping: 'root = "x"'}}
pipeline: {processors: [{crash: 'deliberate crash'}]}
output: {drop: {}}
`
	// rangeYAML makes a list as long as it is told.
	rangeYAML = `
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = range(0, this.n)'}]}
output: {sync_response: {}}
`
)

// TestIsolation has four of ten streams fail in four ways while the other six
// are asked all the while: nothing but the four may notice.
func TestIsolation(t *testing.T) {
	const rpcTimeout = 1500 * time.Millisecond
	p := startPenstock(t, "--set", "timeouts.rpc="+rpcTimeout.String())
	const crashing, panicking, killed, hung = "crashing", "panicking", "killed", "hung"
	victims := []string{crashing, panicking, killed, hung}
	var healthy []string
	for i := range 6 {
		healthy = append(healthy, fmt.Sprintf("healthy%d", i))
	}
	for _, id := range slices.Concat(victims, healthy) {
		config := echo(id)
		if id == panicking {
			config = rangeYAML
		}
		p.expect(t, 200, "POST", "/streams/"+id, config)
	}
	awaitReady(t, p.client)
	for _, id := range healthy {
		awaitEcho(t, p.client, "/"+id+"/post", id)
	}

	requests, lists, readies := newLoad(t), newLoad(t), newLoad(t)
	for _, id := range healthy {
		requests.echo(p.Base, id, id, 5*time.Millisecond)
	}
	seen := newSightings(p)
	lists.loop(p.Base, 10*time.Millisecond, seen.list)
	readies.loop(p.Base, 20*time.Millisecond, seen.ready)

	// A crash loop, and deaths enough for the others to be down for a while.
	p.expect(t, 200, "PUT", "/streams/"+crashing, crashingYAML)
	for range 3 {
		pid := awaitPID(t, p.client, panicking)
		a := p.call(t, "POST", "/"+panicking+"/post", `{"n":9000000000000000000}`)
		assert.Equal(t, 502, a.Status, "the request that ends its runner: %s", a)
		awaitGone(t, pid)
		kill(t, p, killed)
	}
	for id, reason := range map[string]string{
		crashing:  `exited with code 1`,
		panicking: `panic: runtime error: makeslice: len out of range`,
		killed:    `signal 9 \(killed\)`,
	} {
		await(t, changeTimeout, id+" to be reported", func() error { return seen.reported(id, reason) })
	}
	awaitEcho(t, p.client, "/"+killed+"/post", killed)
	awaitPID(t, p.client, panicking)

	// A runner that hangs, while the others go on dying.
	pid := awaitPID(t, p.client, hung)
	freeze(t, pid)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	var held []<-chan outcome
	for range 8 {
		held = append(held, begin(t, p.client, request{Method: http.MethodPost, Path: "/" + hung + "/post", Body: "held"}))
	}
	kill(t, p, killed)
	a := p.call(t, "POST", "/"+panicking+"/post", `{"n":9000000000000000000}`)
	assert.Equal(t, 502, a.Status, "the request that ends its runner: %s", a)
	await(t, changeTimeout, hung+" to be reported", func() error {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		if !seen.says(hung, "does not answer") {
			return fmt.Errorf("/ready says %q", seen.texts)
		}
		return nil
	})
	took := timed(func() { a = p.call(t, "GET", "/streams/"+hung+"/stats", "") })
	assert.Equal(t, 503, a.Status, "statistics of a runner that hangs: %s", a)
	assert.Less(t, took, rpcTimeout+margin)
	p.expect(t, 200, "GET", "/streams/"+hung, "")

	// Everybody comes back.
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	for _, pending := range held {
		o := end(t, "a request that was held", pending)
		assert.Equal(t, hung+":held", string(o.Body), "%s", o.answer)
	}
	assert.Equal(t, pid, awaitPID(t, p.client, hung), "the runner that hung goes on")
	awaitEcho(t, p.client, "/"+killed+"/post", killed)
	p.expect(t, 200, "PUT", "/streams/"+crashing, echo(crashing))
	awaitReady(t, p.client)
	awaitEcho(t, p.client, "/"+crashing+"/post", crashing)
	assert.Equal(t, "[0,1,2]", p.expect(t, 200, "POST", "/"+panicking+"/post", `{"n":3}`).Text())

	served, listing, asked := requests.sum(), lists.sum(), readies.sum()
	t.Logf("healthy streams: %s", served)
	t.Logf("GET /streams: %s; max %s without the waits for a CPU", listing, seen.slowest)
	t.Logf("GET /ready: %s", asked)
	assert.Empty(t, served.Failures, "requests to healthy streams")
	assert.Empty(t, listing.Failures, "GET /streams")
	assert.Less(t, seen.slowest, listLimit, "GET /streams")
	assert.Empty(t, asked.Failures, "GET /ready")
	assert.Less(t, asked.Max, rpcTimeout+margin, "GET /ready")
	assert.Greater(t, served.Count, 1000, "the load was a load")
	for _, id := range healthy {
		assert.False(t, seen.inactive[id], "%s was inactive", id)
	}
	for _, id := range seen.named() {
		assert.Contains(t, victims, id, "/ready named it")
	}
}

// kill kills a stream's runner and waits until it is gone.
func kill(t *testing.T, p *penstock, id string) {
	t.Helper()
	pid := awaitPID(t, p.client, id)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitGone(t, pid)
}

// sightings are what was seen of streams that are down.
type sightings struct {
	mu sync.Mutex
	// inactive holds who was listed with active: false.
	inactive map[string]bool
	// texts are the different answers of /ready, but for OK.
	texts []string
	// slowest is what GET /streams took at the most, waits for a CPU left out.
	slowest time.Duration
	queue   *cpuQueue
}

func newSightings(p *penstock) *sightings {
	return &sightings{inactive: map[string]bool{}, queue: newCPUQueue(p.PID, os.Getpid())}
}

// list is for one loop only.
func (s *sightings) list(ctx context.Context, c *client, _ int) error {
	s.queue.since()
	began := time.Now()
	list, err := listStreams(ctx, c)
	took := time.Since(began)
	took -= s.queue.since()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowest = max(s.slowest, took)
	for id, stream := range list {
		if !stream.Active {
			s.inactive[id] = true
		}
	}
	return err
}

func (s *sightings) ready(ctx context.Context, c *client, _ int) error {
	a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/ready"})
	if err != nil || a.Status == 200 && a.Text() == "OK" {
		return err
	}
	if a.Status != 503 {
		return fmt.Errorf("GET /ready answered %s", a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := a.Text(); !slices.Contains(s.texts, text) {
		s.texts = append(s.texts, text)
	}
	return nil
}

// reported returns nil once a stream was both listed as inactive and named by
// /ready with a reason, a regular expression.
func (s *sightings) reported(id, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inactive[id] {
		return fmt.Errorf("%s was never listed with active: false", id)
	}
	if !s.says(id, reason) {
		return fmt.Errorf("/ready never named %s with %q: %q", id, reason, s.texts)
	}
	return nil
}

// says tells whether /ready gave a reason for a stream. The caller holds mu.
func (s *sightings) says(id, reason string) bool {
	pattern := regexp.MustCompile(`[:;] ` + id + `: [^;]*` + reason)
	return slices.ContainsFunc(s.texts, pattern.MatchString)
}

// named lists all that /ready has named.
func (s *sightings) named() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, text := range s.texts {
		names, _, _ := strings.Cut(strings.TrimPrefix(text, "streams "), " are not connected: ")
		ids = append(ids, strings.Split(names, ", ")...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// conformanceEnv, when "reference", asks upstream alone: what a new version of
// the engine answers is learnt before Penstock is held against it.
const conformanceEnv = "PENSTOCK_CONFORMANCE"

// leastRequests is how many requests the corpus must have.
const leastRequests = 80

// soonTimeout bounds the wait for a state that both servers reach in the
// background, such as a stream's end.
const soonTimeout = 15 * time.Second

// scenario is an ordered list of requests to a fresh pair of servers.
type scenario struct {
	name string
	// args are command line arguments for both: flags that they share, and
	// stream files. Nil adds none.
	args func(t *testing.T) []string
	// penstockArgs are further arguments for Penstock.
	penstockArgs []string
	steps        []step
}

// step is one request, or one exchange, with both servers.
type step struct {
	name string
	req  request
	// want is the status upstream answers.
	want int
	// same holds Penstock's body against upstream's.
	same comparison
	// upstream, when set, is what upstream's body must pass: it keeps a
	// declared difference from outliving its cause.
	upstream check
	// poll repeats the request until the status is want and seen returns nil.
	poll bool
	seen check

	// exchange, when set, replaces the request: it does what it must with one
	// server and tells the outcome, which is compared as it is.
	exchange func(ctx context.Context, c *client) (string, error)
	// outcome is what upstream's exchange tells.
	outcome string

	// differs is set where Penstock answers otherwise on purpose.
	differs *difference
}

// difference is a deliberate one; docs/compatibility.md gives its reason.
type difference struct {
	// key is the heading of its section there.
	key string
	// status and check say what Penstock answers instead.
	status int
	check  check
	// outcome is the same for an exchange.
	outcome string
}

// ask is a step whose call is "METHOD /path".
func ask(name, call, body string, want int, same comparison) step {
	method, path, _ := strings.Cut(call, " ")
	return step{name: name, req: request{Method: method, Path: path, Body: body}, want: want, same: same}
}

// exchange is a step that needs more than one request and answer.
func exchange(name, outcome string, do func(context.Context, *client) (string, error)) step {
	return step{name: name, exchange: do, outcome: outcome}
}

// soon repeats the step's request until it has the wanted status and passes
// every check, on either server.
func (s step) soon(checks ...check) step {
	s.poll, s.seen = true, all(checks...)
	return s
}

// with adds a request header.
func (s step) with(key, value string) step {
	header := map[string]string{key: value}
	for k, v := range s.req.Header {
		header[k] = v
	}
	s.req.Header = header
	return s
}

// theirs checks upstream's body, for a step that says what Penstock answers
// instead of it.
func (s step) theirs(checks ...check) step {
	s.upstream = all(checks...)
	return s
}

// except declares that Penstock answers this status and body instead.
func (s step) except(key string, status int, checks ...check) step {
	s.differs = &difference{key: key, status: status, check: all(checks...)}
	return s
}

// exceptOutcome is except for an exchange.
func (s step) exceptOutcome(key, outcome string) step {
	s.differs = &difference{key: key, outcome: outcome}
	return s
}

// keys are the differences that the step shows.
func (s step) keys() []string {
	var keys []string
	if s.differs != nil {
		keys = append(keys, s.differs.key)
	} else if s.same.key != "" {
		keys = append(keys, s.same.key)
	}
	return keys
}

func TestConformance(t *testing.T) {
	requests := 0
	for _, sc := range corpus() {
		requests += len(sc.steps)
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			sc.run(t)
		})
	}
	require.GreaterOrEqual(t, requests, leastRequests)
	t.Logf("%d requests in %d scenarios", requests, len(corpus()))
}

func (sc scenario) run(t *testing.T) {
	var args []string
	if sc.args != nil {
		args = sc.args(t)
	}
	ref := startReference(t, args...).client
	var pen *client
	if os.Getenv(conformanceEnv) != "reference" {
		pen = startPenstock(t, append(args, sc.penstockArgs...)...).client
	}
	for _, s := range sc.steps {
		if s.exchange != nil {
			s.runExchange(t, ref, pen)
			continue
		}
		s.runRequest(t, ref, pen)
	}
}

func (s step) runRequest(t *testing.T, ref, pen *client) {
	theirs, err := s.send(t.Context(), ref, s.want, s.seen)
	t.Logf("%s: %s %s\n  upstream: %s", s.name, s.req.Method, s.req.Path, theirs)
	require.NoError(t, err, "%s: upstream", s.name)
	require.Equal(t, s.want, theirs.Status, "%s: upstream answered %s", s.name, theirs)
	if s.upstream != nil {
		require.NoError(t, s.upstream(theirs), "%s: upstream answered %s", s.name, theirs)
	}
	if pen == nil {
		return
	}
	want, seen := s.want, s.seen
	if s.differs != nil {
		want, seen = s.differs.status, s.differs.check
	}
	ours, err := s.send(t.Context(), pen, want, seen)
	t.Logf("  penstock: %s", ours)
	if !assert.NoError(t, err, "%s: penstock", s.name) {
		return
	}
	if !assert.Equal(t, want, ours.Status, "%s: penstock answered %s\nupstream answered %s", s.name, ours, theirs) {
		return
	}
	if s.differs != nil {
		assert.NoError(t, s.differs.check(ours), "%s: penstock answered %s", s.name, ours)
		return
	}
	assert.NoError(t, s.same.compare(theirs, ours), "%s:\nupstream %s\npenstock %s", s.name, theirs, ours)
}

// send asks once, or until the answer is the one waited for.
func (s step) send(ctx context.Context, c *client, want int, seen check) (answer, error) {
	if !s.poll {
		return c.ask(ctx, s.req)
	}
	var a answer
	err := poll(soonTimeout, func() (err error) {
		if a, err = c.ask(ctx, s.req); err != nil {
			return err
		}
		if a.Status != want {
			return fmt.Errorf("want status %d, got %s", want, a)
		}
		return seen(a)
	})
	return a, err
}

func (s step) runExchange(t *testing.T, ref, pen *client) {
	theirs, err := s.exchange(t.Context(), ref)
	t.Logf("%s:\n  upstream: %q", s.name, theirs)
	require.NoError(t, err, "%s: upstream", s.name)
	require.Equal(t, s.outcome, theirs, "%s: upstream", s.name)
	if pen == nil {
		return
	}
	ours, err := s.exchange(t.Context(), pen)
	t.Logf("  penstock: %q", ours)
	if !assert.NoError(t, err, "%s: penstock", s.name) {
		return
	}
	want := s.outcome
	if s.differs != nil {
		want = s.differs.outcome
	}
	assert.Equal(t, want, ours, "%s: penstock", s.name)
}

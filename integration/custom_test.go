package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// customRunner builds the runner of docs/custom-runner.md, once, and installs
// it as docs say: beside the core runner, under its name. It returns the path
// of the core runner there.
var customRunner = sync.OnceValues(func() (string, error) {
	bin, err := product()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(workDir, "custom")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "penstock-runner-mine"), ".")
	cmd.Dir = filepath.Join(repo, "docs", "examples", "custom-runner")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the custom runner: %w\n%s", err, out)
	}
	core := filepath.Join(dir, "penstock-runner")
	return core, putBinary(bin.Runner, core)
})

// shoutYAML answers what is posted in upper case; a message "boom" makes the
// processor panic in a goroutine of its own.
const shoutYAML = `
input: {http_server: {path: /post}}
pipeline: {processors: [{shout: {mark: '?', panic_on: boom}}]}
output: {sync_response: {}}
`

// TestCustomRunner has a stream with a component of a runner of one's own. Its
// processor works, is linted, and when it crashes its process, no other stream
// notices, the status says why, and the stream is there again.
func TestCustomRunner(t *testing.T) {
	t.Parallel()
	core, err := customRunner()
	require.NoError(t, err)
	p := startPenstock(t, "--runner", core)
	p.expect(t, 200, "POST", "/streams/loud", shoutYAML)
	p.expect(t, 200, "POST", "/streams/neighbour", echo("neighbour"))
	awaitReady(t, p.client)
	shouts := func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodPost, Path: "/loud/post", Body: "who is there"})
		if err == nil && string(a.Body) != "WHO IS THERE?" {
			err = fmt.Errorf("it answers %s", a)
		}
		return err
	}
	require.NoError(t, shouts())
	awaitEcho(t, p.client, "/neighbour/post", "neighbour")
	assertRunner(t, p.client, "loud", "mine")
	assertRunner(t, p.client, "neighbour", "core")
	a := p.expect(t, 400, "POST", "/streams/misspelt", `
input: {http_server: {path: /post}}
pipeline: {processors: [{shout: {marks: '?'}}]}
output: {sync_response: {}}
`)
	assert.Contains(t, a.Text(), "marks", "the field that a custom processor does not have")

	neighbour := mustStatus(t, p.client, "neighbour").PID
	calls := newLoad(t)
	calls.echo(p.Base, "neighbour", "neighbour", 5*time.Millisecond)
	for i := range 3 {
		pid := awaitPID(t, p.client, "loud")
		a := p.call(t, "POST", "/loud/post", "boom")
		assert.Equal(t, 502, a.Status, "the request that ends its runner: %s", a)
		awaitGone(t, pid)
		await(t, changeTimeout, "the stream to shout again", shouts)
		s := mustStatus(t, p.client, "loud")
		require.NotNil(t, s.LastExit)
		assert.Equal(t, 2, s.LastExit.Code)
		assert.Contains(t, s.LastExit.Message, "panic: shout: cannot shout boom")
		assert.NotEqual(t, pid, s.PID)
		t.Logf("crash %d: %s", i+1, s)
	}
	sum := calls.sum()
	assert.Zero(t, sum.NFailures, "calls of the neighbour: %v", sum.Failures)
	assert.GreaterOrEqual(t, sum.Count, 20)
	assert.Equal(t, neighbour, mustStatus(t, p.client, "neighbour").PID)
	t.Logf("the neighbour answered %d calls meanwhile, all well", sum.Count)
}

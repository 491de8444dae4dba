package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLimitsOfTheServer: a stream has the server's defaults and, for what those
// leave out, its ceilings; one that asks more than a ceiling is refused with the
// place where it does.
func TestLimitsOfTheServer(t *testing.T) {
	needRoot(t)
	t.Parallel()
	settings := []string{
		"limits.default.memory=128MiB", "limits.default.pids=200", "limits.default.nofile=300",
		"limits.max.memory=256MiB", "limits.max.swap=16MiB", "limits.max.cpu=1", "limits.max.cpu_weight=50",
		"limits.max.io.write_bps=10MiB", "limits.max.nofile=400",
	}
	var args []string
	for _, set := range settings {
		args = append(args, "--set", set)
	}
	p := startPenstock(t, args...)
	var want limitFigures
	want.Memory, want.PIDs, want.NoFile, want.CPU, want.CPUWeight, want.IO.WriteBPS = 128*mib, 200, 300, 1, 50, 10*mib
	p.expect(t, 200, "POST", "/streams/plain", echo("plain"))
	assert.Equal(t, want, assertEnforced(t, p.server, "plain").Isolation.Limits.limitFigures)

	p.expect(t, 200, "POST", "/streams/own", limited("memory: 256MiB, swap: 16MiB, cpu: 0.5, pids: 64, io: {read_iops: 1000}", echo("own")))
	want.Memory, want.Swap, want.CPU, want.PIDs, want.IO.ReadIOPS = 256*mib, 16*mib, 0.5, 64, 1000
	own := assertEnforced(t, p.server, "own")
	assert.Equal(t, want, own.Isolation.Limits.limitFigures)

	const greedy = `input: {http_server: {path: /post}}
runtime:
  limits:
    memory: 257MiB
    swap: 17MiB
    cpu: 1.5
    cpu_weight: 51
    pids: 1000
    io: {write_bps: 11MiB, read_bps: 1GiB}
    nofile: 401
output: {sync_response: {}}
`
	withoutPlaces := func(lints []string) (texts []string) {
		for _, lint := range lints {
			_, text, _ := strings.Cut(lint, " ")
			texts = append(texts, text)
		}
		return texts
	}
	lints := []string{
		"(4,13) field memory: 257MiB is above this server's ceiling, 256MiB",
		"(5,11) field swap: 17MiB is above this server's ceiling, 16MiB",
		"(6,10) field cpu: 1.5 is above this server's ceiling, 1",
		"(7,17) field cpu_weight: 51 is above this server's ceiling, 50",
		"(9,21) field write_bps: 11MiB is above this server's ceiling, 10MiB",
		"(10,13) field nofile: 401 is above this server's ceiling, 400",
	}
	for method, path := range map[string]string{
		"POST": "/streams/greedy", "PUT": "/streams/own?chilled=true", "PATCH": "/streams/own",
	} {
		var told struct {
			Lints []string `json:"lint_errors"`
		}
		a := p.expect(t, 400, method, path, greedy)
		require.NoError(t, json.Unmarshal(a.Body, &told), "%s", a)
		if method == "PATCH" {
			// Those of the merged config, which has other lines.
			assert.ElementsMatch(t, withoutPlaces(lints), withoutPlaces(told.Lints))
			continue
		}
		assert.Equal(t, lints, told.Lints, "%s %s", method, path)
	}
	p.expect(t, 404, "GET", "/streams/greedy", "")
	again := assertEnforced(t, p.server, "own")
	assert.Equal(t, own.PID, again.PID)
	assert.Equal(t, own.Revision, again.Revision)

	bin, err := product()
	require.NoError(t, err)
	code, said := serveToEnd(t, bin.Penstock, "--data-dir", t.TempDir(), "--runner", bin.Runner,
		"--set", "limits.default.memory=1GiB", "--set", "limits.max.memory=512MiB")
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "limits.default.memory is 1GiB: it must not be above limits.max.memory, 512MiB")
}

// TestLimitsOfLint: a config that takes memory while it is only checked is
// refused and says so, under the limits that it would have. Neither a stream
// that it was to change nor the supervisor notices.
func TestLimitsOfLint(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t, "--set", "limits.default.memory=64MiB")
	b := newBystander(t, p.client, often)
	before := residentMemory(t, p.PID)
	const bomb = `root = range(0, 10000000)`
	config := fmt.Sprintf("input: {http_server: {path: /post}}\npipeline: {processors: [{mapping: '%s'}]}\noutput: {sync_response: {}}\n", bomb)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/streams/bomb", config},
		{"PUT", "/streams/" + bystanderID, config},
		{"POST", "/streams", bystanderID + ":\n" + indent(echo(bystanderID)) + "bomb:\n" + indent(config)},
		{"POST", "/resources/processor/bomb", "mapping: '" + bomb + "'"},
	} {
		began := time.Now()
		a := p.expect(t, 400, c.method, c.path, c.body)
		assert.Contains(t, a.Text(), "killed because it used 64 MiB of memory and its limit is 64 MiB while it", "%s %s", c.method, c.path)
		t.Logf("%s %s was refused after %s", c.method, c.path, time.Since(began).Round(time.Millisecond))
	}
	p.expect(t, 404, "GET", "/streams/bomb", "")
	p.expect(t, 404, "GET", "/resources/processor/bomb", "")
	assert.Less(t, residentMemory(t, p.PID)-before, int64(32*mib), "what the supervisor took for it")
	awaitLeaves(t, statusOfLimits(t, p.client, bystanderID).Isolation.Limits.Cgroup, 1)
	b.unharmed(t)
}

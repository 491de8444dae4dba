package integration

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// buildVersion builds the binaries as another release of this source, into a
// folder.
func buildVersion(t *testing.T, dir, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", dir+string(filepath.Separator),
		"-ldflags", "-X main.version="+version, "penstock/cmd/penstock", "penstock/cmd/penstock-launch", "penstock/cmd/penstock-runner")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// stageBinary copies a file beside the one that it is to replace.
func stageBinary(t *testing.T, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to+".new", text, 0o700))
}

// replaceBinary puts what was staged in its place, as an installation does: a
// file that is being executed cannot be written to.
func replaceBinary(t *testing.T, to string) {
	t.Helper()
	require.NoError(t, os.Rename(to+".new", to))
}

// TestUpgradeRolling replaces supervisor and runners by another version under
// a steady load. Requests fail only while no supervisor listens.
func TestUpgradeRolling(t *testing.T) {
	const version = "v2-of-the-test"
	next := t.TempDir()
	buildVersion(t, next, version)
	r := newRestartable(t)
	bin := t.TempDir()
	launcher := filepath.Join(filepath.Dir(r.Penstock), "penstock-launch")
	for _, binary := range []*string{&r.Penstock, &r.Runner, &launcher} {
		installed := filepath.Join(bin, filepath.Base(*binary))
		stageBinary(t, installed, *binary)
		replaceBinary(t, installed)
		stageBinary(t, installed, filepath.Join(next, filepath.Base(*binary)))
		*binary = installed
	}
	r.start(t, "--on-exit=detach")
	ids := []string{"a", "b", "c", "d", "e", "f"}
	for _, id := range ids {
		r.expect(t, 200, "POST", "/streams/"+id, echo(id))
	}
	before := pidsOf(t, r.client, ids)
	old := mustStatus(t, r.client, ids[0]).RunnerVersion
	require.NotEqual(t, version, old)
	requests := newSteady(t)
	for _, id := range ids {
		for range 2 {
			requests.post(r.Base, id, 5*time.Millisecond)
		}
	}
	requests.awaitAnswers(t)

	stopping := time.Now()
	r.stop(t)
	for _, binary := range []string{r.Penstock, r.Runner, launcher} {
		replaceBinary(t, binary)
	}
	start := r.start(t, "--on-exit=detach")
	pong := time.Now()
	requests.awaitAnswers(t)
	t.Logf("from SIGTERM to the next pong: %s, of it from exec %s; the longest time without an answer: %s",
		pong.Sub(stopping).Round(time.Millisecond), start.Round(time.Millisecond), requests.takeGap())
	for _, id := range ids {
		assert.Equal(t, old, mustStatus(t, r.client, id).RunnerVersion, "%s was replaced unasked", id)
	}
	assert.Equal(t, before, pidsOf(t, r.client, ids), "the runners' process ids")

	said := upgrade(t, r)
	assert.Contains(t, said, "6 of 6 streams would be restarted with version "+version)
	assert.Equal(t, before, pidsOf(t, r.client, ids), "nothing is replaced without --rolling")
	rolling := time.Now()
	said = upgrade(t, r, "--rolling")
	took := time.Since(rolling)
	assert.Contains(t, said, "6 of 6 streams were restarted with version "+version)
	t.Logf("%d streams restarted in %s:\n%s", len(ids), took.Round(time.Millisecond), said)
	after := pidsOf(t, r.client, ids)
	for _, id := range ids {
		assert.Equal(t, version, mustStatus(t, r.client, id).RunnerVersion)
		assert.NotEqual(t, before[id], after[id], id)
	}
	assert.Len(t, r.runners(), len(ids))
	assert.Contains(t, upgrade(t, r, "--rolling"), "none of 6 streams has to be restarted")

	served := requests.sum()
	wrong, failed := requests.outside(stopping, pong)
	t.Logf("requests: %s; all but %d in the supervisor's gap were answered; the longest time without an answer after it: %s",
		served, failed, requests.takeGap())
	assert.Empty(t, wrong, "requests that failed while a supervisor listened")
	assert.Equal(t, after, pidsOf(t, r.client, ids))
	r.stop(t)
	r.start(t)
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// upgrade runs `penstock upgrade` against a supervisor and returns what it says.
func upgrade(t *testing.T, r *restartable, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), r.Penstock, append([]string{"upgrade", "--url", r.Base}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	return stdout.String()
}

// TestUpgradeUnderLoad replaces one stream's runner over and over, in every way
// there is, while clients do not wait between their requests, and some have
// one under way that takes its time. Each of them is answered.
func TestUpgradeUnderLoad(t *testing.T) {
	const rounds = 8
	p := startPenstock(t)
	// Two ways that differ in what the engine does with the same answer.
	config := func(round int) string {
		return strings.Replace(echo("a"), "processors: [", fmt.Sprintf("processors: [{mapping: 'meta round = %d'}, ", round), 1)
	}
	p.expect(t, 200, "POST", "/streams/a", config(-1))
	p.expect(t, 200, "POST", "/streams/slow", strings.Replace(echo("slow"), "processors: [", "processors: [{sleep: {duration: 200ms}}, ", 1))
	requests := newSteady(t)
	for range 8 {
		requests.post(p.Base, "a", time.Millisecond)
	}
	for range 4 {
		requests.post(p.Base, "slow", time.Millisecond)
	}
	pids := map[int]bool{mustStatus(t, p.client, "a").PID: true}
	for round := range rounds {
		for _, id := range []string{"a", "slow"} {
			switch {
			case round%2 == 0 || id == "slow":
				p.expect(t, 200, "POST", "/streams/"+id+"/restart", "")
			case round%4 == 1:
				p.expect(t, 200, "PUT", "/streams/a", config(round))
			default:
				p.expect(t, 200, "PATCH", "/streams/a", fmt.Sprintf(`{"pipeline": {"threads": %d}}`, round))
			}
		}
		pids[mustStatus(t, p.client, "a").PID] = true
	}
	assert.Len(t, pids, rounds+1, "each time another runner")
	served := requests.sum()
	wrong, failed := requests.outside(time.Time{}, time.Time{})
	t.Logf("%d replacements of two streams: %s; the longest time without an answer %s", rounds, served, requests.takeGap())
	assert.Empty(t, wrong, "%d requests failed", failed)
	assert.Equal(t, http.StatusOK, p.call(t, "GET", "/ready", "").Status)
	assert.Len(t, p.runners(), 2)
}

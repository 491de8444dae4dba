package integration

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// confinedBy is a place in which a supervisor has what a systemd unit leaves it.
type confinedBy struct {
	place
	// setpriv are the arguments that say so.
	setpriv []string
}

func (c confinedBy) start(cmd *exec.Cmd) error {
	path, err := exec.LookPath("setpriv")
	if err != nil {
		return err
	}
	cmd.Args = append(append([]string{path}, c.setpriv...), append([]string{"--", cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = path
	return c.place.start(cmd)
}

// unitPrivileges are what the unit that ships leaves a supervisor, as setpriv
// has it.
func unitPrivileges(t *testing.T) []string {
	t.Helper()
	unit := readRepo(t, "configs/systemd/penstock.service")
	set := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindStringSubmatch(unit)
	require.NotNil(t, set, "the unit bounds no capabilities")
	require.Regexp(t, `(?m)^NoNewPrivileges=yes$`, unit)
	var names []string
	for _, name := range strings.Fields(set[1]) {
		names = append(names, "+"+strings.ToLower(strings.TrimPrefix(name, "CAP_")))
	}
	return []string{"--no-new-privs", "--bounding-set", "-all," + strings.Join(names, ",")}
}

// TestSystemdUnitIsEnough: what the unit leaves the server is enough for all
// that it does with the config that the unit uses.
func TestSystemdUnitIsEnough(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newRestartableIn(t, confinedBy{newNetns(t), unitPrivileges(t)})
	args := []string{"--config", repo + "/configs/hardened.yaml", "--on-exit=detach"}
	r.start(t, args...)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	first := strictly(t, r.client, "a")
	assert.True(t, first.Sandbox.Seccomp && first.Sandbox.NoNewPrivs && first.Sandbox.PrivateRoot && !first.Sandbox.Capabilities)
	awaitEcho(t, r.client, "/a/post", "a")

	// It sees what its runners do, and changes what they may.
	var stats struct {
		Process struct {
			PSS int `json:"pss_bytes"`
		}
	}
	r.getJSON(t, "/streams/a/stats", &stats)
	assert.Positive(t, stats.Process.PSS)
	limited := echo("a") + "\nruntime: {limits: {memory: 64MiB, cpu: 0.4, nofile: 512}}\n"
	r.expect(t, 200, "PUT", "/streams/a", limited)
	awaitEcho(t, r.client, "/a/post", "a")

	// It ends them: those above their limits, those that do not end, those that
	// an earlier one left.
	r.expect(t, 200, "POST", "/streams/disk", `
input: {generate: {interval: 1ms, mapping: 'root = "x".repeat(200000)'}}
output: {file: {path: '${PENSTOCK_STREAM_DIR}/${! counter() }', codec: all-bytes}}
runtime: {limits: {disk: 4MiB}, restart: {policy: never}}
`)
	awaitState(t, r.client, "disk", "failed")
	var status struct {
		LastExit struct{ Reason string } `json:"last_exit"`
	}
	r.getJSON(t, "/streams/disk/status", &status)
	assert.Equal(t, "disk", status.LastExit.Reason)
	r.expect(t, 200, "DELETE", "/streams/disk", "")
	before := strictly(t, r.client, "a").PID
	r.kill9(t)
	r.start(t, append(args, "--on-exit=stop")...)
	assert.Equal(t, before, awaitState(t, r.client, "a", "running").PID)
	awaitEcho(t, r.client, "/a/post", "a")
	r.expect(t, 200, "DELETE", "/streams/a", "")
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

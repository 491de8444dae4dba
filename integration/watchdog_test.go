package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nobodyID is the user and the group of whoever has no rights.
const nobodyID = 65534

// unprivileged starts supervisors as a user who may do nothing on this host: who
// can write no cgroup unless one is given to it.
type unprivileged struct {
	host
	// mend adds to how they are started; nil adds nothing.
	mend func(cmd *exec.Cmd)
}

func (u unprivileged) start(cmd *exec.Cmd) error {
	// Nobody but root has access to what the tests have built, nor to the data
	// folder, which is made by the supervisor in one of the harness.
	if err := os.Chmod(workDir, 0o711); err != nil {
		return err
	}
	at := slices.Index(cmd.Args, "--data-dir")
	if err := os.Chown(filepath.Dir(cmd.Args[at+1]), nobodyID, nobodyID); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	if u.mend != nil {
		u.mend(cmd)
	}
	return cmd.Start()
}

// startUnprivileged starts a supervisor that looks for cgroups itself.
func startUnprivileged(t *testing.T, args ...string) *penstock {
	t.Helper()
	needRoot(t)
	return startPenstockIn(t, unprivileged{}, append([]string{"--set", "limits.cgroup_parent="}, args...)...)
}

// again kills the supervisor and starts another one in its place.
func (p *penstock) again(t testing.TB, where place) {
	t.Helper()
	p.close()
	p.kill()
	addrFile := p.cmd.Args[slices.Index(p.cmd.Args, "--addr-file")+1]
	require.NoError(t, os.Remove(addrFile), "what the one before has left")
	s, err := startServerIn(t, where, p.cmd.Path, p.cmd.Args[1:]...)
	require.NoError(t, err)
	p.server = s
	await(t, startTimeout, "the supervisor's address file", func() error {
		addr, err := os.ReadFile(addrFile)
		p.Base = "http://" + strings.TrimSpace(string(addr))
		return errors.Join(err, p.alive())
	})
	await(t, startTimeout, "the supervisor's first pong", p.pong)
}

// heldYAML keeps as many bytes as it is told for ever.
const heldYAML = `
input: {http_server: {path: /post, timeout: 30s}}
pipeline: {processors: [{mapping: 'root = "x".repeat(this.n)'}]}
output: {http_server: {path: /get}}
`

// awaitWatched waits until a watchdog has ended a stream that was held to its
// memory limit, and asserts what it tells.
func awaitWatched(t testing.TB, p *penstock, id string, limit float64, former ...int) {
	t.Helper()
	s := awaitEnd(t, p.client, id, "oom", "running", former...)
	assert.InDelta(t, limit, s.LastExit.LimitBytes, 0)
	assert.Greater(t, s.LastExit.UsedBytes, limit)
	assert.Contains(t, s.LastExit.Message, "of memory and its limit is")
	assert.Equal(t, "watchdog", s.Isolation.Limits.Enforcement)
	assert.InDelta(t, limit, s.Isolation.Limits.Memory, 0)
}

// TestWatchdog: where no cgroup can be written, memory is watched, and the
// status says that this is all.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	p := startUnprivileged(t)
	b := newBystander(t, p.client, often)
	p.expect(t, 200, "POST", "/streams/hog", limited("memory: 64MiB, nofile: 200, disk: 64MiB", heldYAML))
	s := statusOfLimits(t, p.client, "hog")
	assert.Equal(t, "watchdog", s.Isolation.Limits.Enforcement)
	assert.EqualValues(t, 64*mib, s.Isolation.Limits.Memory)
	assert.Empty(t, s.Isolation.Limits.Cgroup)
	assert.InDelta(t, 200, openFilesLimit(t, s.PID), 0)
	assert.Equal(t, "none", statusOfLimits(t, p.client, bystanderID).Isolation.Limits.Enforcement)

	exceed := func(id string, bytes int) {
		t.Helper()
		assert.Equal(t, 502, p.call(t, "POST", "/"+id+"/post", fmt.Sprintf(`{"n":%d}`, bytes)).Status)
	}
	exceed("hog", 120*mib)
	awaitWatched(t, p, "hog", 64*mib)
	series := scrape(t, p.client)
	assert.EqualValues(t, 1, series["penstock_oom_kills_total"])
	assert.EqualValues(t, 1, series[`penstock_runner_exits_total{reason="oom"}`])
	assert.EqualValues(t, 64*mib, series[`penstock_runner_memory_limit_bytes{stream="hog"}`])

	// Live, and by the next supervisor.
	pid := mustStatus(t, p.client, "hog").PID
	p.expect(t, 200, "PATCH", "/streams/hog", limited("memory: 300MiB", ""))
	held := begin(t, p.client, request{Method: http.MethodPost, Path: "/hog/post", Body: fmt.Sprintf(`{"n":%d}`, 80*mib)})
	assert.Len(t, p.expect(t, 200, "GET", "/hog/get", "").Body, 80*mib)
	assert.Equal(t, 200, end(t, "what was held", held).Status)
	assert.Equal(t, pid, mustStatus(t, p.client, "hog").PID)
	b.unharmed(t)
	p.again(t, unprivileged{})
	assert.Equal(t, pid, awaitState(t, p.client, "hog", "running").PID)
	exceed("hog", 350*mib)
	awaitWatched(t, p, "hog", 300*mib, pid)
	assert.Equal(t, b.pid, mustStatus(t, p.client, bystanderID).PID)

	// What a stream executes counts as its own. The folder that the tests were
	// built in is not for everybody.
	self, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(filepath.Dir(p.DataDir), "program")
	require.NoError(t, os.Link(self, program))
	p.expect(t, 200, "POST", "/streams/programs", limited("memory: 64MiB", strings.Replace(programYAML(t), self, program, 1)))
	exceedBy := begin(t, p.client, request{Method: http.MethodPost, Path: "/programs/post", Body: fmt.Sprint("hold ", 400*mib)})
	awaitWatched(t, p, "programs", 64*mib)
	assert.Equal(t, 502, end(t, "what exceeded", exceedBy).Status)
}

// TestWatchdogRefuses: what nobody can enforce is refused, and so is the
// watchdog where more is required.
func TestWatchdogRefuses(t *testing.T) {
	t.Parallel()
	p := startUnprivileged(t)
	for _, limit := range []string{"cpu: 0.5", "cpu_weight: 50", "pids: 100", "io: {write_bps: 1MiB}", "memory: 64MiB, cpu: 1"} {
		a := p.expect(t, 400, "POST", "/streams/a", limited(limit, echo("a")))
		assert.Contains(t, a.Text(), "only memory, nofile and disk can be had on this host", limit)
		assert.Contains(t, a.Text(), "run the server as root", "the mend")
	}
	p.expect(t, 200, "POST", "/streams/a", limited("memory: 64MiB", echo("a")))
	pid := mustStatus(t, p.client, "a").PID
	p.expect(t, 400, "PATCH", "/streams/a", limited("cpu: 1", ""))
	assert.Equal(t, pid, mustStatus(t, p.client, "a").PID)
	assert.EqualValues(t, 1, mustStatus(t, p.client, "a").Revision)

	required := startUnprivileged(t, "--set", "isolation.required=true")
	for method, path := range map[string]string{http.MethodPost: "/streams/a", http.MethodPut: "/streams/b"} {
		required.call(t, "POST", "/streams/b", echo("b"))
		a := required.expect(t, 400, method, path, limited("memory: 64MiB", echo("a")))
		for _, text := range []string{
			"the memory limit can only be watched and not enforced on this host", "isolation.required", "run the server as root",
		} {
			assert.Contains(t, a.Text(), text)
		}
	}
	awaitEcho(t, required.client, "/b/post", "b")
	var list map[string]json.RawMessage
	required.getJSON(t, "/streams", &list)
	assert.Len(t, list, 1)
}

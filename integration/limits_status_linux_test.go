package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	mib = 1 << 20
	// patience bounds the wait for what follows soon, in a machine that is
	// emulated, too.
	patience = time.Minute
	// often is how much time is between two requests to a bystander.
	often = 10 * time.Millisecond
)

// limitedStatus is what a status tells of limits.
type limitedStatus struct {
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Revision int    `json:"revision"`
	Restarts int    `json:"restarts"`
	PID      int    `json:"pid"`
	LastExit struct {
		Reason     string  `json:"reason"`
		Signal     string  `json:"signal"`
		Message    string  `json:"message"`
		UsedBytes  float64 `json:"used_bytes"`
		LimitBytes float64 `json:"limit_bytes"`
	} `json:"last_exit"`
	Isolation struct {
		Limits struct {
			limitFigures
			Enforcement string  `json:"enforcement"`
			Cgroup      string  `json:"cgroup"`
			Version     int     `json:"cgroup_version"`
			Disk        float64 `json:"disk_bytes"`
			DiskUsed    float64 `json:"disk_used_bytes"`
		} `json:"limits"`
	} `json:"isolation"`
	Usage usageTree `json:"usage"`
}

func (s limitedStatus) String() string {
	text, _ := json.Marshal(s)
	return string(text)
}

// usageTree is what a status and the statistics tell of what was used.
type usageTree map[string]map[string]any

// at is the figure at a place such as "memory.peak_bytes".
func (u usageTree) at(place string) (float64, error) {
	section, key, _ := strings.Cut(place, ".")
	figure, ok := u[section][key].(float64)
	if !ok {
		return 0, fmt.Errorf("%s is not told", place)
	}
	return figure, nil
}

func statusOfLimits(t testing.TB, c *client, id string) (s limitedStatus) {
	t.Helper()
	c.getJSON(t, "/streams/"+id+"/status", &s)
	return s
}

// awaitEnd waits until a stream whose last runner ended for a reason is in a
// state, and its process none of those given.
func awaitEnd(t testing.TB, c *client, id, reason, state string, former ...int) (s limitedStatus) {
	t.Helper()
	await(t, patience, fmt.Sprintf("%s to be %s after %s", id, state, reason), func() error {
		if s = statusOfLimits(t, c, id); s.LastExit.Reason != reason || s.State != state || slices.Contains(former, s.PID) {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	return s
}

// limited gives a config limits, in YAML's flow style.
func limited(limits, config string) string {
	return "runtime: {limits: {" + limits + "}}\n" + config
}

// repeatYAML answers with as many bytes as it is told, and holds them until
// then. That a number is counted keeps the engine from computing it beforehand.
const repeatYAML = `
input: {http_server: {path: /post, timeout: 30s}}
pipeline: {processors: [{mapping: 'root = "x".repeat(this.n)'}]}
output: {sync_response: {}}
`

// assertEnforced asserts that the limits in a stream's status are those that
// the kernel enforces, and returns the status.
func assertEnforced(t testing.TB, p *server, id string) limitedStatus {
	t.Helper()
	s := statusOfLimits(t, p.client, id)
	require.NotZero(t, s.PID, "%s has no runner: %s", id, s)
	in := s.Isolation.Limits
	assert.Equal(t, kernelLimits(t, s.PID, p.PID), in.limitFigures, "the limits of %s, in the kernel and in its status", id)
	assert.Equal(t, cgroupVersion(), in.Version)
	for controller, dir := range cgroupOf(t, s.PID) {
		if cgroupVersion() == 2 || controller == "memory" {
			assert.Equal(t, in.Cgroup, strings.TrimPrefix(dir, cgroupRoot+strings.TrimSuffix("/"+controller, "/")))
		}
	}
	return s
}

// assertCounted asserts that what a stream has used is told as the kernel has
// counted it: in its status, in its statistics and as metrics. It returns the
// figures.
func assertCounted(t testing.TB, c *client, id string) map[string]float64 {
	t.Helper()
	pid := mustStatus(t, c, id).PID
	require.NotZero(t, pid)
	before := kernelUsage(t, pid)
	status := statusOfLimits(t, c, id)
	var stats struct {
		Limits usageTree `json:"limits"`
	}
	c.getJSON(t, "/streams/"+id+"/stats", &stats)
	series := scrape(t, c)
	after := kernelUsage(t, pid)
	between(t, before, after, status.Usage.at)
	between(t, before, after, stats.Limits.at)
	between(t, before, after, func(place string) (float64, error) {
		name, told := map[string]string{
			"memory.bytes": "memory_bytes", "memory.peak_bytes": "memory_peak_bytes", "memory.oom_kills": "oom_kills_total",
			"cpu.periods": "cpu_periods_total", "cpu.throttled_periods": "cpu_throttled_periods_total",
			"cpu.throttled_seconds": "cpu_throttled_seconds_total", "pids.current": "pids", "pids.refused": "pids_refused_total",
			"io.read_bytes": "io_read_bytes_total", "io.write_bytes": "io_write_bytes_total",
			"io.reads": "io_reads_total", "io.writes": "io_writes_total",
		}[place]
		if !told {
			// The process's own figures have it.
			return after[place], nil
		}
		figure, ok := series[fmt.Sprintf("penstock_runner_%s{stream=%q}", name, id)]
		if !ok {
			return 0, fmt.Errorf("there is no metric of %s", place)
		}
		return figure, nil
	})
	return after
}

// bystander is a stream that is asked all the while, and must not notice what
// becomes of the others.
type bystander struct {
	*steady
	of  *client
	pid int
}

const bystanderID = "bystander"

func newBystander(t testing.TB, c *client, every time.Duration) *bystander {
	t.Helper()
	c.expect(t, 200, "POST", "/streams/"+bystanderID, echo(bystanderID))
	awaitEcho(t, c, "/"+bystanderID+"/post", bystanderID)
	b := &bystander{steady: newSteady(t), of: c, pid: awaitPID(t, c, bystanderID)}
	b.post(c.Base, bystanderID, every)
	return b
}

// unharmed ends the requests and asserts that all were answered, by the same
// process.
func (b *bystander) unharmed(t testing.TB) {
	t.Helper()
	b.awaitAnswers(t)
	served := b.sum()
	t.Logf("the bystander: %s, the longest time without an answer %s", served, b.takeGap())
	assert.Empty(t, served.Failures, "the bystander's requests")
	s := mustStatus(t, b.of, bystanderID)
	assert.Equal(t, b.pid, s.PID, "the bystander's process")
	assert.Zero(t, s.Restarts)
}

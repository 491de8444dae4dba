package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// room is what streams may have of this host's memory together, and a config
// that takes some quarters of it.
type room struct {
	budget, total uint64
	share         int
}

// newRoom has a share of the host that four small streams fit in.
func newRoom(t testing.TB) room {
	t.Helper()
	var info unix.Sysinfo_t
	require.NoError(t, unix.Sysinfo(&info))
	r := room{total: info.Totalram * uint64(info.Unit)}
	r.share = int(160*mib*100/r.total) + 1
	r.budget = r.total / 100 * uint64(r.share)
	return r
}

// size is that of so many quarters, each of whole MiB, in bytes.
func (r room) size(quarters int) uint64 { return r.budget / 4 / mib * mib * uint64(quarters) }

// echo is an echo stream whose limit is so many quarters.
func (r room) echo(tag string, quarters int) string {
	return limited(fmt.Sprintf("memory: %d", r.size(quarters)), echo(tag))
}

// set is a set of such streams, by id.
func (r room) set(quarters map[string]int) string {
	var b strings.Builder
	for id, n := range quarters {
		fmt.Fprintf(&b, "%s:\n%s", id, indent(r.echo(id, n)))
	}
	return b.String()
}

// TestLimitsAdmission: streams whose memory limits do not fit on the host
// together are refused with the figures, and nothing is changed by that. What
// gives its room back, gives it at once.
func TestLimitsAdmission(t *testing.T) {
	needRoot(t)
	t.Parallel()
	r := newRestartable(t)
	has := newRoom(t)
	share := []string{"--set", fmt.Sprint("limits.host_memory_share=", has.share)}
	r.start(t, share...)
	refused := func(taken, asked int, method, path, body string) {
		t.Helper()
		a := r.expect(t, 507, method, path, body)
		for _, figure := range []string{
			"a memory limit of " + humanize.IBytes(has.size(asked)) + " does not fit",
			"streams may have " + humanize.IBytes(has.budget) + " together",
			fmt.Sprintf("%d%% of this host's %s, limits.host_memory_share", has.share, humanize.IBytes(has.total)),
			humanize.IBytes(has.size(taken)) + " of that are taken",
		} {
			assert.Contains(t, a.Text(), figure, "%s %s", method, path)
		}
	}
	pids := func() map[string]int {
		t.Helper()
		found := map[string]int{}
		list, err := listStreams(t.Context(), r.client)
		require.NoError(t, err)
		for id := range list {
			found[id] = mustStatus(t, r.client, id).PID
		}
		return found
	}

	// Of many at once those are taken that fit.
	var pending []<-chan outcome
	for i := range 6 {
		id := fmt.Sprint("at-once-", i)
		pending = append(pending, begin(t, r.client, request{Method: "POST", Path: "/streams/" + id, Body: has.echo(id, 1)}))
	}
	answers := map[int]int{}
	for _, o := range pending {
		answers[end(t, "one of many", o).Status]++
	}
	assert.Equal(t, map[int]int{200: 4, 507: 2}, answers)
	r.expect(t, 200, "POST", "/streams", "{}")

	r.expect(t, 200, "POST", "/streams/a", has.echo("a", 2))
	r.expect(t, 200, "POST", "/streams/b", has.echo("b", 1))
	r.expect(t, 200, "POST", "/streams/free", echo("free"))
	before := pids()
	refused(3, 2, "POST", "/streams/c", has.echo("c", 2))
	refused(2, 3, "PUT", "/streams/b", has.echo("b", 3))
	refused(2, 3, "PATCH", "/streams/b", limited(fmt.Sprintf("memory: %d", has.size(3)), ""))
	refused(3, 2, "PUT", "/streams/free", has.echo("free", 2))
	// Of a set, what is not changed is not asked for.
	refused(3, 2, "POST", "/streams", has.set(map[string]int{"a": 2, "b": 1, "c": 2}))
	assert.Equal(t, before, pids(), "after what was refused")
	assert.EqualValues(t, has.size(1), assertEnforced(t, r.server, "b").Isolation.Limits.Memory)

	// A stream counts once, also while its next runner is made beside it.
	r.expect(t, 200, "PUT", "/streams/b", has.echo("b", 2))
	r.expect(t, 200, "PUT", "/streams/a", has.echo("changed", 2))
	awaitEcho(t, r.client, "/a/post", "changed")
	r.expect(t, 200, "POST", "/streams/a/restart", "")
	refused(4, 1, "POST", "/streams/c", has.echo("c", 1))
	r.expect(t, 200, "PATCH", "/streams/b", limited(fmt.Sprintf("memory: %d", has.size(1)), ""))
	// What is refused for another reason leaves its room free.
	r.expect(t, 400, "POST", "/streams/c", limited(fmt.Sprintf("memory: %d", has.size(1)), unbuildableYAML))
	r.expect(t, 400, "PUT", "/streams/b", limited(fmt.Sprintf("memory: %d", has.size(2)), misspeltYAML))
	r.expect(t, 200, "POST", "/streams/c", has.echo("c", 1))

	// One that is paused takes none, and may find none when it is to go on.
	r.expect(t, 200, "POST", "/streams/a/pause", "")
	r.expect(t, 200, "POST", "/streams/d", has.echo("d", 1))
	refused(3, 2, "POST", "/streams/a/resume", "")
	assert.Equal(t, "paused", mustStatus(t, r.client, "a").State)
	r.expect(t, 200, "DELETE", "/streams/d", "")
	r.expect(t, 200, "POST", "/streams/a/resume", "")
	refused(4, 1, "POST", "/streams/d", has.echo("d", 1))
	r.expect(t, 200, "POST", "/streams", has.set(map[string]int{"b": 1, "d": 3}))
	awaitEcho(t, r.client, "/d/post", "d")
	r.expect(t, 404, "GET", "/streams/a", "")

	// The next supervisor counts those that it takes over, and those it starts.
	for _, end := range []func(testing.TB){r.kill9, r.stop} {
		end(t)
		r.start(t, share...)
		awaitEcho(t, r.client, "/d/post", "d")
		refused(4, 1, "POST", "/streams/c", has.echo("c", 1))
		refused(1, 4, "PATCH", "/streams/d", limited(fmt.Sprintf("memory: %d", has.size(4)), ""))
	}
	r.expect(t, 200, "DELETE", "/streams/d", "")
	r.expect(t, 200, "POST", "/streams/c", has.echo("c", 3))
	r.stop(t)

	// So do the server's own defaults.
	r.start(t, append(share, "--set", fmt.Sprint("limits.default.memory=", has.size(2)))...)
	refused(4, 2, "POST", "/streams/e", echo("e"))
	r.expect(t, 200, "DELETE", "/streams/c", "")
	r.expect(t, 200, "POST", "/streams/e", echo("e"))
	r.stop(t)
}

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// strictLeakCycles is how many streams come and go, and strictLeakUsers how many
// users there are for all of them.
const strictLeakCycles, strictLeakUsers = 100, 6

// TestStrictLeaks has many streams come and go, and looks for what they have
// left of all that each of them is given under the profile strict.
func TestStrictLeaks(t *testing.T) {
	t.Parallel()
	const first = 313000
	p, n := startStrict(t, "--log-level", "warn", "--set", fmt.Sprintf("isolation.uids=%d-%d", first, first+strictLeakUsers-1),
		"--set", "limits.default.pids=128", "--set", "limits.default.memory=64MiB")
	p.expect(t, 200, "POST", "/streams/stays", echo("stays"))
	stays := strictly(t, p.client, "stays")
	for i := range 8 {
		require.NoError(t, strictLife(t.Context(), newClientIn(n, p.Base), "warm", i))
	}
	mounts := readText(t, procFile(p.PID, "mountinfo"))
	own := readText(t, procFile(os.Getpid(), "mountinfo"))
	rules := n.rules()
	require.NotZero(t, rules)
	before := settled(t, p, holdings{})

	var group errgroup.Group
	group.SetLimit(leakWorkers)
	for i := range strictLeakCycles {
		group.Go(func() error { return strictLife(t.Context(), newClientIn(n, p.Base), fmt.Sprint("s", i), i) })
	}
	require.NoError(t, group.Wait())

	after := settled(t, p, before)
	t.Logf("%d streams; before: %+v; after: %+v", strictLeakCycles, before, after)
	assert.LessOrEqual(t, after.Files, before.Files, "open files")
	assert.LessOrEqual(t, after.Threads, before.Threads+threadLimit, "threads")
	assert.Equal(t, before.Data, after.Data, "files in the data directory")
	assert.Len(t, children(p.PID), 1, "children, zombies too")
	assert.Len(t, p.runners(), 1)
	awaitLeaves(t, stays.Isolation.Limits.Cgroup, 1)
	assert.Equal(t, mounts, readText(t, procFile(p.PID, "mountinfo")), "the server's mounts")
	assert.Equal(t, own, readText(t, procFile(os.Getpid(), "mountinfo")), "the host's mounts")
	assert.Equal(t, rules, n.rules(), "rules of nftables")
	assert.Equal(t, map[uint32]int{stays.Sandbox.UID: 1}, processesOf(first, first+strictLeakUsers-1))
	assert.Equal(t, stays, strictly(t, p.client, "stays"))

	// As many streams as there are users fit in beside it, still.
	for i := range strictLeakUsers - 1 {
		p.expect(t, 200, "POST", "/streams/"+fmt.Sprint("last", i), echo("last"))
	}
	p.expect(t, 507, "POST", "/streams/more", echo("more"))
	p.stop(t)
	assert.Empty(t, n.tables(), "rules that outlived their supervisor")
	assert.Empty(t, processesOf(first, first+strictLeakUsers-1))
	assert.Empty(t, leavesOf(t, stays.Isolation.Limits.Cgroup), "cgroups that outlived their supervisor")
	assertNoRunFiles(t, p.DataDir)
}

// strictLife is the life of a stream; i chooses what befalls it.
func strictLife(ctx context.Context, c *client, id string, i int) error {
	defer c.close()
	ask := func(status int, method, path, body string) error {
		return expectStatus(ctx, c, status, method, path, body)
	}
	path := "/streams/" + id
	if i%5 == 1 {
		if err := ask(400, "POST", path, unbuildableYAML); err != nil {
			return err
		}
	}
	if err := ask(200, "POST", path, echo(id)); err != nil {
		return err
	}
	s, err := askStatus(ctx, c, id)
	if err != nil || s.State != "running" {
		return fmt.Errorf("it is %s: %w", s, err)
	}
	switch i % 5 {
	case 0:
		err = echoed(ctx, c, "/"+id+"/post", id, "hello")
	case 2:
		err = ask(200, "PUT", path, echo("new"))
	case 3:
		err = syscall.Kill(s.PID, syscall.SIGKILL)
	case 4:
		err = ask(400, "PUT", path, misspeltYAML)
	}
	if err != nil {
		return err
	}
	return ask(200, "DELETE", path, "")
}

// rules counts the nftables rules of the namespace.
func (n *netns) rules() (count int) {
	n.t.Helper()
	n.inside(func() {
		conn, err := nftables.New()
		if !assert.NoError(n.t, err) {
			return
		}
		chains, err := conn.ListChains()
		assert.NoError(n.t, err)
		for _, chain := range chains {
			rules, err := conn.GetRules(chain.Table, chain)
			assert.NoError(n.t, err)
			count += len(rules)
		}
	})
	return count
}

// processesOf counts the processes of each user of a range.
func processesOf(first, last uint32) map[uint32]int {
	counts := map[uint32]int{}
	for _, p := range processes() {
		text, err := os.ReadFile(procFile(p.PID, "status"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), "\nUid:")
		uid, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 32)
		if err == nil && uid >= uint64(first) && uid <= uint64(last) {
			counts[uint32(uid)]++
		}
	}
	return counts
}

// runFolder is the folder of a stream's runner, with its sockets.
func runFolder(t testing.TB, dataDir string, pid int) string {
	t.Helper()
	return filepath.Dir(socketOf(t, dataDir, pid))
}

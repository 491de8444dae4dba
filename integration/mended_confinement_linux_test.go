package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// flush removes all rules of the namespace, as a firewall does that is loaded
// anew.
func (n *netns) flush() {
	n.t.Helper()
	var err error
	n.inside(func() {
		var conn *nftables.Conn
		if conn, err = nftables.New(); err == nil {
			conn.FlushRuleset()
			err = conn.Flush()
		}
	})
	require.NoError(n.t, err, "flushing the rules")
}

// seize makes an empty table that nobody else may change, in the place of one
// that is not there, until it is released.
func (n *netns) seize(name string) (release func()) {
	n.t.Helper()
	const owner = 2 // NFT_TABLE_F_OWNER
	order := binary.NativeEndian
	attribute := func(kind uint16, data []byte) []byte {
		b := order.AppendUint16(nil, uint16(4+len(data)))
		b = append(order.AppendUint16(b, kind), data...)
		return append(b, make([]byte, (4-len(b)%4)%4)...)
	}
	message := func(kind uint16, family byte, resource uint16, attributes []byte) []byte {
		b := order.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+4+len(attributes)))
		b = order.AppendUint16(b, kind)
		b = order.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		b = append(b, make([]byte, 8)...)
		b = binary.BigEndian.AppendUint16(append(b, family, unix.NFNETLINK_V0), resource)
		return append(b, attributes...)
	}
	table := append(attribute(unix.NFTA_TABLE_NAME, append([]byte(name), 0)),
		attribute(unix.NFTA_TABLE_FLAGS, []byte{0, 0, 0, owner})...)
	batch := message(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	batch = append(batch, message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, unix.NFPROTO_INET, 0, table)...)
	batch = append(batch, message(unix.NFNL_MSG_BATCH_END, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)...)
	var fd int
	var err error
	n.inside(func() {
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err == nil {
			err = unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		}
	})
	require.NoError(n.t, err, "seizing table %s", name)
	require.Equal(n.t, []string{name}, n.tables())
	// It goes with its owner's socket.
	return func() { require.NoError(n.t, unix.Close(fd)) }
}

// TestStrictRulesFlushed: rules of egress that somebody has removed are put
// back, and a status does not tell of rules that are not there.
func TestStrictRulesFlushed(t *testing.T) {
	t.Parallel()
	p, n := startStrict(t)
	p.expect(t, 200, "POST", "/streams/caller", callerYAML("GET", ""))
	control := p.Base + "/streams"
	closed := called(t, p.client, "caller", control)
	require.Contains(t, closed, "(404)")
	tables, rules := n.tables(), n.rules()
	require.Len(t, tables, 1)
	restored := func() error {
		if now := n.tables(); len(now) != 1 || now[0] != tables[0] || n.rules() != rules {
			return fmt.Errorf("there are %d rules in %v instead of %d in %v", n.rules(), now, rules, tables)
		}
		if !strictly(t, p.client, "caller").Sandbox.Egress {
			return errors.New("the status does not tell of rules")
		}
		return nil
	}
	assert.NoError(t, restored())
	for range 2 {
		n.flush()
		await(t, 5*margin, "the rules to be back", restored)
		assert.Equal(t, closed, called(t, p.client, "caller", control))
	}

	// Where they cannot be put back, the status says so.
	n.flush()
	release := n.seize(tables[0])
	await(t, 5*margin, "the status to tell of it", func() error {
		if strictly(t, p.client, "caller").Sandbox.Egress {
			return errors.New("it tells of rules still")
		}
		return nil
	})
	assert.NotContains(t, called(t, p.client, "caller", control), "(404)", "what the test is about")
	release()
	await(t, 5*margin, "the rules to be back", restored)
	assert.Equal(t, closed, called(t, p.client, "caller", control))
	p.stop(t)
	assert.Empty(t, n.tables())
}

// TestStandardKernelReadOnly: a stream of root's under the profile standard can
// change neither another's limits nor the kernel's settings.
func TestStandardKernelReadOnly(t *testing.T) {
	needRoot(t)
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/a", limited("memory: 64MiB, pids: 100", echo("a")))
	before := assertEnforced(t, p.server, "a")
	dirs := cgroupOf(t, before.PID)
	hostname := strings.TrimSpace(readText(t, "/proc/sys/kernel/hostname"))
	for file, text := range map[string]string{
		kernelPath(dirs, kernelFile{"memory", "memory.limit_in_bytes", "memory.max"}): fmt.Sprint(60 * mib),
		kernelPath(dirs, kernelFile{"pids", "pids.max", "pids.max"}):                  "1000",
		kernelPath(dirs, kernelFile{"pids", "cgroup.procs", "cgroup.procs"}):          "0",
		"/proc/sys/kernel/hostname": hostname,
	} {
		p.expect(t, 200, "POST", "/streams/writer", fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "%s"'}}
output: {file: {path: '%s', codec: all-bytes}}
`, text, file))
		await(t, changeTimeout, "the failure to write "+file, func() error {
			a := p.expect(t, 200, "GET", "/streams/writer/status", "")
			v, err := a.JSON()
			if err != nil {
				return err
			}
			status := v.(map[string]any)
			if last := fmt.Sprint(status["last_error"]); !strings.Contains(last, "read-only file system") {
				return fmt.Errorf("it is %v, its last error %s", status["state"], last)
			}
			return nil
		})
		p.expect(t, 200, "DELETE", "/streams/writer?timeout=100ms", "")
	}
	after := assertEnforced(t, p.server, "a")
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, before.Isolation.Limits.limitFigures, after.Isolation.Limits.limitFigures)
}

// takenRoom asks how much of the host's memory the streams of a server have.
func takenRoom(t testing.TB, c *client) string {
	t.Helper()
	a := c.expect(t, 507, "POST", "/streams/probe", limited("memory: 100TiB", echo("probe")))
	taken := regexp.MustCompile(`and (\S+ \S+) of that are taken`).FindStringSubmatch(a.Text())
	require.Len(t, taken, 2, "%s", a)
	return taken[1]
}

// slowlyBuilt keeps a runner busy for a second or so before it can run.
const slowlyBuilt = `
input: {generate: {count: 1, mapping: 'root = 1'}}
pipeline: {processors: [{mapping: 'root = range(0, 5000000).sum()'}]}
`

// TestSetMeetsCreation: a set and a request that make the same stream at once.
// One of them does; the other leaves its memory, its user and its files alone.
func TestSetMeetsCreation(t *testing.T) {
	t.Parallel()
	const badOutput, goodOutput = "output: {cache: {target: no_such_cache, key: a}}\n", "output: {drop: {}}\n"
	for name, c := range map[string]struct {
		output, single string
		// set and status are the answers, and winner is whose stream runs then.
		set, status int
		winner      string
	}{
		"the set fails":     {badOutput, limited("memory: 64MiB", echo("single")), 400, 200, "single"},
		"the request fails": {goodOutput, unbuildableYAML, 200, 400, "set"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// One user is for checks of resources.
			p, n := startStrict(t, "--set", "isolation.uids=314000-314003")
			set := make(chan outcome, 1)
			go func() {
				own := newClientIn(n, p.Base)
				defer own.close()
				a, err := own.ask(t.Context(), request{Method: "POST", Path: "/streams", Body: "x:\n" +
					indent(limited("memory: 64MiB", echo("set"))) + "zslow:\n" + indent(slowlyBuilt+c.output)})
				set <- outcome{answer: a, err: err}
			}()
			await(t, changeTimeout, "the set to be prepared", func() error {
				if len(p.runners()) == 0 {
					return errors.New("there is no runner yet")
				}
				return nil
			})
			single := p.call(t, "POST", "/streams/x", c.single)
			assert.Equal(t, c.status, single.Status, "%s", single)
			o := end(t, "the set", set)
			assert.Equal(t, c.set, o.Status, "%s", o.answer)

			awaitEcho(t, p.client, "/x/post", c.winner)
			x := strictly(t, p.client, "x")
			assert.EqualValues(t, 64*mib, kernelLimits(t, x.PID, p.PID).Memory)
			assert.Equal(t, "64 MiB", takenRoom(t, p.client))
			assert.Equal(t, x.Sandbox.UID, ownerOf(t, streamFolder(p.DataDir, "x")))
			p.call(t, "DELETE", "/streams/zslow", "")

			users := map[uint32]string{x.Sandbox.UID: "x"}
			for i := range 4 {
				id := fmt.Sprint("y", i)
				if a := p.call(t, "POST", "/streams/"+id, echo(id)); a.Status != 200 {
					assert.Equal(t, 507, a.Status, "%s", a)
					break
				}
				uid := strictly(t, p.client, id).Sandbox.UID
				assert.Empty(t, users[uid], "%s shares its user", id)
				users[uid] = id
			}
			assert.GreaterOrEqual(t, len(users), 3, "users that nobody has are not given")
			p.expect(t, 200, "DELETE", "/streams/x", "")
			assert.Equal(t, "0 B", takenRoom(t, p.client))
		})
	}
}

// TestStrictFolderRemoved: a stream whose own folder is gone gets another one,
// which is its user's.
func TestStrictFolderRemoved(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	p.expect(t, 200, "POST", "/streams/a", keeperYAML("kept"))
	user := strictly(t, p.client, "a").Sandbox.UID
	dir := streamFolder(p.DataDir, "a")
	require.NoError(t, os.Remove(dir))
	p.expect(t, 200, "POST", "/streams/a/restart", "")
	assert.Equal(t, user, strictly(t, p.client, "a").Sandbox.UID)
	assert.Equal(t, user, ownerOf(t, dir))
	p.expect(t, 200, "POST", "/a/post", "word")
	assert.Equal(t, "word\n", readText(t, dir+"/kept"))
}

// TestStrictRulesLeft: the rules of a strict server that was killed do not
// outlive the streams that they were for.
func TestStrictRulesLeft(t *testing.T) {
	t.Parallel()
	r, n := newStrictRestartable(t)
	r.start(t, "--isolation", "strict")
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	strict := strictly(t, r.client, "a")
	r.kill9(t)
	require.Len(t, n.tables(), 1)
	r.start(t, "--isolation", "standard")
	awaitEcho(t, r.client, "/a/post", "a")
	await(t, changeTimeout, "the end of the strict runner and its rules", func() error {
		if left := n.tables(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return ended(strict.PID)
	})
	r.stop(t)
}

// TestStrictRulesOfAFailedStart: a server that cannot start leaves the rules in
// force that the runners of the one before it are under.
func TestStrictRulesOfAFailedStart(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(t *testing.T, n *netns, address string) (args []string, mend func()){
		"its address is taken": func(t *testing.T, n *netns, address string) ([]string, func()) {
			l := n.listen("tcp", address)
			return nil, func() { assert.NoError(t, l.Close()) }
		},
		"no token": func(t *testing.T, _ *netns, _ string) ([]string, func()) {
			return []string{"--set", "http.auth.token_file=" + filepath.Join(t.TempDir(), "missing")}, func() {}
		},
		"its address file cannot be written": func(t *testing.T, _ *netns, _ string) ([]string, func()) {
			return []string{"--addr-file", filepath.Join(t.TempDir(), "missing", "file")}, func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, n := newStrictRestartable(t)
			args := strictArgs("--on-exit=detach")
			r.start(t, args...)
			r.expect(t, 200, "POST", "/streams/a", echo("a"))
			before, address := strictly(t, r.client, "a"), strings.TrimPrefix(r.Base, "http://")
			r.kill9(t)
			tables := n.tables()
			require.Len(t, tables, 1)

			more, mend := fail(t, n, address)
			require.NoError(t, r.exec(append(args, more...)...))
			select {
			case <-r.exited:
				require.Error(t, r.exitErr, "what the test is about")
			case <-time.After(startTimeout):
				require.Fail(t, "it serves")
			}
			require.Error(t, ended(before.PID), "the runner has ended")
			assert.Equal(t, tables, n.tables())
			assert.ErrorIs(t, n.dialAs(before.Sandbox.UID, address), syscall.ECONNREFUSED)
			mend()

			r.start(t, strictArgs("--on-exit=stop")...)
			assert.Equal(t, before.PID, awaitState(t, r.client, "a", "running").PID)
			r.stop(t)
			assert.Empty(t, n.tables())
		})
	}
}

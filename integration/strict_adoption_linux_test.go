package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newStrictRestartable is newRestartable in a network namespace of its own.
func newStrictRestartable(t *testing.T) (*restartable, *netns) {
	t.Helper()
	needRoot(t)
	n := newNetns(t)
	return newRestartableIn(t, n), n
}

// TestStrictAdoption: the runners of a supervisor that was killed go on in their
// confinement, and the next one takes them over as they are: the same processes,
// which keep their users, and find the functions of the new server.
func TestStrictAdoption(t *testing.T) {
	t.Parallel()
	r, n := newStrictRestartable(t)
	args := strictArgs("--set", "isolation.uids=311000-311003")
	r.start(t, args...)
	before := map[string]strictStatus{}
	for id, config := range map[string]string{"a": echo("a"), "b": echo("b"), "caller": callerYAML("POST", "")} {
		r.expect(t, 200, "POST", "/streams/"+id, config)
		before[id] = strictly(t, r.client, id)
	}
	url := r.Base + "/a/post"
	assert.Equal(t, "a:"+url, called(t, r.client, "caller", url))
	table := n.tables()
	require.Len(t, table, 1)
	loopback, _ := n.serve("127.0.0.1:0", "a service of the host")
	users := map[uint32]bool{}
	for _, s := range before {
		users[s.Sandbox.UID] = true
	}
	const free = 311003 // once three of the four are taken
	require.False(t, users[free])

	for range 2 {
		r.kill9(t)
		assert.Equal(t, table, n.tables(), "runners that have no supervisor stay behind its rules")
		require.ErrorIs(t, n.dialAs(before["a"].Sandbox.UID, loopback), syscall.ECONNREFUSED)
		require.NoError(t, n.dialAs(0, loopback), "root is not concerned")
		r.start(t, args...)
		for id, s := range before {
			awaitState(t, r.client, id, "running")
			after := strictly(t, r.client, id)
			assert.Equal(t, s, after, id)
			assertConfined(t, after)
		}
		await(t, changeTimeout, "the adoptions", func() error {
			if got := positive(r.adoptions(t)); len(got) != 1 || got["adopted"] != 3 {
				return fmt.Errorf("they are %v", got)
			}
			return nil
		})
		// The rules are the same table's, and lead to the new functions.
		assert.Equal(t, table, n.tables())
		assert.Equal(t, "a:"+url, called(t, r.client, "caller", url))
		assert.Contains(t, called(t, r.client, "caller", r.Base+"/streams/x"), "(404)")
		assert.Contains(t, called(t, r.client, "caller", "http://"+loopback), "connection refused")

		// The users of those that were adopted are not given to others.
		r.expect(t, 200, "POST", "/streams/new", echo("new"))
		assert.EqualValues(t, free, strictly(t, r.client, "new").Sandbox.UID)
		r.expect(t, 507, "POST", "/streams/more", echo("more"))
		r.expect(t, 200, "DELETE", "/streams/new", "")
	}
	pid := before["a"].PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitPID(t, r.client, "a", pid)
	assert.Equal(t, before["a"].Sandbox, strictly(t, r.client, "a").Sandbox, "after the death of an adopted runner")

	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
	assert.Empty(t, n.tables(), "rules that outlived their supervisor")
	require.NoError(t, n.dialAs(before["a"].Sandbox.UID, loopback), "nobody's rules")
}

// TestStrictAdoptionOfAnotherConfinement: a runner that is confined in anything
// else than the server's config says is replaced.
func TestStrictAdoptionOfAnotherConfinement(t *testing.T) {
	t.Parallel()
	r, _ := newStrictRestartable(t)
	r.start(t, strictArgs()...)
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	last := strictly(t, r.client, "a").PID
	for _, set := range []string{
		"isolation.uids=312000-312009", "isolation.allow_exec=[/usr/bin/env]", "isolation.env_allow=[HOME]",
		"isolation.tmp_size=1MiB", "isolation.components.processors.deny=[sleep]", "isolation.bind_ports=[9000]",
	} {
		r.kill9(t)
		r.start(t, strictArgs("--set", set)...)
		awaitState(t, r.client, "a", "running")
		awaitEcho(t, r.client, "/a/post", "a")
		now := strictly(t, r.client, "a")
		assert.NotEqual(t, last, now.PID, set)
		assert.Equal(t, map[string]float64{"outdated": 1}, positive(r.adoptions(t)), set)
		await(t, changeTimeout, "the end of the former runner", func() error { return ended(last) })
		last = now.PID
	}
	r.stop(t)
}

// pollerYAML is a stream that calls a URL again and again, and keeps in a file
// of its own what comes of it.
func pollerYAML(url string) string {
	return fmt.Sprintf(`
input: {generate: {interval: 50ms, mapping: 'root = ""'}}
pipeline:
  processors:
    - http: {url: '%s', verb: GET, retries: 0, timeout: 2s, drop_on: [404]}
    - catch: [{mapping: 'root = "failed: " + error()'}]
output: {file: {path: polled, codec: lines}}
`, url)
}

// TestStrictDetach: runners that are left without a supervisor on purpose stay
// confined, and do not reach whoever listens where the API was.
func TestStrictDetach(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(t *testing.T, r *restartable){
		"detached": func(t *testing.T, r *restartable) { r.stop(t) },
		"killed":   func(t *testing.T, r *restartable) { r.kill9(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, n := newStrictRestartable(t)
			r.start(t, strictArgs("--on-exit=detach")...)
			urls := map[string]string{"function": r.Base + "/echo/post", "api": r.Base + "/streams"}
			r.expect(t, 200, "POST", "/streams/echo", strings.Replace(echo("echo"), "path: /post", "path: /post, allowed_verbs: [GET]", 1))
			before := map[string]strictStatus{}
			for id, url := range urls {
				r.expect(t, 200, "POST", "/streams/"+id, pollerYAML(url))
				before[id] = strictly(t, r.client, id)
			}
			awaitPolled(t, r.DataDir, "function", "echo:")
			awaitPolled(t, r.DataDir, "api", "(404)")

			address := strings.TrimPrefix(r.Base, "http://")
			addresses := []string{address}
			if name == "detached" {
				// The port that streams were led to may be another's by now as well.
				addresses = listenersOf(t, r.PID)
				require.Len(t, addresses, 2, "of the API and of the functions")
				require.Contains(t, addresses, address)
			}
			leave(t, r)
			next := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
				assert.Fail(t, "a stream has reached who is no function", "%s", q.URL)
			})}
			for _, address := range addresses {
				l := n.listen("tcp", address)
				go func() { _ = next.Serve(l) }()
				require.NoError(t, n.dialAs(0, address), "the one who listens there now")
			}
			for id, s := range before {
				require.Error(t, ended(s.PID), "the runner of %s has ended", id)
				assertConfined(t, s)
				awaitPolled(t, r.DataDir, id, "connection refused")
				require.ErrorIs(t, n.dialAs(s.Sandbox.UID, address), syscall.ECONNREFUSED)
			}
			require.NoError(t, next.Close())

			r.start(t, strictArgs("--on-exit=stop")...)
			for id, s := range before {
				assert.Equal(t, s.PID, awaitState(t, r.client, id, "running").PID, id)
			}
			awaitPolled(t, r.DataDir, "function", "echo:")
			awaitPolled(t, r.DataDir, "api", "(404)")
			r.stop(t)
			assert.Empty(t, r.runners(), "processes that outlived their supervisor")
			assert.Empty(t, n.tables(), "rules that outlived their supervisor")
		})
	}
}

// listenersOf are the addresses of IPv4 on which a process listens.
func listenersOf(t *testing.T, pid int) (addresses []string) {
	t.Helper()
	for line := range strings.Lines(readText(t, procFile(pid, "net/tcp"))) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" || !holdsSocket(pid, f[9]) {
			continue
		}
		var address, port uint32
		_, err := fmt.Sscanf(f[1], "%X:%X", &address, &port)
		require.NoError(t, err)
		var bytes [4]byte
		binary.NativeEndian.PutUint32(bytes[:], address)
		addresses = append(addresses, netip.AddrPortFrom(netip.AddrFrom4(bytes), uint16(port)).String())
	}
	return addresses
}

// awaitPolled waits until the last thing that a poller has kept holds a text.
func awaitPolled(t *testing.T, dataDir, id, want string) {
	t.Helper()
	file := filepath.Join(streamFolder(dataDir, id), "polled")
	await(t, changeTimeout, "the poller "+id, func() error {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, want) {
			return errors.New(last)
		}
		return nil
	})
}

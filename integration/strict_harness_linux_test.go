package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// strictArgs have a supervisor keep its streams in the profile strict.
func strictArgs(more ...string) []string { return append([]string{"--isolation", "strict"}, more...) }

// startStrict starts a supervisor with the profile strict in a network
// namespace of its own, where it can do nothing to the host's connections.
func startStrict(t *testing.T, args ...string) (*penstock, *netns) {
	t.Helper()
	needRoot(t)
	n := newNetns(t)
	return startPenstockIn(t, n, strictArgs(args...)...), n
}

// withEnv is a place in which processes have further variables.
type withEnv struct {
	place
	env []string
}

func (w withEnv) start(cmd *exec.Cmd) error {
	cmd.Env = append(os.Environ(), w.env...)
	return w.place.start(cmd)
}

// strictStatus is what a stream's status says of its confinement.
type strictStatus struct {
	State     string `json:"state"`
	PID       int    `json:"pid"`
	Isolation struct {
		Profile string `json:"profile"`
		Limits  struct {
			Cgroup string `json:"cgroup"`
		} `json:"limits"`
		Sandbox json.RawMessage `json:"sandbox"`
	} `json:"isolation"`
	// Sandbox is all of isolation.sandbox.
	Sandbox sandboxed `json:"-"`
}

// sandboxed has every field of isolation.sandbox.
type sandboxed struct {
	UID             uint32   `json:"uid"`
	GID             uint32   `json:"gid"`
	Capabilities    bool     `json:"capabilities"`
	NoNewPrivs      bool     `json:"no_new_privs"`
	Seccomp         bool     `json:"seccomp"`
	Namespaces      []string `json:"namespaces"`
	PrivateRoot     bool     `json:"private_root"`
	LandlockABI     int      `json:"landlock_abi"`
	Egress          bool     `json:"egress"`
	Exec            bool     `json:"exec"`
	ComponentPolicy bool     `json:"component_policy"`
}

// strictly reads the status of a stream that runs. A field of the sandbox
// that this test does not know fails it: nobody would compare it.
func strictly(t testing.TB, c *client, id string) (s strictStatus) {
	t.Helper()
	c.getJSON(t, "/streams/"+id+"/status", &s)
	require.Equal(t, "running", s.State, id)
	decoder := json.NewDecoder(strings.NewReader(string(s.Isolation.Sandbox)))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&s.Sandbox), "%s", s.Isolation.Sandbox)
	return s
}

// callerYAML is a stream that calls the URL it is posted, with a bearer token if
// there is one, and answers with the answer's body, or with why there is none.
func callerYAML(verb, token string) string {
	return fmt.Sprintf(`
input: {http_server: {path: /post, timeout: 20s}}
pipeline:
  processors:
    - mapping: 'meta url = content().string()'
    - http: {url: '${! @url }', verb: %s, headers: {Authorization: 'Bearer %s'}, retries: 0, timeout: 5s, drop_on: [400, 401, 403, 404, 405]}
    - catch: [{mapping: 'root = "failed: " + error()'}]
output: {sync_response: {}}
`, verb, token)
}

// called has a caller call a URL.
func called(t testing.TB, c *client, caller, url string) string {
	t.Helper()
	return c.expect(t, 200, "POST", "/"+caller+"/post", url).Text()
}

// readerYAML is a stream that answers with the content of the file it is
// posted the path of, or with why it cannot. It needs readerArgs.
const readerYAML = `
input: {http_server: {path: /post}}
pipeline:
  processors:
    - mapping: 'root = file(path: content().string(), no_cache: true)'
    - catch: [{mapping: 'root = "failed: " + error()'}]
output: {sync_response: {}}
`

// readerArgs allow streams the function that reads a file, so that nothing but
// the sandbox is in its way.
var readerArgs = []string{"--set", "isolation.components.functions.allow=[file]"}

// keeperYAML is a stream that appends what it is posted to a file, with a new
// line, and answers once it has.
func keeperYAML(path string) string {
	return fmt.Sprintf(`
input: {http_server: {path: /post}}
output: {file: {path: '%s', codec: lines}}
`, path)
}

// serve answers HTTP requests to an address of the namespace with a text, until
// the test ends. It tells the address, and how many have connected.
func (n *netns) serve(address, text string) (string, *atomic.Int64) {
	n.t.Helper()
	var connections atomic.Int64
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		},
	}
	l := n.listen("tcp", address)
	go func() { _ = server.Serve(l) }()
	n.t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String(), &connections
}

// address gives the loopback interface another IPv4 address.
func (n *netns) address(alias, address string) {
	n.t.Helper()
	var err error
	n.inside(func() { err = addAddress(alias, address) })
	require.NoError(n.t, err, "adding %s to the loopback interface", address)
}

// tables lists the nftables tables of the namespace.
func (n *netns) tables() (names []string) {
	n.t.Helper()
	n.inside(func() {
		conn, err := nftables.New()
		if !assert.NoError(n.t, err) {
			return
		}
		tables, err := conn.ListTables()
		assert.NoError(n.t, err)
		for _, table := range tables {
			names = append(names, table.Name)
		}
	})
	return names
}

// dialAs connects to an address of the namespace with a socket that is another
// user's.
func (n *netns) dialAs(uid uint32, address string) (err error) {
	n.t.Helper()
	d := net.Dialer{FallbackDelay: -1}
	n.inside(func() {
		// Go opens the socket on this thread, and who the thread is to the file
		// system is whose it is.
		_ = syscall.Setfsuid(int(uid))
		defer func() { _ = syscall.Setfsuid(0) }()
		var conn net.Conn
		if conn, err = d.DialContext(n.t.Context(), "tcp", address); err == nil {
			err = conn.Close()
		}
	})
	return err
}

// streamFolder is a stream's own data folder.
func streamFolder(dataDir, id string) string { return filepath.Join(dataDir, "streams", id, "data") }

// socketOf is the path of the socket of a stream's runner that serves HTTP.
func socketOf(t testing.TB, dataDir string, pid int) string {
	t.Helper()
	env, err := os.ReadFile(procFile(pid, "environ"))
	require.NoError(t, err)
	for entry := range strings.SplitSeq(string(env), "\x00") {
		if dir, ok := strings.CutPrefix(entry, "PLUGIN_UNIX_SOCKET_DIR="); ok {
			require.True(t, strings.HasPrefix(dir, dataDir), dir)
			return filepath.Join(dir, "http.sock")
		}
	}
	require.Fail(t, "the runner was not told its folder", "%q", env)
	return ""
}

package egress

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// streamBinary is this test binary, where every user may execute it.
var streamBinary string

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(taskVariable); ok {
		os.Exit(beStream())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "penstock-egress")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	streamBinary = filepath.Join(dir, "stream")
	if err := copySelf(streamBinary); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		println(err.Error())
		return 1
	}
	return code
}

func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, program, 0o600), os.Chmod(to, 0o755), os.Chmod(filepath.Dir(to), 0o755)) //nolint:gosec // Other users execute it.
}

// namespace is a network namespace, and the thread that is in it.
type namespace struct {
	work chan func()
	tid  int
}

// newNamespace makes one with a loopback interface.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		lacking(t, "the program ip is missing: install iproute2")
	}
	n := &namespace{work: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		n.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range n.work {
			f()
		}
	}()
	require.NoError(t, <-ready)
	t.Cleanup(func() { close(n.work) })
	n.ip(t, "link set lo up")
	return n
}

// lacking skips a test, but on a machine that is there for tests fails it.
func lacking(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// do runs f in the namespace.
func (n *namespace) do(t *testing.T, f func() error) {
	t.Helper()
	require.NoError(t, n.try(f))
}

func (n *namespace) try(f func() error) error {
	done := make(chan error)
	n.work <- func() { done <- f() }
	return <-done
}

func (n *namespace) ip(t *testing.T, args string) string {
	t.Helper()
	var said []byte
	n.do(t, func() (err error) {
		said, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput() //nolint:gosec // The arguments are this file's.
		if err != nil {
			return fmt.Errorf("ip %s: %s", args, said)
		}
		return nil
	})
	return string(said)
}

func (n *namespace) sysctl(t *testing.T, name, value string) {
	t.Helper()
	n.do(t, func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

func (n *namespace) apply(t *testing.T, table *Table, p Policy) {
	t.Helper()
	n.do(t, func() error { return table.Apply(p) })
}

// hosts are this host and the rest of the world, in two namespaces:
//
//	host                                 world
//	10.77.0.1, fd77::1, hostLink ─ veth ─ 10.77.0.2, fd77::2
//	                                      lo: the metadata addresses, 192.0.2.10,
//	                                          2001:db8::10, 192.0.2.53
func hosts(t *testing.T) (host, world *namespace) {
	t.Helper()
	host, world = newNamespace(t), newNamespace(t)
	for _, n := range []*namespace{host, world} {
		// Nobody else can have these addresses: they need no trial.
		n.sysctl(t, "ipv6/conf/default/accept_dad", "0")
	}
	host.ip(t, fmt.Sprintf("link add hv type veth peer name wv netns %d", world.tid))
	for _, side := range []struct {
		n                *namespace
		link, via, addrs string
	}{
		{host, "hv", "2", "10.77.0.1/24,fd77::1/64"},
		{world, "wv", "1", "10.77.0.2/24,fd77::2/64"},
	} {
		for addr := range strings.SplitSeq(side.addrs, ",") {
			args := "addr add " + addr + " dev " + side.link
			if strings.Contains(addr, ":") {
				args += " nodad"
			} else {
				args += " brd +"
			}
			side.n.ip(t, args)
		}
		side.n.ip(t, "link set "+side.link+" up")
		side.n.ip(t, "route add default via 10.77.0."+side.via)
		side.n.ip(t, "-6 route add default via fd77::"+side.via)
	}
	for _, addr := range []string{"169.254.169.254/32", "fd00:ec2::254/128", "192.0.2.10/32", "2001:db8::10/128", "192.0.2.53/32"} {
		world.ip(t, "addr add "+addr+" dev lo")
	}
	// The strictest setting: a reset that refuses must get through all the same.
	host.sysctl(t, "ipv4/conf/all/rp_filter", "1")
	require.Eventually(t, func() bool {
		return host.ip(t, "-6 addr show tentative")+world.ip(t, "-6 addr show tentative") == ""
	}, patience, 10*time.Millisecond)
	return host, world
}

// hostLink returns the host's link-local address with its interface.
func hostLink(t *testing.T, host *namespace) string {
	t.Helper()
	for _, field := range strings.Fields(host.ip(t, "-6 addr show dev hv scope link")) {
		if addr, ok := strings.CutSuffix(field, "/64"); ok {
			return addr + "%hv"
		}
	}
	t.Fatal("the host has no link-local address")
	return ""
}

// serveTCP accepts connections and says the name to each. Port 0 is any.
func (n *namespace) serveTCP(t *testing.T, address, name string) (port string) {
	t.Helper()
	var l net.Listener
	n.do(t, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, name) // One that has gone already is what some tests are about.
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// serveUDP answers every datagram with the name.
func (n *namespace) serveUDP(t *testing.T, address, name string) (port string) {
	t.Helper()
	conn := n.openUDP(t, "udp", address)
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(name), from) // Who waits for it will tell.
		}
	}()
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	return port
}

func (n *namespace) openUDP(t *testing.T, network, address string) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	n.do(t, func() (err error) {
		conn, err = net.ListenPacket(network, address)
		return err
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// stream is a process of a user in a namespace.
type stream struct {
	uid uint32
	in  io.WriteCloser
	out *json.Decoder
}

func (n *namespace) stream(t *testing.T, uid uint32) *stream {
	t.Helper()
	cmd := exec.Command(streamBinary)
	cmd.Env = []string{taskVariable + "=stream", "GORACE=atexit_sleep_ms=0"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	n.do(t, cmd.Start)
	t.Cleanup(func() {
		in.Close()
		if !t.Failed() {
			require.NoError(t, cmd.Wait())
			return
		}
		_ = cmd.Process.Kill() // It may have ended by itself.
		_ = cmd.Wait()
	})
	return &stream{uid: uid, in: in, out: json.NewDecoder(bufio.NewReader(out))}
}

func (s *stream) tell(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(s.in, line+"\n")
	require.NoError(t, err)
}

func (s *stream) hear(t *testing.T) (a answer) {
	t.Helper()
	require.NoError(t, s.out.Decode(&a))
	return a
}

func (s *stream) ask(t *testing.T, network, host, port string) answer {
	t.Helper()
	s.tell(t, "ask "+network+" "+net.JoinHostPort(host, port))
	return s.hear(t)
}

// reaches asserts who answers there.
func (s *stream) reaches(t *testing.T, who, network, host, port string) {
	t.Helper()
	a := s.ask(t, network, host, port)
	if a.Error != "" || a.Said != who {
		t.Errorf("user %d, %s %s port %s: want %q, got %+v", s.uid, network, host, port, who, a)
	}
}

// refused asserts that it is told at once that it may not.
func (s *stream) refused(t *testing.T, network, host, port string) {
	t.Helper()
	want := unix.ECONNREFUSED
	if network == "udp" {
		want = unix.EPERM
	}
	a := s.ask(t, network, host, port)
	if a.Errno != want || a.Took > time.Second {
		t.Errorf("user %d, %s %s port %s: want %v at once, got %+v", s.uid, network, host, port, want, a)
	}
}

func number(t *testing.T, port string) uint16 {
	t.Helper()
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	return uint16(n)
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

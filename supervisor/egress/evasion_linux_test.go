package egress

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// forward is what an operator's own NAT may do: connections to one address and
// port lead to another.
func forward(t *testing.T, n *namespace, number byte, from, to string) {
	t.Helper()
	source, target := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	n.do(t, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		operators := Open("operators")
		c := operators.chain(chain{name: "nat", kind: nftables.ChainTypeNAT, priority: *nftables.ChainPriorityNATDest})
		conn.AddTable(&operators.table)
		conn.AddChain(c)
		exprs := toNetwork(netip.PrefixFrom(source.Addr(), source.Addr().BitLen()))
		exprs = append(exprs, toPorts(number, one(source.Port()))...)
		port := target.Port()
		exprs = append(exprs,
			&expr.Immediate{Register: 1, Data: target.Addr().AsSlice()},
			&expr.Immediate{Register: 2, Data: []byte{byte(port >> 8), byte(port)}},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2})
		conn.AddRule(&nftables.Rule{Table: &operators.table, Chain: c, Exprs: exprs})
		return conn.Flush()
	})
}

func TestOperatorsNAT(t *testing.T) {
	host, world := hosts(t)
	control := host.serveTCP(t, ":0", "control")
	functions := host.serveTCP(t, ":0", "functions")
	container := world.serveTCP(t, ":0", "container")
	// A container engine's embedded resolver listens on another port.
	resolverTCP, resolverUDP := host.serveTCP(t, "127.0.0.11:0", "resolver"), host.serveUDP(t, "127.0.0.11:0", "resolver")
	forward(t, host, unix.IPPROTO_TCP, "127.0.0.11:53", "127.0.0.11:"+resolverTCP)
	forward(t, host, unix.IPPROTO_UDP, "127.0.0.11:53", "127.0.0.11:"+resolverUDP)
	// It publishes a container's port on an address of this host.
	forward(t, host, unix.IPPROTO_TCP, "10.77.0.1:8080", "10.77.0.2:"+container)
	// Somebody gives the control API another address.
	forward(t, host, unix.IPPROTO_TCP, "192.0.2.99:80", "10.77.0.1:"+control)
	// A mesh takes what goes elsewhere through a proxy on this host.
	proxy := host.serveTCP(t, "127.0.0.1:0", "proxy")
	forward(t, host, unix.IPPROTO_TCP, "192.0.2.98:80", "127.0.0.1:"+proxy)
	forward(t, host, unix.IPPROTO_TCP, "169.254.169.254:80", "10.77.0.2:"+container)

	p := policy(t)
	p.ControlPort, p.FunctionsPort = number(t, control), number(t, functions)
	p.Resolvers = addrs("127.0.0.11")
	host.apply(t, Open("penstock_test"), p)
	ours, other := host.stream(t, ourUID), host.stream(t, otherUID)

	ours.reaches(t, "resolver", "tcp", "127.0.0.11", "53")
	ours.reaches(t, "resolver", "udp", "127.0.0.11", "53")
	ours.refused(t, "tcp", "127.0.0.11", resolverTCP)
	ours.refused(t, "udp", "127.0.0.11", resolverUDP)
	ours.reaches(t, "proxy", "tcp", "192.0.2.98", "80")
	ours.refused(t, "tcp", "127.0.0.1", proxy)
	for _, c := range []struct{ who, host, port string }{
		{"container", "10.77.0.1", "8080"}, {"control", "192.0.2.99", "80"}, {"container", "169.254.169.254", "80"},
	} {
		ours.refused(t, "tcp", c.host, c.port)
		other.reaches(t, c.who, "tcp", c.host, c.port)
	}
}

// A datagram to many reaches the services of this host, too, and so does one to
// the anycast address of routers.
func TestBroadcastMulticastAnycast(t *testing.T) {
	host, _ := hosts(t)
	host.sysctl(t, "ipv6/conf/all/forwarding", "1")
	service4 := host.openUDP(t, "udp4", ":0")
	_, port, err := net.SplitHostPort(service4.LocalAddr().String())
	require.NoError(t, err)
	service6 := host.openUDP(t, "udp6", "[::]:"+port)
	ours, other := host.stream(t, ourUID), host.stream(t, otherUID)
	table := Open("penstock_test")
	host.apply(t, table, policy(t))

	arrives := func(s *stream, addr string) {
		service := service4
		if strings.Contains(addr, ":") {
			service = service6
		}
		s.tell(t, "send udp "+net.JoinHostPort(addr, port))
		a := s.hear(t)
		assert.Empty(t, a.Error, "%d to %s", s.uid, addr)
		require.NoError(t, service.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 100)
		n, _, err := service.ReadFrom(buf)
		require.NoError(t, err, "%d to %s", s.uid, addr)
		assert.Equal(t, fmt.Sprint(s.uid), string(buf[:n]))
	}
	for _, addr := range []string{"10.77.0.255", "255.255.255.255", "224.0.0.1", "ff02::1%hv", "fd77::"} {
		ours.tell(t, "send udp "+net.JoinHostPort(addr, port))
		a := ours.hear(t)
		assert.Equal(t, unix.EPERM, a.Errno, "%s: %+v", addr, a)
		// What the other sends is the first that arrives.
		arrives(other, addr)
	}
	p := policy(t)
	p.Allow = rules(t, "224.0.0.0/4 "+port)
	host.apply(t, table, p)
	arrives(ours, "224.0.0.1")
}

// The host's own address is that also where a rule sends it over the wire.
func TestOwnAddressOverTheWire(t *testing.T) {
	host, _ := hosts(t)
	host.ip(t, "route add 10.77.0.1 via 10.77.0.2 table 100")
	host.ip(t, "rule add pref 100 lookup local")
	host.ip(t, "rule add pref 50 to 10.77.0.1 lookup 100")
	host.ip(t, "rule del pref 0")
	host.apply(t, Open("penstock_test"), policy(t))
	host.stream(t, ourUID).refused(t, "udp", "10.77.0.1", "9")
}

func TestWithoutIPv6(t *testing.T) {
	host := newNamespace(t)
	host.sysctl(t, "ipv6/conf/all/disable_ipv6", "1")
	control := host.serveTCP(t, "127.0.0.1:0", "control")
	functions := host.serveTCP(t, "127.0.0.1:0", "functions")
	closed := host.serveTCP(t, "127.0.0.1:0", "closed")
	p := policy(t)
	p.ControlPort, p.FunctionsPort = number(t, control), number(t, functions)
	host.do(t, Check)
	host.apply(t, Open("penstock_test"), p)
	ours := host.stream(t, ourUID)
	ours.reaches(t, "functions", "tcp", "127.0.0.1", control)
	ours.refused(t, "tcp", "127.0.0.1", closed)
	assert.NotEmpty(t, ours.ask(t, "tcp", "::1", control).Error)
}

// What a stream began before the rules were replaced goes on, and no more.
func TestFlowsOutliveAReplacement(t *testing.T) {
	host, world := hosts(t)
	port := world.serveUDP(t, ":0", "world")
	ours := host.stream(t, ourUID)
	table := Open("penstock_test")
	host.apply(t, table, policy(t))
	ours.tell(t, "twice udp "+net.JoinHostPort("10.77.0.2", port))
	assert.Equal(t, "world", ours.hear(t).Said)
	p := policy(t)
	p.AllowByDefault = false
	host.apply(t, table, p)
	ours.tell(t, "")
	a := ours.hear(t)
	assert.Equal(t, "world", a.Said, a.Error)
	ours.refused(t, "udp", "10.77.0.2", port)
}

func TestMultipathTCP(t *testing.T) {
	host, _ := hosts(t)
	port := host.serveTCP(t, ":0", "host")
	host.apply(t, Open("penstock_test"), policy(t))
	ours := host.stream(t, ourUID)
	ours.refused(t, "mptcp", "127.0.0.1", port)
	ours.refused(t, "mptcp", "10.77.0.1", port)
}

// A connection to the control port that was made while somebody had removed the
// rules, and that the kernel knows, is cut when they are back.
func TestConnectionsMadeWithoutRules(t *testing.T) {
	host, _ := hosts(t)
	var l net.Listener
	host.do(t, func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	echoed := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		l.Close()
		cancel()
		<-echoed
	})
	go func() {
		defer close(echoed)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		_, _ = io.Copy(conn, conn)
		conn.Close()
	}()
	_, control, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	// Its rules have the kernel know of connections, but say nothing of the port.
	table := Open("penstock_test")
	p := policy(t)
	p.Deny = nil
	p.Allow = rules(t, "127.0.0.0/8")
	host.apply(t, table, p)
	ours := host.stream(t, ourUID)
	ours.tell(t, "hold tcp "+net.JoinHostPort("127.0.0.1", control))
	require.Equal(t, "1", ours.hear(t).Said)
	p.ControlPort = number(t, control)
	host.apply(t, table, p)
	ours.tell(t, "")
	a := ours.hear(t)
	assert.Empty(t, a.Said)
	assert.NotEmpty(t, a.Error)
}

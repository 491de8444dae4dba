package egress

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	ourUID   = 200003
	otherUID = 300000
)

// policy is what a server has by default.
func policy(t *testing.T) Policy {
	t.Helper()
	return Policy{
		FirstUID: 200000, LastUID: 200009, AllowByDefault: true,
		Deny: rules(t, "169.254.169.254", "fd00:ec2::254", "127.0.0.0/8", "::1"),
	}
}

func TestDefaultDeny(t *testing.T) {
	host, world := hosts(t)
	tcp, udp := host.serveTCP(t, ":0", "host"), host.serveUDP(t, ":0", "host")
	worldTCP, worldUDP := world.serveTCP(t, ":0", "world"), world.serveUDP(t, ":0", "world")
	table := Open("penstock_test")
	host.apply(t, table, policy(t))

	ours := host.stream(t, ourUID)
	first, last := host.stream(t, 200000), host.stream(t, 200009)
	other := host.stream(t, otherUID)
	others := []*stream{host.stream(t, 0), host.stream(t, 199999), host.stream(t, 200010), other}
	local := []string{"127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", "10.77.0.1", "fd77::1", hostLink(t, host)}
	for _, addr := range local {
		ours.refused(t, "tcp", addr, tcp)
		ours.refused(t, "udp", addr, udp)
		for _, s := range others {
			s.reaches(t, "host", "tcp", addr, tcp)
			if addr != "0.0.0.0" && addr != "::" && addr != "127.8.8.8" { // A wildcard socket answers from another address.
				s.reaches(t, "host", "udp", addr, udp)
			}
		}
	}
	for _, addr := range []string{"127.0.0.1", "10.77.0.1"} {
		ours.refused(t, "mapped", addr, tcp)
		other.reaches(t, "host", "mapped", addr, tcp)
	}
	for _, addr := range []string{"169.254.169.254", "fd00:ec2::254"} {
		for _, s := range []*stream{ours, first, last} {
			s.refused(t, "tcp", addr, worldTCP)
		}
		other.reaches(t, "world", "tcp", addr, worldTCP)
	}
	for _, addr := range []string{"10.77.0.2", "fd77::2"} {
		ours.reaches(t, "world", "tcp", addr, worldTCP)
		ours.reaches(t, "world", "udp", addr, worldUDP)
	}
	ours.reaches(t, "world", "tcp", "2001:db8::10", worldTCP)
}

func TestControlPortLeadsToFunctions(t *testing.T) {
	host, world := hosts(t)
	control := host.serveTCP(t, ":0", "control")
	functions := host.serveTCP(t, "127.0.0.1:0", "functions")
	host.serveTCP(t, net.JoinHostPort("::1", functions), "functions")
	world.serveTCP(t, ":"+control, "world")
	ours, other := host.stream(t, ourUID), host.stream(t, otherUID)

	own := []string{"127.0.0.1", "127.1.2.3", "::1", "10.77.0.1", "fd77::1"}
	link := hostLink(t, host)
	table := Open("penstock_test")
	for name, change := range map[string]func(*Policy){
		"by default":     func(*Policy) {},
		"default deny":   func(p *Policy) { p.AllowByDefault = false },
		"all allowed":    func(p *Policy) { p.Allow = rules(t, "0.0.0.0/0", "::/0") },
		"nothing denied": func(p *Policy) { p.Deny = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(t)
			p.ControlPort, p.FunctionsPort = number(t, control), number(t, functions)
			change(&p)
			host.apply(t, table, p)
			for _, addr := range own {
				ours.reaches(t, "functions", "tcp", addr, control)
				other.reaches(t, "control", "tcp", addr, control)
			}
			ours.reaches(t, "functions", "mapped", "127.0.0.1", control)
			ours.refused(t, "tcp", link, control)
			other.reaches(t, "control", "tcp", link, control)
			for _, addr := range []string{"127.0.0.1", "::1"} {
				ours.reaches(t, "functions", "tcp", addr, functions)
			}

			p.FunctionsPort = 0
			host.apply(t, table, p)
			for _, addr := range own {
				ours.refused(t, "tcp", addr, control)
				ours.refused(t, "tcp", link, control)
				other.reaches(t, "control", "tcp", addr, control)
			}
			if p.AllowByDefault {
				ours.reaches(t, "world", "tcp", "10.77.0.2", control)
			}
		})
	}
}

func TestRulesWithPorts(t *testing.T) {
	host, world := hosts(t)
	one, two := host.serveTCP(t, ":0", "one"), host.serveTCP(t, ":0", "two")
	oneUDP := host.serveUDP(t, ":"+one, "one")
	low, mid, high := world.serveTCP(t, ":8000", "low"), world.serveTCP(t, ":8005", "mid"), world.serveTCP(t, ":8011", "high")
	ours := host.stream(t, ourUID)
	table := Open("penstock_test")

	p := policy(t)
	p.Allow = rules(t, "127.0.0.1 "+one, "10.77.0.2 8000-8005")
	p.Deny = append(p.Deny, rules(t, "10.77.0.0/24", "fd77::/64 8005-8010,8011")...)
	host.apply(t, table, p)
	ours.reaches(t, "one", "tcp", "127.0.0.1", one)
	ours.reaches(t, "one", "udp", "127.0.0.1", oneUDP)
	ours.refused(t, "tcp", "127.0.0.1", two)
	ours.refused(t, "tcp", "127.0.0.2", one)
	ours.refused(t, "tcp", "::1", one)
	ours.refused(t, "tcp", "10.77.0.1", one)
	ours.reaches(t, "low", "tcp", "10.77.0.2", low)
	ours.reaches(t, "mid", "tcp", "10.77.0.2", mid)
	ours.refused(t, "tcp", "10.77.0.2", high)
	ours.reaches(t, "low", "tcp", "fd77::2", low)
	ours.refused(t, "tcp", "fd77::2", mid)
	ours.refused(t, "tcp", "fd77::2", high)

	// A rule for a port of loopback is one for that port of the whole host.
	p.Allow, p.Deny = rules(t, "fd77::1"), rules(t, "127.0.0.1 "+one)
	host.apply(t, table, p)
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "::1", "10.77.0.1", hostLink(t, host)} {
		ours.refused(t, "tcp", addr, one)
		ours.reaches(t, "two", "tcp", addr, two)
	}
	ours.refused(t, "udp", "127.0.0.1", oneUDP)
	ours.reaches(t, "one", "tcp", "fd77::1", one)

	// Every network there is.
	p.Allow, p.Deny = rules(t, "::/0 "+one), rules(t, "0.0.0.0/0", "::/0")
	host.apply(t, table, p)
	ours.reaches(t, "one", "tcp", "::1", one)
	ours.refused(t, "tcp", "127.0.0.1", one)
	ours.refused(t, "tcp", "10.77.0.2", low)
	ours.refused(t, "tcp", "fd77::2", low)
}

func TestDefaultIsDenyAndResolversAnswer(t *testing.T) {
	host, world := hosts(t)
	for _, addr := range []string{"192.0.2.53", "fd77::2"} {
		world.serveTCP(t, net.JoinHostPort(addr, "53"), "resolver")
		world.serveUDP(t, net.JoinHostPort(addr, "53"), "resolver")
	}
	host.serveTCP(t, "127.0.0.53:53", "local")
	host.serveUDP(t, "127.0.0.53:53", "local")
	host.serveTCP(t, "127.0.0.54:53", "no resolver")
	tcp := world.serveTCP(t, ":0", "world")
	udp := world.serveUDP(t, ":0", "world")
	ours, other := host.stream(t, ourUID), host.stream(t, otherUID)

	p := policy(t)
	p.AllowByDefault, p.Resolvers = false, addrs("192.0.2.53", "127.0.0.53", "fd77::2%hv")
	host.apply(t, Open("penstock_test"), p)
	for _, network := range []string{"tcp", "udp"} {
		ours.reaches(t, "resolver", network, "192.0.2.53", "53")
		ours.reaches(t, "resolver", network, "fd77::2", "53")
		ours.reaches(t, "local", network, "127.0.0.53", "53")
		ours.refused(t, network, "127.0.0.54", "53")
	}
	for _, addr := range []string{"192.0.2.53", "192.0.2.10", "10.77.0.2", "2001:db8::10"} {
		ours.refused(t, "tcp", addr, tcp)
		ours.refused(t, "udp", addr, udp)
		other.reaches(t, "world", "tcp", addr, tcp)
	}
}

func TestUninvitedDatagramsStayUnanswered(t *testing.T) {
	host, world := hosts(t)
	ours, other := host.stream(t, ourUID), host.stream(t, otherUID)
	host.apply(t, Open("penstock_test"), policy(t))

	invite := func(s *stream, address string) (net.PacketConn, answer) {
		s.tell(t, "answer udp "+address)
		to, err := net.ResolveUDPAddr("udp", s.hear(t).Said)
		require.NoError(t, err)
		conn := world.openUDP(t, "udp", ":0")
		_, err = conn.WriteTo([]byte("?"), to)
		require.NoError(t, err)
		return conn, s.hear(t)
	}
	for _, address := range []string{"10.77.0.1:0", "[fd77::1]:0"} {
		_, a := invite(ours, address)
		assert.Contains(t, a.Error, "operation not permitted", address)

		conn, a := invite(other, address)
		assert.Empty(t, a.Error, address)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		buf := make([]byte, 100)
		n, _, err := conn.ReadFrom(buf)
		require.NoError(t, err)
		assert.Equal(t, "stream", string(buf[:n]))
	}
}

func TestConnectionsFromOutsideAreAnswered(t *testing.T) {
	host, world := hosts(t)
	p := policy(t)
	p.AllowByDefault = false
	host.apply(t, Open("penstock_test"), p)
	// A listener of a stream: its socket is opened by its user.
	ours := host.stream(t, ourUID)
	ours.tell(t, "serve tcp :0")
	_, port, err := net.SplitHostPort(ours.hear(t).Said)
	require.NoError(t, err)
	world.stream(t, 0).reaches(t, "stream", "tcp", "10.77.0.1", port)
	assert.Empty(t, ours.hear(t).Error)
	ours.tell(t, "serve tcp :"+port)
	ours.hear(t)
	host.stream(t, 0).reaches(t, "stream", "tcp", "127.0.0.1", port)
	assert.Empty(t, ours.hear(t).Error)
}

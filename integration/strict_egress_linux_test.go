package integration

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// destinations are services that streams may be after, with how many have
// connected to each.
type destinations map[string]*struct {
	url   string
	calls *atomic.Int64
}

// newDestinations starts them in a namespace. Each answers with its name.
func newDestinations(n *netns) destinations {
	n.address("lo:1", metadataAddress)
	n.address("lo:2", hostAddress)
	all := destinations{}
	for name, address := range map[string]string{
		"metadata": metadataAddress + ":80", "loopback": "127.0.0.1:0", "loopback 2": "127.0.0.1:0", "loopback 6": "[::1]:0",
		"host": hostAddress + ":0", "host 2": hostAddress + ":0",
	} {
		bound, calls := n.serve(address, name)
		all[name] = &struct {
			url   string
			calls *atomic.Int64
		}{"http://" + bound, calls}
	}
	return all
}

// port is what a rule calls it.
func (d destinations) port(name string) string {
	return d[name].url[strings.LastIndexByte(d[name].url, ':')+1:]
}

// TestStrictEgress: what a stream reaches is what the operator's rules say, in
// their order, and it is told at once when it does not.
func TestStrictEgress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sets func(d destinations) []string
		open []string
	}{
		"as it is": {func(destinations) []string { return nil }, nil},
		"a port is allowed": {func(d destinations) []string {
			return []string{`egress.allow=["127.0.0.1 ` + d.port("loopback") + `"]`}
		}, []string{"loopback"}},
		"networks are allowed": {func(destinations) []string {
			return []string{`egress.allow=["127.0.0.0/8", "::1", "` + metadataAddress + `"]`}
		}, []string{"loopback", "loopback 2", "loopback 6", "metadata"}},
		"nothing is denied": {func(destinations) []string {
			return []string{`egress.deny=[]`}
		}, []string{"loopback", "loopback 2", "loopback 6", "metadata", "host", "host 2"}},
		"all is denied but a port": {func(d destinations) []string {
			return []string{"egress.default=deny", "egress.deny=[]", `egress.allow=["` + hostAddress + ` ` + d.port("host") + `"]`}
		}, []string{"host"}},
		"all is denied but a network": {func(destinations) []string {
			return []string{"egress.default=deny", `egress.allow=["192.0.2.0/24"]`}
		}, []string{"host", "host 2"}},
		"all is denied": {func(destinations) []string { return []string{"egress.default=deny", "egress.deny=[]"} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			n := newNetns(t)
			all := newDestinations(n)
			args := strictArgs()
			for _, set := range c.sets(all) {
				args = append(args, "--set", "isolation."+set)
			}
			p := startPenstockIn(t, n, args...)
			p.expect(t, 200, "POST", "/streams/caller", callerYAML("GET", ""))
			p.expect(t, 200, "POST", "/streams/echo", echo("echo"))
			for service, d := range all {
				open := false
				for _, other := range c.open {
					open = open || other == service
				}
				if open {
					assert.Equal(t, service, called(t, p.client, "caller", d.url), service)
					continue
				}
				var said string
				took := timed(func() { said = called(t, p.client, "caller", d.url) })
				assert.Regexp(t, "^failed: .*(connection refused|permission denied)", said, service)
				assert.Less(t, took, 2*margin, service)
				assert.Zero(t, d.calls.Load(), "%s was reached", service)
			}
			// Other streams can be called, and the API cannot, whatever the rules.
			assert.Contains(t, called(t, p.client, "caller", p.Base+"/echo/post"), "(405)")
			assert.Contains(t, called(t, p.client, "caller", p.Base+"/streams"), "(404)")
		})
	}
}

// TestStrictResolver: names are resolved whatever the rules say, and lead no
// further than addresses do.
func TestStrictResolver(t *testing.T) {
	t.Parallel()
	needRoot(t)
	n := newNetns(t)
	all := newDestinations(n)
	resolver := n.resolve(map[string]string{"open.test.": hostAddress, "closed.test.": metadataAddress})
	args := strictArgs("--set", "isolation.egress.default=deny",
		"--set", `isolation.egress.allow=["`+hostAddress+" "+all.port("host")+`"]`)
	p := startPenstockIn(t, n, args...)
	p.expect(t, 200, "POST", "/streams/caller", callerYAML("GET", ""))
	assert.Equal(t, "host", called(t, p.client, "caller", "http://open.test:"+all.port("host")))
	assert.Positive(t, resolver.Load(), "who resolved that name?")
	for _, name := range []string{"closed.test:80", "open.test:" + all.port("host 2")} {
		assert.Regexp(t, "^failed: .*(connection refused|permission denied)", called(t, p.client, "caller", "http://"+name), name)
	}
	assert.Contains(t, called(t, p.client, "caller", "http://nowhere.test:80"), "no such host")
	for _, name := range []string{"metadata", "host 2"} {
		assert.Zero(t, all[name].calls.Load(), "%s was reached", name)
	}
}

// resolve serves names at the address that this host's /etc/resolv.conf names,
// and counts the questions.
func (n *netns) resolve(names map[string]string) *atomic.Int64 {
	n.t.Helper()
	server := netip.MustParseAddr("127.0.0.1")
	text, err := os.ReadFile("/etc/resolv.conf")
	require.NoError(n.t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			server = netip.MustParseAddr(f[1])
			break
		}
	}
	if server.Is6() && !server.IsLoopback() {
		n.t.Skip("the resolver of this host has an IPv6 address, which this test cannot take")
	}
	if !server.IsLoopback() {
		n.address("lo:9", server.String())
	}
	var conn net.PacketConn
	n.inside(func() { conn, err = net.ListenPacket("udp", netip.AddrPortFrom(server, 53).String()) })
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	var questions atomic.Int64
	go func() {
		packet := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			questions.Add(1)
			if reply, err := replyTo(packet[:size], names); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &questions
}

// replyTo answers a question for an address.
func replyTo(packet []byte, names map[string]string) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(packet); err != nil {
		return nil, err
	}
	if len(message.Questions) != 1 {
		return nil, fmt.Errorf("%d questions", len(message.Questions))
	}
	question := message.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: message.ID, Response: true, RecursionAvailable: true},
		Questions: message.Questions,
	}
	address, known := names[question.Name.String()]
	switch {
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
		}}
	}
	return reply.Pack()
}

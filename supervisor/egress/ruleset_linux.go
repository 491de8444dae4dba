package egress

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The chains; doc.go says what each of the first three is for.
const (
	chainAsked    = "asked"
	chainRedirect = "redirect"
	chainReached  = "reached"
	chainStream   = "stream"  // asked, for our users
	chainControl  = "control" // what is for an address of this host
	chainOwn      = "own"     // refuses what is delivered on this host
	chainRefuse   = "refuse"
)

// chain is one chain and all its rules. A base chain has a kind.
type chain struct {
	name     string
	kind     nftables.ChainType
	priority nftables.ChainPriority
	rules    []rule
}

// rule is the matches and what to do; note is for people who list the rules.
type rule struct {
	note  string
	exprs []expr.Any
}

func (c *chain) add(note string, parts ...[]expr.Any) {
	c.rules = append(c.rules, rule{note: note, exprs: slices.Concat(parts...)})
}

func accept() []expr.Any { return verdict(expr.VerdictAccept, "") }

func refuse() []expr.Any { return verdict(expr.VerdictGoto, chainRefuse) }

func jump(to string) []expr.Any { return verdict(expr.VerdictJump, to) }

func verdict(kind expr.VerdictKind, to string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: to}}
}

// ruleset is all that enforces a policy. Its chains are the same ones whatever
// the policy, so that they can stay while their rules are replaced.
func ruleset(p Policy) []chain {
	ours := fromUsers(p.FirstUID, p.LastUID)

	asked := chain{name: chainAsked, kind: nftables.ChainTypeFilter, priority: *nftables.ChainPriorityMangle}
	asked.add("streams", ours, jump(chainStream))

	return []chain{
		asked, redirectChain(p, ours), reachedChain(p, ours),
		streamChain(p), controlChain(p), ownChain(), refuseChain(),
	}
}

// redirectChain leads from the control port to the functions listener. In the
// output path the kernel redirects to 127.0.0.1 and ::1.
func redirectChain(p Policy, ours []expr.Any) chain {
	c := chain{name: chainRedirect, kind: nftables.ChainTypeNAT, priority: *nftables.ChainPriorityNATDest}
	if p.ControlPort == 0 || p.FunctionsPort == 0 {
		return c
	}
	c.add("control port", ours, toPorts(unix.IPPROTO_TCP, one(p.ControlPort)), toType(unix.RTN_LOCAL), redirectTo(p.FunctionsPort))
	return c
}

func redirectTo(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: register, RegisterProtoMax: register, Flags: expr.NF_NAT_RANGE_PROTO_SPECIFIED},
	}
}

// reachedChain looks at where NAT has led. The interface is not looked at: here
// it may still be that of the address which the process named.
func reachedChain(p Policy, ours []expr.Any) chain {
	c := chain{name: chainReached, kind: nftables.ChainTypeFilter, priority: *nftables.ChainPriorityFilter}
	if p.ControlPort != 0 {
		// A connection that was made while somebody had removed the rules is cut
		// when they are back.
		c.add("control port", ours, toPorts(unix.IPPROTO_TCP, one(p.ControlPort)), toType(unix.RTN_LOCAL), refuse())
	}
	return c
}

func streamChain(p Policy) chain {
	c := chain{name: chainStream}
	c.add("uninvited", protocol(expr.CmpOpNeq, unix.IPPROTO_TCP), inReply(), verdict(expr.VerdictDrop, ""))
	c.add("established", inState(expr.CmpOpNeq, expr.CtStateBitESTABLISHED), accept())
	c.add("this host", toType(unix.RTN_LOCAL), jump(chainControl))
	c.add("this host", overLoopback(), jump(chainControl))
	for _, addr := range p.Resolvers {
		resolver := Rule{Prefix: netip.PrefixFrom(addr.WithZone("").Unmap(), addr.Unmap().BitLen()), Ports: []PortRange{one(53)}}
		c.addRule("resolver", resolver, accept())
	}
	for _, r := range p.Allow {
		c.addRule("allow", r, accept())
	}
	for _, r := range p.Deny {
		c.addRule("deny", r, refuse())
		if r.coversLoopback() {
			c.addOwn(r)
		}
	}
	if p.AllowByDefault {
		c.add("default", accept())
	} else {
		c.add("default", refuse())
	}
	return c
}

// addRule adds what it takes for a rule of a policy.
func (c *chain) addRule(note string, r Rule, end []expr.Any) {
	c.addEach(note+" "+r.Prefix.String(), r.Ports, toNetwork(r.Prefix), end)
}

// addOwn adds a deny rule for loopback once more, for all that is delivered on
// this host.
func (c *chain) addOwn(r Rule) {
	c.addEach("deny "+r.Prefix.String()+": this host", r.Ports, nil, jump(chainOwn))
}

func (c *chain) addEach(note string, ports []PortRange, match, end []expr.Any) {
	if len(ports) == 0 {
		c.add(note, match, end)
		return
	}
	for _, r := range ports {
		for _, number := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			c.add(note, match, toPorts(number, r), end)
		}
	}
}

func controlChain(p Policy) chain {
	c := chain{name: chainControl}
	if p.FunctionsPort != 0 {
		c.add("functions port", toPorts(unix.IPPROTO_TCP, one(p.FunctionsPort)), accept())
	}
	if p.ControlPort == 0 {
		return c
	}
	control := toPorts(unix.IPPROTO_TCP, one(p.ControlPort))
	if p.FunctionsPort != 0 {
		// For the redirect, which comes next. A link-local address would only
		// time out: an answer to it needs an interface, which ::1 has not.
		c.add("control port", control, toNetwork(linkLocal), refuse())
		c.add("control port", control, toType(unix.RTN_LOCAL), accept())
	}
	c.add("control port", control, refuse())
	return c
}

var (
	linkLocal  = netip.MustParsePrefix("fe80::/10")
	multicast4 = netip.MustParsePrefix("224.0.0.0/4")
	multicast6 = netip.MustParsePrefix("ff00::/8")
)

func ownChain() chain {
	c := chain{name: chainOwn}
	c.add("this host", toType(unix.RTN_LOCAL), refuse())
	c.add("this host", overLoopback(), refuse())
	c.add("broadcast", toType(unix.RTN_BROADCAST), refuse())
	c.add("multicast", toNetwork(multicast4), refuse())
	c.add("multicast", toNetwork(multicast6), refuse())
	return c
}

func refuseChain() chain {
	c := chain{name: chainRefuse}
	c.add("", protocol(expr.CmpOpEq, unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	c.add("", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}})
	return c
}

func one(port uint16) PortRange { return PortRange{First: port, Last: port} }

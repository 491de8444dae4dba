package egress

import (
	"fmt"
	"math"
	"net/netip"
)

// maxRules bounds Allow and Deny together, a rule counted once for each of its
// ranges of ports: each is looked at for every new flow, one after the other.
const maxRules = 1000

// Policy is what the processes of a range of users may reach. Addresses are
// those that a process names, before any NAT of this host.
type Policy struct {
	// FirstUID to LastUID are the users it is about, both included, root never
	// among them. All others are not concerned.
	FirstUID, LastUID uint32
	// AllowByDefault is about what neither Allow nor Deny names.
	AllowByDefault bool
	// Allow is looked at first, then Deny: at most 1000 in all. A deny rule
	// for 127.0.0.1 or ::1 is, with its ports, also one for every address of
	// this host, for broadcast and for multicast.
	Allow, Deny []Rule
	// Resolvers are reachable on port 53, by UDP and TCP, in any case.
	Resolvers []netip.Addr
	// ControlPort is the TCP port of the control API. It is closed on every
	// address of this host, even if Allow names it; 0 means that there is none.
	// The API is not recognised by the address of another machine which
	// forwards to it.
	ControlPort uint16
	// FunctionsPort is the TCP port on 127.0.0.1 and ::1 where connections to
	// ControlPort end up instead; 0 means that they are refused, as those to a
	// link-local address are in any case. It can be reached directly, too.
	FunctionsPort uint16
}

func (p Policy) check() error {
	switch {
	case p.FirstUID == 0:
		return fmt.Errorf("egress rules for the users %d-%d would enclose root: begin above 0", p.FirstUID, p.LastUID)
	case p.FirstUID > p.LastUID:
		return fmt.Errorf("egress rules for the users %d-%d: the first is above the last", p.FirstUID, p.LastUID)
	case p.LastUID == math.MaxUint32:
		return fmt.Errorf("egress rules for the users %d-%d: the last stands for no user, end below it", p.FirstUID, p.LastUID)
	case p.FunctionsPort != 0 && p.FunctionsPort == p.ControlPort:
		return fmt.Errorf("egress rules: port %d cannot be both the control API's and the functions'", p.ControlPort)
	}
	count := 0
	for _, list := range [][]Rule{p.Allow, p.Deny} {
		for _, r := range list {
			if err := r.check(); err != nil {
				return err
			}
			count += max(1, len(r.Ports))
		}
	}
	if count > maxRules {
		return fmt.Errorf("%d egress rules, a range of ports counted as one: at most %d are possible, name larger networks", count, maxRules)
	}
	for _, a := range p.Resolvers {
		if !a.IsValid() {
			return fmt.Errorf("egress rules: a resolver has no address")
		}
	}
	return nil
}

// check finds what ParseRule would never return.
func (r Rule) check() error {
	if !r.Prefix.IsValid() || r.Prefix.Addr().Is4In6() || r.Prefix != r.Prefix.Masked() {
		return fmt.Errorf("egress rule %q is for no network", r)
	}
	for _, p := range r.Ports {
		if p.First == 0 || p.First > p.Last {
			return fmt.Errorf("egress rule %q: ports %s are no range", r, p)
		}
	}
	return nil
}

// coversLoopback tells whether the rule is also one for the host's own
// addresses.
func (r Rule) coversLoopback() bool {
	return r.Prefix.Contains(loopback4) || r.Prefix.Contains(netip.IPv6Loopback())
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

package egress

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// PortRange is a range of TCP and UDP ports, 1 to 65535, both ends included.
type PortRange struct{ First, Last uint16 }

// String returns the range as ParseRule reads it.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Rule stands for destinations: the addresses of Prefix and, if Ports has any,
// only those TCP and UDP ports. Without ports it stands for every protocol.
type Rule struct {
	Prefix netip.Prefix
	Ports  []PortRange
}

// String returns the rule as ParseRule reads it.
func (r Rule) String() string {
	text := r.Prefix.String()
	if r.Prefix.IsSingleIP() {
		text = r.Prefix.Addr().String()
	}
	for i, p := range r.Ports {
		if i == 0 {
			text += " " + p.String()
			continue
		}
		text += "," + p.String()
	}
	return text
}

// ParseRule reads an address or a network in CIDR notation and, after a space,
// ports and ranges of ports with commas between them: "10.0.0.0/8",
// "10.1.2.3 443,8000-8010", "::/0 443". Names are not resolved.
func ParseRule(text string) (Rule, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return Rule{}, fmt.Errorf("egress rule %q is empty: write an address, as in 10.0.0.0/8 or 10.1.2.3 443,8000-8010", text)
	}
	if len(fields) > 2 {
		return Rule{}, fmt.Errorf("egress rule %q has more than an address and ports: write the ports without spaces, as in 443,8000-8010", text)
	}
	prefix, err := parsePrefix(fields[0])
	if err != nil {
		return Rule{}, fmt.Errorf("egress rule %q: %w", text, err)
	}
	rule := Rule{Prefix: prefix}
	if len(fields) == 1 {
		return rule, nil
	}
	for part := range strings.SplitSeq(fields[1], ",") {
		ports, err := parsePorts(part)
		if err != nil {
			return Rule{}, fmt.Errorf("egress rule %q: %w", text, err)
		}
		rule.Ports = append(rule.Ports, ports)
	}
	return rule, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "%") {
		return netip.Prefix{}, fmt.Errorf("%q names an interface: write the address without it", text)
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, addrErr := netip.ParseAddr(text)
		if addrErr != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network as 10.0.0.0/8: names are not resolved", text)
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4 address written as IPv6: write it as IPv4, it is that on the network", text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q is an address within a network: write %s for the network, or %s for the address", text, prefix.Masked(), prefix.Addr())
	}
	return prefix, nil
}

func parsePorts(text string) (PortRange, error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	first, err := parsePort(from)
	if err != nil {
		return PortRange{}, err
	}
	last, err := parsePort(to)
	if err != nil {
		return PortRange{}, err
	}
	if first > last {
		return PortRange{}, fmt.Errorf("ports %s are in the wrong order: write %d-%d", text, last, first)
	}
	return PortRange{First: first, Last: last}, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port: write numbers from 1 to 65535, as in 443,8000-8010", text)
	}
	return uint16(port), nil
}

package options

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// ListenRule says at which addresses and ports streams may listen themselves.
type ListenRule struct {
	// Addresses are those of the prefix; a single one has all its bits.
	Addresses netip.Prefix
	// First and Last are ports, both included, 1 to 65535.
	First, Last uint16
}

// NoListening is the rule, alone in its list, that allows nothing.
const NoListening = "none"

// LoopbackListening allows the loopback addresses, with the ports that need no
// privilege.
func LoopbackListening() []ListenRule {
	return []ListenRule{
		{netip.MustParsePrefix("127.0.0.0/8"), 1024, 65535},
		{netip.MustParsePrefix("::1/128"), 1024, 65535},
	}
}

// ParseListenRules reads rules such as "10.0.0.1:8080", "[::1]:8000-8099" and
// "localhost:9000", or the one rule "none". Its error names the rule.
func ParseListenRules(texts []string) ([]ListenRule, error) {
	if len(texts) == 1 && texts[0] == NoListening {
		return nil, nil
	}
	rules := make([]ListenRule, 0, len(texts))
	for _, text := range texts {
		rule, err := parseListenRule(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func parseListenRule(text string) (ListenRule, error) {
	host, ports, err := net.SplitHostPort(text)
	if err != nil {
		return ListenRule{}, fmt.Errorf("%q is not an address with ports, such as 127.0.0.1:8080 or [::1]:8000-8099", text)
	}
	addr, err := parseHost(host)
	if err != nil {
		return ListenRule{}, fmt.Errorf("%q: %w", text, err)
	}
	from, to, ranged := strings.Cut(ports, "-")
	if !ranged {
		to = from
	}
	first, errFirst := strconv.ParseUint(from, 10, 16)
	last, errLast := strconv.ParseUint(to, 10, 16)
	if errFirst != nil || errLast != nil || first == 0 || last < first {
		return ListenRule{}, fmt.Errorf("%q: %q is no port of 1 to 65535 and no range of them, such as 8000-8099", text, ports)
	}
	return ListenRule{netip.PrefixFrom(addr, addr.BitLen()), uint16(first), uint16(last)}, nil
}

// parseHost reads an address. Names are not looked up: what one stands for may
// change between the look at the rules and the listening.
func parseHost(host string) (netip.Addr, error) {
	if host == "localhost" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is no IP address: write one, such as 127.0.0.1 or [::1], or localhost", host)
	}
	return addr.Unmap(), nil
}

// Allows says whether a stream may listen there.
func (r ListenRule) Allows(at netip.AddrPort) bool {
	return r.Addresses.Contains(at.Addr()) && at.Port() >= r.First && at.Port() <= r.Last
}

// String is what ParseListenRules reads, except for a prefix.
func (r ListenRule) String() string {
	host := r.Addresses.String()
	if r.Addresses.IsSingleIP() {
		host = r.Addresses.Addr().String()
	}
	ports := strconv.Itoa(int(r.First))
	if r.Last != r.First {
		ports += "-" + strconv.Itoa(int(r.Last))
	}
	return net.JoinHostPort(host, ports)
}

// listen reads the address of an own listener.
func (d *decoder) listen(n *yaml.Node, allowed Allowed) string {
	if !d.scalar(n, "listen", "string", "!!str") {
		return ""
	}
	host, port, err := net.SplitHostPort(n.Value)
	if err != nil {
		d.lint(n, "field listen: expected host:port, such as 127.0.0.1:8080, got %s", printable(n.Value))
		return ""
	}
	addr, err := parseHost(host)
	if err != nil {
		d.lint(n, "field listen: %s", err.Error())
		return ""
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		d.lint(n, "field listen: expected a port of 1 to 65535, got %s: callers have to know it, so that the kernel cannot choose one", printable(port))
		return ""
	}
	at := netip.AddrPortFrom(addr, uint16(number))
	if !allowed.listening(at) {
		d.lint(n, "field listen: %s is not allowed here: the server's http.stream_listen allows %s", at, allowed.listenText())
		return ""
	}
	return at.String()
}

func (a Allowed) listening(at netip.AddrPort) bool {
	if !a.RestrictListen {
		return true
	}
	for _, rule := range a.Listen {
		if rule.Allows(at) {
			return true
		}
	}
	return false
}

func (a Allowed) listenText() string {
	if len(a.Listen) == 0 {
		return "nothing: use the stream's endpoints of the server, or ask its operator"
	}
	texts := make([]string, len(a.Listen))
	for i, rule := range a.Listen {
		texts[i] = rule.String()
	}
	return strings.Join(texts, ", ")
}

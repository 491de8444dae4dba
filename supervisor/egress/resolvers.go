package egress

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
)

// maxResolvers is how many name servers a resolver library looks at.
const maxResolvers = 3

// Resolvers returns the name servers that /etc/resolv.conf names. Where it
// names none or cannot be read, they are those of this host, as for every
// resolver library.
func Resolvers() []netip.Addr {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return localResolvers()
	}
	defer f.Close()
	return readResolvers(f)
}

// readResolvers passes over what it does not understand, as the libraries do.
func readResolvers(r io.Reader) []netip.Addr {
	var found []netip.Addr
	for lines := bufio.NewScanner(r); len(found) < maxResolvers && lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			found = append(found, addr.Unmap())
		}
	}
	if len(found) == 0 {
		return localResolvers()
	}
	return found
}

func localResolvers() []netip.Addr {
	return []netip.Addr{loopback4, netip.IPv6Loopback()}
}

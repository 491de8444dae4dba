package calls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// allowList says where callbacks may go. An entry is
//
//   - an address or a prefix, 10.1.2.3 or 10.1.0.0/16: whatever resolves to it;
//   - a name, hooks.example.com or *.example.com, with a port if only that one
//     is meant: wherever it resolves to, special addresses excepted;
//   - a URL that ends with a slash, https://hooks.example.com/penstock/: what
//     begins with it, special addresses excepted unless the URL itself has one.
//
// The zero value allows nothing.
type allowList struct {
	prefixes []netip.Prefix
	names    []namePattern
	urls     []*url.URL
}

type namePattern struct {
	name string // without the *
	sub  bool   // what ends with it
	port string // empty for all
}

func parseAllow(entries []string) (allowList, error) {
	var list allowList
	for _, entry := range entries {
		if err := list.add(entry); err != nil {
			return allowList{}, fmt.Errorf("calls.callbacks.allow: %q %w: write for example 10.1.0.0/16, hooks.example.com or https://hooks.example.com/penstock/", entry, err)
		}
	}
	return list, nil
}

func (l *allowList) add(entry string) error {
	if strings.Contains(entry, "://") {
		u, err := parseTarget(entry)
		switch {
		case err != nil:
			return err
		case u.RawQuery != "" || !strings.HasSuffix(u.Path, "/"):
			return errors.New("is a URL that does not end with a slash")
		}
		l.urls = append(l.urls, u)
		return nil
	}
	if addr, err := netip.ParseAddr(entry); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		l.prefixes = append(l.prefixes, netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	if strings.Contains(entry, "/") {
		prefix, err := netip.ParsePrefix(entry)
		if err != nil || prefix != prefix.Masked() {
			return errors.New("is no prefix of addresses")
		}
		l.prefixes = append(l.prefixes, prefix)
		return nil
	}
	name, port, hasPort := strings.Cut(strings.ToLower(entry), ":")
	plain, sub := strings.CutPrefix(name, "*.")
	if plain == "" || strings.ContainsAny(plain, "*: \t") || hasPort && !isPort(port) || strings.Trim(plain, "0123456789.") == "" {
		return errors.New("is neither a name, an address nor a URL")
	}
	l.names = append(l.names, namePattern{plain, sub, port})
	return nil
}

func isPort(text string) bool {
	_, err := netip.ParseAddrPort("0.0.0.0:" + text)
	return err == nil
}

// parseTarget reads a URL that a callback may have.
func parseTarget(text string) (*url.URL, error) {
	const longest = 2048
	u, err := url.Parse(text)
	switch {
	case len(text) > longest:
		return nil, fmt.Errorf("is longer than %d bytes", longest)
	case err != nil:
		return nil, errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Opaque != "", u.Hostname() == "":
		return nil, errors.New("is not an absolute http or https URL")
	case u.User != nil:
		return nil, errors.New("holds a user, which would be kept and shown: sign callbacks instead (calls.callbacks.secret_file)")
	case u.Fragment != "":
		return nil, errors.New("has a fragment, which is never sent")
	case u.Port() != "" && !isPort(u.Port()):
		return nil, errors.New("has no valid port")
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == ".." || s == "." || strings.Contains(s, `\`) }):
		return nil, errors.New("has . or .. in its path")
	}
	return u, nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// permission is what a URL was found to be allowed by; the address that it is
// connected to is looked at, too.
type permission struct {
	list *allowList
	url  string
	// named says that its name is allowed, literal that its very address is.
	named   bool
	literal netip.Addr
}

type permissionKey struct{}

// refusedError is the end of a callback that may not be made.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

// permit says whether a callback may go to a URL, as far as can be told before
// its name is resolved. The error wraps ErrForbidden or ErrBadCallback.
func (l *allowList) permit(text string) (permission, error) {
	u, err := parseTarget(text)
	if err != nil {
		return permission{}, fmt.Errorf("%w: %q %w", ErrBadCallback, text, err)
	}
	p := permission{list: l, url: text}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	byURL := slices.ContainsFunc(l.urls, func(a *url.URL) bool {
		return a.Scheme == u.Scheme && strings.EqualFold(a.Hostname(), host) && portOf(a) == portOf(u) &&
			strings.HasPrefix(u.EscapedPath(), a.EscapedPath())
	})
	literal, err := netip.ParseAddr(host)
	if err == nil {
		literal = literal.Unmap()
		if byURL {
			p.literal = literal
		}
		if !byURL && !l.holds(literal) {
			return permission{}, p.forbidden("its address")
		}
		return p, nil
	}
	p.named = byURL || slices.ContainsFunc(l.names, func(n namePattern) bool {
		fits := host == n.name
		if n.sub {
			fits = strings.HasSuffix(host, "."+n.name)
		}
		return fits && (n.port == "" || n.port == portOf(u))
	})
	if !p.named && len(l.prefixes) == 0 {
		return permission{}, p.forbidden("its host")
	}
	return p, nil
}

func (p permission) forbidden(what string) error {
	return fmt.Errorf("%w: %s: %s is not in this server's calls.callbacks.allow: ask its operator", ErrForbidden, p.url, what)
}

func (l *allowList) holds(addr netip.Addr) bool {
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// special are addresses that no name is trusted to stand for: this host, what is
// on its link (the clouds' metadata services are), and what hides another address.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fd00:ec2::/32"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("ff00::/8"),
}

// reaches says whether a callback may be connected to an address.
func (p permission) reaches(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid(), p.list == nil:
		return false
	case p.list.holds(addr), p.literal == addr:
		return true
	}
	return p.named && !slices.ContainsFunc(special, func(s netip.Prefix) bool { return s.Contains(addr) })
}

// transport makes callbacks. It connects to nothing that the request's permission
// does not reach, whatever its name has resolved to, uses no proxy and keeps no
// connection for the next request, which may have another permission.
func (l *allowList) transport(timeout time.Duration) http.RoundTripper {
	dialer := &net.Dialer{
		Timeout: timeout,
		ControlContext: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
			p, _ := ctx.Value(permissionKey{}).(permission)
			to, err := netip.ParseAddrPort(address)
			if err != nil || !p.reaches(to.Addr()) {
				return &refusedError{p.forbidden("the address it resolves to, " + address + ",")}
			}
			return nil
		},
	}
	return &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
		TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: headerBytes,
	}
}

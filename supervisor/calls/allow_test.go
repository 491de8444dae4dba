package calls

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAllowedTargets(t *testing.T) {
	list, err := parseAllow([]string{"10.1.0.0/16", "192.0.2.7", "fd12::/16", "hooks.example.com", "*.sub.example.com", "port.example.com:8443",
		"https://url.example.com/penstock/", "http://127.0.0.1:8080/in/", "http://[::1]:9/x/"})
	require.NoError(t, err)
	for _, c := range []struct {
		url string
		// to are addresses that its host may resolve to.
		to   map[string]bool
		fail error
	}{
		{url: "http://10.1.2.3/", to: map[string]bool{"10.1.2.3": true}},
		{url: "http://10.2.2.3/", fail: ErrForbidden},
		{url: "https://192.0.2.7:99/x?y", to: map[string]bool{"192.0.2.7": true, "::ffff:192.0.2.7": true}},
		{url: "http://[::ffff:10.1.2.3]/", to: map[string]bool{"10.1.2.3": true}},
		{url: "http://[::ffff:10.2.2.3]/", fail: ErrForbidden},
		{url: "http://[fd12::1]/", to: map[string]bool{"fd12::1": true}},
		{url: "http://[fd13::1]/", fail: ErrForbidden},
		{url: "http://hooks.example.com/", to: map[string]bool{
			"192.0.2.1": true, "10.9.9.9": true, "192.168.1.1": true, "2001:db8::1": true, "fd99::1": true,
			"127.0.0.1": false, "127.9.9.9": false, "169.254.169.254": false, "0.0.0.0": false, "::1": false, "::": false, "fe80::1": false,
			"fe80::1%eth0": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false,
			"fd00:ec2::254": false, "100.100.100.200": false, "224.0.0.1": false, "255.255.255.255": false, "ff02::1": false, "::127.0.0.1": false,
		}},
		{url: "https://HOOKS.example.com.:1/a", to: map[string]bool{"192.0.2.1": true}},
		{url: "http://a.sub.example.com/", to: map[string]bool{"192.0.2.1": true}},
		// Names that none of the entries has: only the prefixes are left.
		{url: "http://sub.example.com/", to: map[string]bool{"192.0.2.1": false, "10.1.0.1": true}},
		{url: "http://xsub.example.com/", to: map[string]bool{"192.0.2.1": false}},
		{url: "http://hooks.example.com.evil.net/", to: map[string]bool{"192.0.2.1": false}},
		{url: "https://port.example.com:8443/", to: map[string]bool{"192.0.2.1": true}},
		{url: "https://port.example.com/", to: map[string]bool{"192.0.2.1": false}},
		{url: "https://url.example.com/penstock/a/b?c", to: map[string]bool{"192.0.2.1": true, "127.0.0.1": false}},
		{url: "https://url.example.com:443/penstock/", to: map[string]bool{"192.0.2.1": true}},
		{url: "http://url.example.com/penstock/", to: map[string]bool{"192.0.2.1": false}},
		{url: "https://url.example.com/penstocks", to: map[string]bool{"192.0.2.1": false}},
		{url: "https://url.example.com/", to: map[string]bool{"192.0.2.1": false}},
		{url: "http://127.0.0.1:8080/in/x", to: map[string]bool{"127.0.0.1": true, "127.0.0.2": false}},
		{url: "http://127.0.0.1:8080/", fail: ErrForbidden},
		{url: "http://127.0.0.1:8081/in/", fail: ErrForbidden},
		{url: "http://[::1]:9/x/", to: map[string]bool{"::1": true}},
		{url: "http://[::1]:9/", fail: ErrForbidden},
		{url: "http://2130706433/", to: map[string]bool{"127.0.0.1": false}},
		{url: "http://127.1/", to: map[string]bool{"127.0.0.1": false}},

		{url: "", fail: ErrBadCallback}, {url: "x", fail: ErrBadCallback}, {url: "//a/", fail: ErrBadCallback}, {url: "http:///x", fail: ErrBadCallback},
		{url: "http:a", fail: ErrBadCallback}, {url: "ftp://a/", fail: ErrBadCallback}, {url: "http://u@hooks.example.com/", fail: ErrBadCallback},
		{url: "http://hooks.example.com/#f", fail: ErrBadCallback}, {url: "http://hooks.example.com:0x1/", fail: ErrBadCallback},
		{url: "https://url.example.com/penstock/../x", fail: ErrBadCallback}, {url: "https://url.example.com/penstock/%2e%2E/x", fail: ErrBadCallback},
		{url: "https://url.example.com/penstock/..\\x", fail: ErrBadCallback},
	} {
		p, err := list.permit(c.url)
		if c.fail != nil {
			require.ErrorIs(t, err, c.fail, c.url)
			continue
		}
		require.NoError(t, err, c.url)
		for addr, want := range c.to {
			assert.Equal(t, want, p.reaches(netip.MustParseAddr(addr)), "%s at %s", c.url, addr)
		}
	}
}

func TestNothingIsAllowedByDefault(t *testing.T) {
	var list allowList
	for _, url := range []string{"http://a/", "http://127.0.0.1/", "https://192.0.2.1/", "http://localhost/"} {
		_, err := list.permit(url)
		require.ErrorIs(t, err, ErrForbidden, url)
		assert.ErrorContains(t, err, "calls.callbacks.allow")
	}
	assert.False(t, permission{}.reaches(netip.MustParseAddr("192.0.2.1")), "a request without a permission")
}

func TestWhatAllowRefuses(t *testing.T) {
	for _, entry := range []string{
		"", "*", "*.", "a b", "10.0.0.1/8", "10.0.0.0/33", "10.1.2", "127.1", "1", "a*b", "https://a", "https://a/b", "https://a/?b", "ftp://a/", "https://u@a/", "a:0x", "a:99999",
		"fe80::1%eth0", "a/b", "*.*.a",
	} {
		_, err := parseAllow([]string{entry})
		require.Error(t, err, entry)
		assert.ErrorContains(t, err, "calls.callbacks.allow: ")
	}
}

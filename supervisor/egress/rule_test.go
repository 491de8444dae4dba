package egress

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseRule(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // as Rule.String has it
		says string // of the error
	}{
		{text: "10.0.0.0/8", want: "10.0.0.0/8"},
		{text: "10.1.2.3 443,8000-8010", want: "10.1.2.3 443,8000-8010"},
		{text: "10.1.2.3/32", want: "10.1.2.3"},
		{text: "::/0 443", want: "::/0 443"},
		{text: "0.0.0.0/0", want: "0.0.0.0/0"},
		{text: "FD00:EC2::0254", want: "fd00:ec2::254"},
		{text: "  ::1\t22-22 ", want: "::1 22"},
		{text: "::1/128 1-65535", want: "::1 1-65535"},
		{text: "", says: "is empty"},
		{text: " \n", says: "is empty"},
		{text: "localhost", says: "names are not resolved"},
		{text: "10.0.0.1/8", says: "write 10.0.0.0/8 for the network, or 10.0.0.1"},
		{text: "10.0.0.0/33", says: "neither an address nor a network"},
		{text: "10.0.0.0/", says: "neither an address nor a network"},
		{text: "10.0.0.0/08", says: "neither an address nor a network"},
		{text: "010.0.0.1", says: "neither an address nor a network"},
		{text: "10.1", says: "neither an address nor a network"},
		{text: "10.0.0.1:80", says: "neither an address nor a network"},
		{text: "[::1]", says: "neither an address nor a network"},
		{text: "fe80::1%eth0", says: "names an interface"},
		{text: "fe80::%eth0/10", says: "names an interface"},
		{text: "::ffff:127.0.0.1", says: "written as IPv6"},
		{text: "::ffff:0:0/96", says: "written as IPv6"},
		{text: "10.0.0.1 443, 80", says: "without spaces"},
		{text: "10.0.0.1 0", says: `"0" is no port`},
		{text: "10.0.0.1 65536", says: `"65536" is no port`},
		{text: "10.0.0.1 +1", says: `"+1" is no port`},
		{text: "10.0.0.1 -1", says: `"" is no port`},
		{text: "10.0.0.1 1-", says: `"" is no port`},
		{text: "10.0.0.1 1,", says: `"" is no port`},
		{text: "10.0.0.1 1-2-3", says: `"2-3" is no port`},
		{text: "10.0.0.1 http", says: `"http" is no port`},
		{text: "10.0.0.1 90-80", says: "write 80-90"},
	} {
		t.Run(c.text, func(t *testing.T) {
			r, err := ParseRule(c.text)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				assert.Zero(t, r)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, r.String())
		})
	}
}

func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "10.1.2.3 443,8000-8010", "::/0 443", "::ffff:1.2.3.4", "fe80::1%a 1", "1.2.3.4/00", "::1 1-2-3", "\u00a0::1\u20281"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "egress rule ") {
				t.Fatalf("the error does not say what it is about: %v", err)
			}
			return
		}
		if err := r.check(); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() || again.Prefix != r.Prefix {
			t.Fatalf("%q is %v, then %v: %v", text, r, again, err)
		}
	})
}

func TestPolicyThatCannotBe(t *testing.T) {
	good := func() Policy { return Policy{FirstUID: 1, LastUID: 2, Deny: rules(t, "10.0.0.0/8 1-2")} }
	require.NoError(t, good().check())
	for says, spoil := range map[string]func(*Policy){
		"would enclose root":   func(p *Policy) { p.FirstUID = 0 },
		"above the last":       func(p *Policy) { p.LastUID, p.FirstUID = 1, 2 },
		"stands for no user":   func(p *Policy) { p.LastUID = 1<<32 - 1 },
		"cannot be both":       func(p *Policy) { p.ControlPort, p.FunctionsPort = 80, 80 },
		"is for no network":    func(p *Policy) { p.Allow = []Rule{{}} },
		"are no range":         func(p *Policy) { p.Allow = []Rule{{Prefix: p.Deny[0].Prefix, Ports: []PortRange{{}}}} },
		"resolver has no":      func(p *Policy) { p.Resolvers = []netip.Addr{{}} },
		"1001 egress rules, a": func(p *Policy) { p.Allow = []Rule{{Prefix: p.Deny[0].Prefix, Ports: make([]PortRange, 1000)}}; fill(p) },
	} {
		t.Run(says, func(t *testing.T) {
			p := good()
			spoil(&p)
			assert.ErrorContains(t, p.check(), says)
		})
	}
}

func fill(p *Policy) {
	for i := range p.Allow[0].Ports {
		p.Allow[0].Ports[i] = PortRange{1, 2}
	}
}

func TestReadResolvers(t *testing.T) {
	local := []string{"127.0.0.1", "::1"}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":    {"", local},
		"no address": {"nameserver\nnameserver ns.example\nsearch 10.0.0.1\n", local},
		"comments":   {"# nameserver 10.0.0.1\n;nameserver 10.0.0.2\nnameserver 10.0.0.3 # x\n", []string{"10.0.0.3"}},
		"three":      {"nameserver 10.0.0.1\n  nameserver\t::1\nnameserver fe80::1%eth0\nnameserver 10.0.0.4\n", []string{"10.0.0.1", "::1", "fe80::1%eth0"}},
		"mapped":     {"nameserver ::ffff:10.0.0.1", []string{"10.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			for _, a := range readResolvers(strings.NewReader(c.text)) {
				found = append(found, a.String())
			}
			assert.Equal(t, c.want, found)
		})
	}
	assert.NotEmpty(t, Resolvers())
}

// rules parses each of the texts.
func rules(t *testing.T, texts ...string) []Rule {
	t.Helper()
	var list []Rule
	for _, text := range texts {
		r, err := ParseRule(text)
		require.NoError(t, err)
		list = append(list, r)
	}
	return list
}

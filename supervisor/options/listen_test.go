package options_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"penstock/supervisor/options"
)

func TestParseListenRules(t *testing.T) {
	rules, err := options.ParseListenRules([]string{"127.0.0.1:8080", "[::1]:8000-8099", "localhost:1-65535", "0.0.0.0:443"})
	require.NoError(t, err)
	var texts []string
	for _, r := range rules {
		texts = append(texts, r.String())
	}
	assert.Equal(t, []string{"127.0.0.1:8080", "[::1]:8000-8099", "127.0.0.1:1-65535", "0.0.0.0:443"}, texts)
	for _, none := range [][]string{nil, {"none"}} {
		rules, err = options.ParseListenRules(none)
		require.NoError(t, err)
		assert.Empty(t, rules)
	}
	for _, wrong := range []string{
		"", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:0-5", "127.0.0.1:9-8", "127.0.0.1:65536",
		"127.0.0.1:x", "example.com:80", "127.1:80", "[fe80::1%lo]:80", "*:80", "127.0.0.0/8:80", "127.0.0.1:1-2-3", "127.0.0.1:-5", "none:1",
	} {
		_, err := options.ParseListenRules([]string{wrong})
		assert.ErrorContains(t, err, `"`+wrong+`"`, wrong)
	}
	_, err = options.ParseListenRules([]string{"none", "127.0.0.1:80"})
	assert.Error(t, err)
}

func TestListenRuleAllows(t *testing.T) {
	allows := func(rules []options.ListenRule, at string) bool {
		for _, r := range rules {
			if r.Allows(netip.MustParseAddrPort(at)) {
				return true
			}
		}
		return false
	}
	for at, want := range map[string]bool{
		"127.0.0.1:1024": true, "127.3.2.1:65535": true, "[::1]:1024": true, "127.0.0.1:1023": false, "[::1]:80": false,
		"0.0.0.0:8080": false, "[::]:8080": false, "10.0.0.1:8080": false, "[::2]:8080": false,
	} {
		assert.Equal(t, want, allows(options.LoopbackListening(), at), at)
	}
	rules, err := options.ParseListenRules([]string{"0.0.0.0:8080-8081"})
	require.NoError(t, err)
	for at, want := range map[string]bool{
		"0.0.0.0:8080": true, "0.0.0.0:8081": true, "0.0.0.0:8082": false, "127.0.0.1:8080": false, "[::]:8080": false,
	} {
		assert.Equal(t, want, allows(rules, at), at)
	}
}

func TestListen(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", "localhost:8080": "127.0.0.1:8080", "'[::1]:8080'": "[::1]:8080",
		"'[::ffff:127.0.0.1]:08080'": "127.0.0.1:8080", "'[0:0::1]:8080'": "[::1]:8080",
	} {
		got, lints := parsed(t, "runtime: {http: {listen: "+text+"}}")
		assert.Empty(t, lints, text)
		assert.Equal(t, want, got.HTTP.Listen, text)
	}
	for text, want := range map[string]string{
		"127.0.0.1":           "1:26 field listen: expected host:port, such as 127.0.0.1:8080, got 127.0.0.1",
		"127.0.0.1:0":         "1:26 field listen: expected a port of 1 to 65535, got 0: callers have to know it, so that the kernel cannot choose one",
		"127.0.0.1:http":      "1:26 field listen: expected a port of 1 to 65535, got http: callers have to know it, so that the kernel cannot choose one",
		"':8080'":             `1:26 field listen: "" is no IP address: write one, such as 127.0.0.1 or [::1], or localhost`,
		"example.com:80":      `1:26 field listen: "example.com" is no IP address: write one, such as 127.0.0.1 or [::1], or localhost`,
		"'[fe80::1%lo]:8080'": `1:26 field listen: "fe80::1%lo" is no IP address: write one, such as 127.0.0.1 or [::1], or localhost`,
		"8080":                "1:26 field listen: expected string, got number 8080",
		"'${AT}'":             "1:26 field listen: ${AT} " + variable,
	} {
		_, lints := parsed(t, "runtime: {http: {listen: "+text+"}}")
		assert.Equal(t, []string{want}, lints, text)
	}
}

// What the supervisor does to a call cannot be had where it does not pass.
func TestListenBesideOthers(t *testing.T) {
	const why = ": not beside listen, whose calls do not pass the server, which is what keeps to it: leave one of the two out"
	for other, name := range map[string]string{
		"max_in_flight: 3": "max_in_flight", "timeout: 3s": "timeout", "async: true": "async", "callback: http://a/": "callback",
	} {
		_, lints := parsed(t, "runtime: {http: {listen: 127.0.0.1:8080, "+other+"}}")
		require.Len(t, lints, 1, other)
		assert.Contains(t, lints[0], "field "+name+why)
	}
	_, lints := parsed(t, "runtime: {http: {max_in_flight: 1, queue: 3, listen: 127.0.0.1:8080}}")
	assert.Len(t, lints, 2)
}

func TestListenWithinPolicy(t *testing.T) {
	block := func(text string) *yaml.Node {
		var doc yaml.Node
		require.NoError(t, yaml.Unmarshal([]byte("http: {listen: "+text+"}"), &doc))
		return doc.Content[0]
	}
	rules, err := options.ParseListenRules([]string{"127.0.0.1:8080-8081"})
	require.NoError(t, err)
	allowed := options.Allowed{RestrictListen: true, Listen: rules}
	_, lints := options.Parse(block("127.0.0.1:8081"), allowed)
	assert.Empty(t, lints)
	_, lints = options.Parse(block("127.0.0.1:8082"), allowed)
	require.Len(t, lints, 1)
	assert.Equal(t, "field listen: 127.0.0.1:8082 is not allowed here: the server's http.stream_listen allows 127.0.0.1:8080-8081", lints[0].Message)
	_, lints = options.Parse(block("127.0.0.1:8081"), options.Allowed{RestrictListen: true})
	require.Len(t, lints, 1)
	assert.Contains(t, lints[0].Message, "allows nothing")
}

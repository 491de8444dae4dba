package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// controlPaths are what manages streams and tells of them.
var controlPaths = []string{
	"/streams", "/streams/echo", "/streams/echo/status", "/streams/echo/stats", "/streams/echo/logs",
	"/streams/echo/revisions", "/resources", "/events", "/metrics", "/endpoints", "/ready", "/version",
	"/benthos/streams", "/nope",
}

// TestStrictFunctions: a stream calls another one through the server's own port,
// by whatever local address, and finds nothing else there.
func TestStrictFunctions(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			functionsAlone(t, listen)
		})
	}
}

func functionsAlone(t *testing.T, listen string) {
	p, n := startStrict(t, "--listen", listen)
	n.address("lo:1", hostAddress)
	port := p.Base[strings.LastIndexByte(p.Base, ':'):]
	p.expect(t, 200, "POST", "/streams/echo", echo("echo"))
	p.expect(t, 200, "POST", "/streams/post", callerYAML("POST", ""))
	p.expect(t, 200, "POST", "/streams/get", callerYAML("GET", ""))
	p.expect(t, 200, "POST", "/streams/delete", callerYAML("DELETE", ""))

	for _, host := range []string{"127.0.0.1", "localhost", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", hostAddress} {
		url := "http://" + host + port + "/echo/post"
		assert.Equal(t, "echo:"+url, called(t, p.client, "post", url))
		below := "http://" + host + port + "/benthos/echo/post"
		assert.Equal(t, "echo:"+below, called(t, p.client, "post", below), "below the root path")
		assert.Equal(t, "pong", called(t, p.client, "get", "http://"+host+port+"/ping"))
		for _, path := range controlPaths {
			assert.Contains(t, called(t, p.client, "get", "http://"+host+port+path), "(404)", "%s%s", host, path)
		}
	}
	for _, path := range []string{"/streams/echo", "/streams/echo?timeout=1s", "/benthos/streams/echo"} {
		assert.Contains(t, called(t, p.client, "delete", p.Base+path), "(404)", path)
	}
	assert.Contains(t, called(t, p.client, "post", p.Base+"/streams/echo/restart"), "(404)")
	assert.Contains(t, called(t, p.client, "get", p.Base+"/echo/post"), "(405)", "the stream itself answers")
	assert.EqualValues(t, 1, mustStatus(t, p.client, "echo").Revision)
	// What a stream says of who asked is not believed, though it comes from a host
	// whose proxies are.
	p.expect(t, 200, "POST", "/streams/tell", tellYAML)
	p.expect(t, 200, "POST", "/streams/forge", strings.Replace(callerYAML("GET", ""), "headers: {",
		"headers: {X-Forwarded-For: 192.0.2.1, X-Forwarded-Host: shop.example, X-Forwarded-Proto: https, ", 1))
	told := called(t, p.client, "forge", p.Base+"/tell/item/x")
	assert.Contains(t, told, `"X-Forwarded-Proto":"http"`)
	assert.NotContains(t, told, "192.0.2.1")
	assert.NotContains(t, told, "shop.example")
	// It is the streams' user that makes the difference.
	p.expect(t, 200, "GET", "/streams/echo/status", "")
}

// TestStrictFunctionsTokens: who may call a stream has to have a token, also
// when it is a stream; and no token opens more than functions to one.
func TestStrictFunctionsTokens(t *testing.T) {
	t.Parallel()
	const all, functions = "0perator", "f0r-calls"
	args := []string{"--listen", "0.0.0.0:0", "--set", "http.auth.token_file=" + writeFile(t, "all", all)}
	for name, c := range map[string]struct {
		args []string
		// opens says which tokens open functions.
		opens map[string]bool
	}{
		"one token":  {args, map[string]bool{"": false, functions: false, all: true}},
		"two tokens": {append(args, "--set", "http.auth.functions_token_file="+writeFile(t, "functions", functions)), map[string]bool{"": false, functions: true, all: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, n := startStrict(t, c.args...)
			n.address("lo:1", hostAddress)
			port := p.Base[strings.LastIndexByte(p.Base, ':'):]
			create := func(id, config string) {
				a, err := p.ask(t.Context(), request{
					Method: "POST", Path: "/streams/" + id, Body: config, Header: map[string]string{"Authorization": "Bearer " + all},
				})
				require.NoError(t, err)
				require.Equal(t, 200, a.Status, "%s", a)
			}
			create("echo", echo("echo"))
			for token, opens := range c.opens {
				create("caller", "runtime: {}"+callerYAML("POST", token))
				call := func(url string) string {
					a, err := p.ask(t.Context(), request{
						Method: "POST", Path: "/caller/post", Body: url, Header: map[string]string{"Authorization": "Bearer " + all},
					})
					require.NoError(t, err)
					require.Equal(t, 200, a.Status, "%s", a)
					return a.Text()
				}
				for _, host := range []string{"127.0.0.1", "[::1]", hostAddress} {
					url := "http://" + host + port
					if opens {
						assert.Equal(t, "echo:"+url+"/echo/post", call(url+"/echo/post"), "the token %q", token)
						assert.Contains(t, call(url+"/streams/echo/restart"), "(404)", "the token %q", token)
					} else {
						assert.Contains(t, call(url+"/echo/post"), "(401)", "the token %q", token)
						assert.Contains(t, call(url+"/streams/echo/restart"), "(401)", "the token %q", token)
					}
				}
				a, err := p.ask(t.Context(), request{
					Method: http.MethodDelete, Path: "/streams/caller", Header: map[string]string{"Authorization": "Bearer " + all},
				})
				require.NoError(t, err)
				require.Equal(t, 200, a.Status, "%s", a)
			}
		})
	}
}

// TestStrictWalkthrough is upstream's guide, in which one stream pulls what
// another one serves.
func TestStrictWalkthrough(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	p.expect(t, 200, "POST", "/streams/foo", walkthroughFoo)
	said, err := throughFoo(t.Context(), p.client, `{"user":{"id":"foo"},"body":{"content":"bar"}}`)
	require.NoError(t, err)
	assert.Equal(t, `post 200, get 200 {"content":"bar","id":"foo"}`, said)
	p.expect(t, 200, "POST", "/streams?timeout=1s", walkthroughSet)
	said, err = throughBaz(t.Context(), p.client)
	require.NoError(t, err)
	assert.Equal(t, "received", said)
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	assert.Len(t, list, 2, fmt.Sprint(list))
}

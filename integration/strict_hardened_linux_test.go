package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStrictHardened: the config for hosts of strangers serves the examples, as
// they are, once the operator allows the address of one, and closes what it says it closes.
func TestStrictHardened(t *testing.T) {
	t.Parallel()
	needRoot(t)
	n := newNetns(t)
	n.address("lo:1", hostAddress)
	n.address("lo:2", "192.168.7.7")
	service, calls := n.serve("127.0.0.1:0", "a service of the host")
	private, privateCalls := n.serve("192.168.7.7:0", "a service of the network around it")
	p := startPenstockIn(t, withEnv{n, someEnv},
		"--set", "http.stream_listen=['"+documentedOwn+"']",
		"--config", filepath.Join(repo, "configs", "hardened.yaml"), "-r", filepath.Join(repo, "configs", "resources", "*.yaml"),
		"-t", filepath.Join(repo, "configs", "templates", "*.yaml"),
		filepath.Join(repo, "configs", "examples"))
	list, err := listStreams(t.Context(), p.client)
	require.NoError(t, err)
	users := map[uint32]bool{}
	for id := range list {
		awaitState(t, p.client, id, "running")
		s := strictly(t, p.client, id)
		assertConfined(t, s)
		users[s.Sandbox.UID] = true
		assertNoSecret(t, p, id)
		limits := assertEnforced(t, p.server, id).Isolation.Limits
		assert.NotZero(t, limits.Memory, id)
		assert.NotZero(t, limits.CPU, id)
		assert.NotZero(t, limits.PIDs, id)
		assert.NotZero(t, limits.NoFile, id)
		assert.NotZero(t, limits.Disk, id)
	}
	assert.Len(t, users, len(list), "each has a user of its own")
	require.GreaterOrEqual(t, len(list), 7, "examples")

	post := func(id, body string) string {
		t.Helper()
		return p.expect(t, 200, "POST", "/"+id+"/post", body).Text()
	}
	assert.Equal(t, "HELLO", post("uppercase", "hello"))
	assert.Equal(t, post("caching", "seat 12"), post("caching", "seat 12"))
	assert.Equal(t, `{"on it":"fire"}`, post("router", `{"priority":"urgent","text":"fire"}`))
	assert.JSONEq(t, `{"square":4}`, post("steady", `{"n":2}`))
	post("queue", `{"user":"ann"}`)
	assert.Contains(t, p.expect(t, 200, "GET", "/queue/get", "").Text(), `"user":"ann"`)
	// What they keep in /tmp is in one of their own.
	post("files", `{"item":"tea","price":4,"count":3}`)
	orders := "tmp/penstock-orders.ndjson"
	assert.Equal(t, `{"count":3,"item":"tea","price":4,"total":12}`+"\n",
		readText(t, procFile(strictly(t, p.client, "files").PID, "root/"+orders)))
	assert.NoFileExists(t, procFile(strictly(t, p.client, "router").PID, "root/"+orders))
	assert.Contains(t, p.expect(t, 200, "GET", "/streams/heartbeat/logs", "").Text(), "of penstock", "the host's name is not theirs to know")

	p.expect(t, 200, "POST", "/streams/caller", callerYAML("POST", ""))
	assert.Equal(t, strings.ToUpper(p.Base+"/uppercase/post"), called(t, p.client, "caller", p.Base+"/uppercase/post"))
	for _, address := range []string{service, private} {
		assert.Contains(t, called(t, p.client, "caller", "http://"+address), "connection refused")
	}
	assert.Zero(t, calls.Load()+privateCalls.Load())
	for name, c := range deniedConfigs {
		if strings.HasPrefix(name, "processor") {
			assertLint(t, c.lint, p.expect(t, 400, "POST", "/streams/denied", c.config))
		}
	}
	a := p.expect(t, 400, "POST", "/streams/denied", "runtime: {sandbox: {read: [/etc]}, limits: {memory: 8GiB}}\n"+echo("x"))
	assert.Contains(t, a.Text(), "on this server no path is")
	assert.Contains(t, a.Text(), "above this server's ceiling, 1GiB")
}

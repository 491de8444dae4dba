package integration

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStrictOwnListener: under strict nobody listens unless the operator says so,
// and then callers are answered though streams may connect nowhere.
func TestStrictOwnListener(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	a := p.expect(t, 400, "POST", "/streams/a", listening("a", "127.0.0.1:8080"))
	assert.Contains(t, a.Text(), "http.stream_listen allows nothing")

	const inner, outer = "127.0.0.1:8080", hostAddress + ":8081"
	p, n := startStrict(t, "--set", "http.stream_listen=['"+inner+"', '"+outer+"']", "--set", "isolation.egress.default=deny")
	n.address("lo:1", hostAddress)
	for _, address := range []string{inner, outer} {
		id := "at" + address[len(address)-1:]
		caller := newClientIn(n, "http://"+address)
		caller.http.Transport.(*http.Transport).DisableKeepAlives = true
		p.expect(t, 200, "POST", "/streams/"+id, listening("a", address))
		assert.Equal(t, "a:x", caller.expect(t, 200, "POST", "/post", "x").Text())
		p.expect(t, 200, "PUT", "/streams/"+id, listening("b", address))
		assert.Equal(t, "b:x", caller.expect(t, 200, "POST", "/post", "x").Text())
		require.NoError(t, syscall.Kill(mustStatus(t, p.client, id).PID, syscall.SIGKILL))
		assert.Equal(t, "b:x", caller.expect(t, 200, "POST", "/post", "x").Text())
	}
	// A stream reaches another's listener no more than anything else here.
	p.expect(t, 200, "POST", "/streams/caller", callerYAML("POST", ""))
	assert.NotContains(t, called(t, p.client, "caller", "http://"+inner+"/post"), "b:")
}

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// originOf is what a stream was told of a request's origin: who, which host and
// which protocol.
func originOf(t *testing.T, c *client, head string) [3]string {
	t.Helper()
	w := dialWire(t, c)
	w.send(t, crlf(head+"\n"))
	a := w.mustAnswer(t, http.MethodGet)
	require.Equal(t, http.StatusOK, a.Status, "%s", a)
	var told struct{ Meta map[string]any }
	require.NoError(t, json.Unmarshal(a.Body, &told), "%s", a)
	var got [3]string
	for i, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		got[i] = fmt.Sprint(told.Meta[name])
	}
	return got
}

// A proxy that is trusted is believed, and what anybody else says is replaced.
func TestFunctionsForwarded(t *testing.T) {
	t.Parallel()
	const (
		forged = "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Host: shop.example\nX-Forwarded-Proto: https\n"
		get    = "GET /tell/item/x HTTP/1.1\nHost: here\n"
	)
	plain := [3]string{"127.0.0.1", "here", "http"}
	for name, test := range map[string]struct {
		args []string
		head string
		want [3]string
	}{
		"nothing":                 {nil, get, plain},
		"a proxy on the host":     {nil, get + forged, [3]string{"192.0.2.1, 127.0.0.1", "shop.example", "https"}},
		"two proxies":             {nil, get + "X-Forwarded-For: 192.0.2.1, 192.0.2.2\nX-Forwarded-For: 192.0.2.3\n", [3]string{"192.0.2.1, 192.0.2.2, 192.0.2.3, 127.0.0.1", "here", "http"}},
		"in small letters":        {[]string{"--set", "http.trusted_proxies=[]"}, get + strings.ToLower(forged), plain},
		"one that nobody trusts":  {[]string{"--set", "http.trusted_proxies=[]"}, get + forged, plain},
		"one of another network":  {[]string{"--set", "http.trusted_proxies=[10.0.0.0/8]"}, get + forged, plain},
		"an address":              {[]string{"--set", "http.trusted_proxies=[127.0.0.1]"}, get + forged, [3]string{"192.0.2.1, 127.0.0.1", "shop.example", "https"}},
		"named as a connection's": {[]string{"--set", "http.trusted_proxies=[]"}, get + forged + "Connection: X-Forwarded-For\n", plain},
		"a whole URL":             {nil, "GET http://named.example/tell/item/x HTTP/1.1\nHost: here\n", [3]string{"127.0.0.1", "named.example", "http"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPenstock(t, test.args...)
			p.expect(t, http.StatusOK, http.MethodPost, "/streams/tell", tellYAML)
			assert.Equal(t, test.want, originOf(t, p.client, test.head))
		})
	}
}

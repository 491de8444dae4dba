package integration

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delivered is a callback as it arrived.
type delivered struct {
	Header http.Header
	Body   string
}

// hooks is a server that callbacks are sent to.
type hooks struct {
	*httptest.Server
	// status is what it answers.
	status atomic.Int32
	tries  atomic.Int32

	mu  sync.Mutex
	all []delivered
}

func startHooks(t testing.TB) *hooks {
	t.Helper()
	h := &hooks{}
	h.status.Store(http.StatusOK)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.tries.Add(1)
		status := int(h.status.Load())
		if status/100 == 2 {
			h.mu.Lock()
			h.all = append(h.all, delivered{r.Header, string(body)})
			h.mu.Unlock()
		}
		w.Header().Set("Location", h.URL+"/elsewhere")
		w.WriteHeader(status)
	}))
	t.Cleanup(h.Close)
	return h
}

// nth waits for a number of callbacks and returns the last.
func (h *hooks) nth(t testing.TB, n int) delivered {
	t.Helper()
	var last delivered
	await(t, soonTimeout, fmt.Sprintf("callback %d", n), func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.all) < n {
			return fmt.Errorf("there are %d", len(h.all))
		}
		last = h.all[n-1]
		return nil
	})
	return last
}

// to is the header that asks for a callback.
func (h *hooks) to() string { return "X-Penstock-Callback-Url: " + h.URL + "/done" }

// callbackEnded waits for the end of the callback of a call.
func callbackEnded(t testing.TB, c *client, id string) asyncCall {
	t.Helper()
	var call asyncCall
	await(t, soonTimeout, "the end of the callback of "+id, func() error {
		call = callEnded(t, c, id)
		if call.Callback.Status == "pending" {
			return fmt.Errorf("it is %+v", call.Callback)
		}
		return nil
	})
	return call
}

func TestAsyncCallback(t *testing.T) {
	t.Parallel()
	h := startHooks(t)
	const secret = "a secret of many letters"
	p := startPenstock(t, "--set", "calls.callbacks.allow=[127.0.0.1]", "--set", "calls.callbacks.backoff.initial=20ms",
		"--set", "calls.callbacks.secret_file="+writeFile(t, "secret", secret+"\n"), "--set", "calls.timeout=1s", "--set", "calls.attempts=1",
		"--set", "timeouts.shutdown=1s")
	p.expect(t, 200, "POST", "/streams/say", fmt.Sprintf(sayID, "say"))

	h.status.Store(http.StatusInternalServerError)
	call := submit(t, p.client, "/say/post", "hello", h.to())
	await(t, soonTimeout, "three attempts in vain", func() error {
		if n := h.tries.Load(); n < 3 {
			return fmt.Errorf("there were %d", n)
		}
		return nil
	})
	pending := callEnded(t, p.client, call.ID)
	assert.Equal(t, "pending", pending.Callback.Status)
	assert.Equal(t, "it was answered 500", pending.Callback.Reason)
	h.status.Store(http.StatusFound)
	tries := h.tries.Load()
	await(t, soonTimeout, "an attempt that is redirected", func() error {
		if h.tries.Load() < tries+1 {
			return fmt.Errorf("there was none")
		}
		return nil
	})
	h.status.Store(http.StatusNoContent)
	got := h.nth(t, 1)
	assert.Equal(t, "say("+call.ID+",1):hello", got.Body)
	for name, want := range map[string]string{
		"X-Penstock-Call-Id": call.ID, "X-Penstock-Stream": "say", "X-Penstock-Call-Status": "done", "X-Function-Status": "200",
		"X-Call-Id": call.ID, "X-Function-Name": "say",
	} {
		assert.Equal(t, want, got.Header.Get(name), name)
	}
	assert.NotEmpty(t, got.Header.Get("X-Duration-Seconds"))
	assert.NotEmpty(t, got.Header.Get("Content-Type"))
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", call.ID, got.Header.Get("X-Penstock-Timestamp"), got.Body)
	assert.Equal(t, "sha256="+hex.EncodeToString(mac.Sum(nil)), got.Header.Get("X-Penstock-Signature"))
	after := callbackEnded(t, p.client, call.ID)
	assert.Equal(t, "delivered", after.Callback.Status)
	assert.Greater(t, after.Callback.Attempts, 3)
	assert.Empty(t, after.Result.Location)
	assert.Contains(t, p.expect(t, 410, "GET", call.Location+"/result", "").Text(), "delivered")

	p.expect(t, 200, "POST", "/streams/slow", slowly("1h"))
	failed := submit(t, p.client, "/slow/post", "x", h.to())
	got = h.nth(t, 2)
	assert.Equal(t, failed.ID, got.Header.Get("X-Penstock-Call-Id"))
	assert.Equal(t, "failed", got.Header.Get("X-Penstock-Call-Status"))
	assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
	assert.Contains(t, got.Body, "calls.timeout")
	// The receiver has it a moment before its answer is counted.
	await(t, soonTimeout, "the second callback to be counted", func() error {
		text := p.expect(t, 200, "GET", "/metrics", "").Text()
		if !strings.Contains(text, `penstock_callbacks_total{result="delivered"} 2`) {
			return errors.New("it is not")
		}
		return nil
	})
}

func TestAsyncCallbackIsGivenUp(t *testing.T) {
	t.Parallel()
	h := startHooks(t)
	h.status.Store(http.StatusTeapot)
	p := startPenstock(t, "--set", "calls.callbacks.allow=[127.0.0.1/32]", "--set", "calls.callbacks.backoff.initial=10ms", "--set", "calls.callbacks.attempts=2")
	p.expect(t, 200, "POST", "/streams/say", echo("say")+"runtime: {http: {callback: '"+h.URL+"'}}\n")
	call := callbackEnded(t, p.client, submit(t, p.client, "/say/post", "hello").ID)
	assert.Equal(t, "failed", call.Callback.Status)
	assert.Equal(t, "it was answered 418", call.Callback.Reason)
	assert.EqualValues(t, 2, h.tries.Load())
	assert.Equal(t, "say:hello", p.expect(t, 200, "GET", call.Result.Location, "").Text(), "it can be fetched still")
}

// Nothing is sent to where the operator has not said that it may be.
func TestAsyncCallbacksAreKeptIn(t *testing.T) {
	t.Parallel()
	h := startHooks(t)
	_, port, err := net.SplitHostPort(h.Listener.Addr().String())
	require.NoError(t, err)
	refusals := func(p *penstock, status int, urls ...string) {
		p.expect(t, 200, "POST", "/streams/say", echo("say"))
		for _, u := range urls {
			a := askAsync(t, p.client, "/say/post", "x", "X-Penstock-Callback-Url: "+u)
			assert.Equal(t, status, a.Status, "%s: %s", u, a)
		}
	}
	metadata := []string{
		h.URL, "http://127.0.0.1:" + port + "/", "http://localhost:" + port + "/", "http://169.254.169.254/latest/meta-data/", "http://[::1]:" + port + "/",
		"http://[::ffff:127.0.0.1]:" + port + "/", "http://0.0.0.0:" + port + "/", "http://2130706433:" + port + "/", "http://127.1:" + port + "/",
		"http://0x7f000001:" + port + "/", "http://[fd00:ec2::254]/", "https://example.com/",
	}
	t.Run("by default", func(t *testing.T) {
		p := startPenstock(t)
		refusals(p, 403, metadata...)
		p.expect(t, 200, "DELETE", "/streams/say", "")
		refusals(p, 400, "file:///etc/passwd", "gopher://127.0.0.1/", "http://", "//127.0.0.1/", "http://user:pw@127.0.0.1/", "x", "http://a/#b", "http://a:99999/")
	})
	t.Run("a name is not an address", func(t *testing.T) {
		// localhost is one that resolves to loopback.
		p := startPenstock(t, "--set", "calls.callbacks.allow=[localhost, 192.0.2.0/24]")
		p.expect(t, 200, "POST", "/streams/say", echo("say"))
		for _, u := range []string{"http://localhost:" + port + "/", "http://LOCALHOST:" + port + "/"} {
			call := callbackEnded(t, p.client, submit(t, p.client, "/say/post", "x", "X-Penstock-Callback-Url: "+u).ID)
			assert.Equal(t, "failed", call.Callback.Status, u)
			assert.Equal(t, 1, call.Callback.Attempts, "it would be refused each time")
			assert.Contains(t, call.Callback.Reason, "the address it resolves to")
		}
		p.expect(t, 200, "DELETE", "/streams/say", "")
		refusals(p, 403, h.URL, "http://169.254.169.254/", "http://[::1]/")
	})
	t.Run("a prefix of URLs", func(t *testing.T) {
		p := startPenstock(t, "--set", "calls.callbacks.allow=["+h.URL+"/hooks/]")
		refusals(p, 403, h.URL, h.URL+"/hooks", h.URL+"/other/", h.URL+"/hooks%2f", strings.Replace(h.URL, port, "1", 1)+"/hooks/", "https"+strings.TrimPrefix(h.URL, "http")+"/hooks/")
		p.expect(t, 200, "DELETE", "/streams/say", "")
		refusals(p, 400, h.URL+"/hooks/../other", h.URL+"/hooks/%2e%2e/other")
		assert.Zero(t, h.tries.Load())
		call := callbackEnded(t, p.client, submit(t, p.client, "/say/post", "x", "X-Penstock-Callback-Url: "+h.URL+"/hooks/1?a=b").ID)
		assert.Equal(t, "delivered", call.Callback.Status)
	})
}

func TestAsyncRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	inner := startHooks(t)
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusTemporaryRedirect))
	t.Cleanup(outer.Close)
	p := startPenstock(t, "--set", "calls.callbacks.allow=[127.0.0.1]", "--set", "calls.callbacks.attempts=1")
	p.expect(t, 200, "POST", "/streams/say", echo("say"))
	call := callbackEnded(t, p.client, submit(t, p.client, "/say/post", "x", "X-Penstock-Callback-Url: "+outer.URL).ID)
	assert.Equal(t, "failed", call.Callback.Status)
	assert.Contains(t, call.Callback.Reason, "redirects are not followed")
	assert.Zero(t, inner.tries.Load())
}

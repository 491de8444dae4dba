package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requestTimeout bounds every request of the helpers, its answer's body
// included.
const requestTimeout = 30 * time.Second

// answer is a whole HTTP response.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// String is the answer on one line, cut to a readable length.
func (a answer) String() string {
	body := strings.TrimSpace(string(a.Body))
	if len(body) > 600 {
		body = fmt.Sprintf("%s… (%d bytes)", body[:600], len(a.Body))
	}
	return fmt.Sprintf("%d %s %q", a.Status, a.Header.Get("Content-Type"), body)
}

// Text is the body without the white space around it.
func (a answer) Text() string { return strings.TrimSpace(string(a.Body)) }

// MediaType is the Content-Type without its parameters.
func (a answer) MediaType() string {
	m, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	return m
}

// JSON decodes the body as whatever JSON value it is.
func (a answer) JSON() (any, error) {
	var v any
	if err := json.Unmarshal(a.Body, &v); err != nil {
		return nil, fmt.Errorf("not JSON: %w: %s", err, a)
	}
	return v, nil
}

// baseURL in a request's body stands for the address of the server asked.
const baseURL = "{{base}}"

// request is what ask sends. The zero value of a field sends none.
type request struct {
	Method, Path, Body string
	Header             map[string]string
	// Keep, if set, is how many bytes of the answer's body are kept; the rest is
	// read and dropped.
	Keep int64
}

// client speaks to one server. Connections are not shared between clients, so
// that closing one leaves nothing of it open.
type client struct {
	// Base is the server's address, http://host:port.
	Base string
	http *http.Client
}

func newClient(base string) *client { return newClientIn(host{}, base) }

func newClientIn(where place, base string) *client {
	return &client{Base: base, http: &http.Client{
		// DisableCompression has the answers arrive as they were sent.
		Transport: &http.Transport{DisableCompression: true, DialContext: where.dial},
		Timeout:   requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// ask sends a request and reads the whole answer; an error means that there
// was none. baseURL in the body becomes the server's address.
func (c *client) ask(ctx context.Context, r request) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, c.Base+r.Path, strings.NewReader(strings.ReplaceAll(r.Body, baseURL, c.Base)))
	if err != nil {
		return answer{}, err
	}
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	said := answer{Status: res.StatusCode, Header: res.Header}
	if r.Keep == 0 {
		said.Body, err = io.ReadAll(res.Body)
		return said, err
	}
	if said.Body, err = io.ReadAll(io.LimitReader(res.Body, r.Keep)); err == nil {
		_, err = io.Copy(io.Discard, res.Body)
	}
	return said, err
}

// call is ask for the test's own goroutine: no answer fails the test.
func (c *client) call(t testing.TB, method, path, body string) answer {
	t.Helper()
	a, err := c.ask(t.Context(), request{Method: method, Path: path, Body: body})
	require.NoError(t, err, "%s %s", method, path)
	return a
}

// expect is call that also requires the status.
func (c *client) expect(t testing.TB, status int, method, path, body string) answer {
	t.Helper()
	a := c.call(t, method, path, body)
	require.Equal(t, status, a.Status, "%s %s answered %s", method, path, a)
	return a
}

// getJSON decodes the 200 answer of a GET into v.
func (c *client) getJSON(t testing.TB, path string, v any) {
	t.Helper()
	a := c.expect(t, http.StatusOK, http.MethodGet, path, "")
	require.NoError(t, json.NewDecoder(bytes.NewReader(a.Body)).Decode(v), "GET %s answered %s", path, a)
}

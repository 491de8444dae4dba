package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// client asks a server by HTTP, as anybody could.
type client struct {
	base      string
	tokenFile string
	// timeout bounds one answer.
	timeout time.Duration
	http    *http.Client
}

// register adds the flags that say where the server is.
func (c *client) register(flags *pflag.FlagSet) {
	flags.StringVar(&c.base, "url", "http://127.0.0.1:4195", "the server (`URL`)")
	flags.StringVar(&c.tokenFile, "token-file", "", "`FILE` that holds the server's bearer token, if it asks for one")
	// A transport of its own, since the default one obeys HTTP_PROXY.
	c.http = &http.Client{Transport: &http.Transport{}}
}

// refusedError is an answer that is not the one that was asked for.
type refusedError struct {
	status int
	text   string
	// tokenFile is where the token that was sent is from, empty for none.
	tokenFile string
}

// Error is what the server says, and what to do about a token.
func (e *refusedError) Error() string {
	text := fmt.Sprintf("the server answers %d: %s", e.status, e.text)
	switch {
	case e.status != http.StatusUnauthorized:
	case e.tokenFile == "":
		text += ": name the file that holds it by --token-file"
	default:
		text += fmt.Sprintf(": --token-file %s holds another one", e.tokenFile)
	}
	return text
}

// endpoint is the URL of a path of the server at base, as --url has it.
func endpoint(base, path string) (string, error) {
	server, err := url.Parse(base)
	switch {
	case !strings.Contains(base, "://"):
		// It may be a URL of another kind: localhost:4195 has a scheme.
		return "", fmt.Errorf("--url %q is no URL of a server: write http://%s", base, cmp.Or(base, "HOST:PORT"))
	case err != nil:
		return "", fmt.Errorf("--url %q is no URL: %w", base, errors.Unwrap(err))
	case server.Scheme != "http" && server.Scheme != "https", server.Host == "":
		return "", fmt.Errorf("--url %q is no URL of a server: write http://HOST:PORT", base)
	}
	return server.JoinPath(path).String(), nil
}

// positive says that a --timeout leaves time for anything.
func positive(timeout time.Duration) error {
	if timeout <= 0 {
		return fmt.Errorf("--timeout is %s: it must be longer than 0", timeout)
	}
	return nil
}

// answerBytes bounds what is read of an answer.
const answerBytes = 64 << 20

// call makes a request and decodes the answer's JSON into a value that is not
// nil. The error is a *refusedError for a status other than 200.
func (c *client) call(ctx context.Context, method, path string, into any) error {
	target, err := endpoint(c.base, path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return fmt.Errorf("making the request %s %s: %w", method, target, err)
	}
	if c.tokenFile != "" {
		token, err := os.ReadFile(c.tokenFile)
		if err != nil {
			return fmt.Errorf("cannot read --token-file: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytes))
	if err != nil {
		return fmt.Errorf("the answer to %s %s broke off: %w", method, target, err)
	}
	if resp.StatusCode != http.StatusOK {
		return &refusedError{resp.StatusCode, strings.Join(strings.Fields(string(body)), " "), c.tokenFile}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s %s answers with something else: is that a Penstock of this version? %w", method, target, err)
	}
	return nil
}

// gone says that the server has no such stream.
func gone(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.status == http.StatusNotFound
}

// stream is the path of a stream.
func streamPath(id, what string) string { return "/streams/" + url.PathEscape(id) + what }

package main

import (
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
}

// Error is what the server says.
func (e *refusedError) Error() string {
	return fmt.Sprintf("the server answers %d: %s", e.status, e.text)
}

// answerBytes bounds what is read of an answer.
const answerBytes = 64 << 20

// call makes a request and decodes the answer's JSON into a value that is not
// nil. The error is a *refusedError for a status other than 200.
func (c *client) call(ctx context.Context, method, path string, into any) error {
	target, err := url.JoinPath(c.base, path)
	if err != nil {
		return fmt.Errorf("--url %q is no URL: %w", c.base, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return fmt.Errorf("--url %q is no URL: %w", c.base, err)
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
		return &refusedError{resp.StatusCode, strings.Join(strings.Fields(string(body)), " ")}
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

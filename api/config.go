package api

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"penstock/supervisor/options"
)

// Config is what an operator may set of the HTTP server. The zero value is
// not usable: start from DefaultConfig.
type Config struct {
	// Listen is the host:port to serve on. Port 0 lets the kernel choose.
	Listen string `yaml:"listen"`
	// RootPath is a prefix below which every route answers as well, as
	// upstream's `http.root_path`. Empty switches that off.
	RootPath string `yaml:"root_path"`
	// MaxBodyBytes is the largest config the API reads; above it the answer is
	// 413. Requests to a stream's own endpoints are not limited by it.
	MaxBodyBytes int `yaml:"max_body_bytes"`
	// Auth protects every route but /ping.
	Auth Auth `yaml:"auth"`
	// TrustedProxies are the addresses, or prefixes such as 10.0.0.0/8, whose
	// word counts for who the client is: their X-Forwarded-For is added to, and
	// their X-Forwarded-Host and -Proto are passed on. Those of everybody else
	// are replaced.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// StreamListen is where streams may listen themselves, for callers who give
	// no token: an address with a port or a range of them, or the one word none.
	// Empty is loopback addresses with the ports from 1024, and nothing under the
	// profile strict.
	StreamListen []string `yaml:"stream_listen"`
}

// Auth says who may call the server.
type Auth struct {
	// TokenFile is a file holding one bearer token, which opens every route.
	// Empty means no authentication, which only a loopback address may have.
	TokenFile string `yaml:"token_file"`
	// FunctionsTokenFile is a file holding another bearer token, which opens
	// the streams' own endpoints and nothing else, for those who may call
	// streams but not manage them. It needs TokenFile. Empty means that there
	// is none.
	FunctionsTokenFile string `yaml:"functions_token_file"`
}

// DefaultConfig returns the configuration upstream's clients expect.
func DefaultConfig() Config {
	return Config{
		Listen:       "127.0.0.1:4195",
		RootPath:     "/benthos",
		MaxBodyBytes: 4 << 20,
		// A proxy in front is mostly on the same host.
		TrustedProxies: []string{"127.0.0.0/8", "::1/128"},
	}
}

// Validate reports every setting that is out of range, by its key.
func (c *Config) Validate() error {
	var errs []error
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("http.listen %q is not host:port: %w", c.Listen, err))
	case c.Auth.TokenFile == "" && !loopback(host):
		errs = append(errs, fmt.Errorf(
			"http.listen %q can be reached from other hosts: set http.auth.token_file, or listen on 127.0.0.1", c.Listen))
	}
	if c.RootPath != "" && (!strings.HasPrefix(c.RootPath, "/") || strings.HasSuffix(c.RootPath, "/")) {
		errs = append(errs, fmt.Errorf("http.root_path %q must start with a slash and not end with one", c.RootPath))
	}
	switch token, functions := c.Auth.TokenFile, c.Auth.FunctionsTokenFile; {
	case functions == "":
	case token == "":
		errs = append(errs, errors.New(
			"http.auth.functions_token_file is set and http.auth.token_file is not: without the latter every route is open to everybody"))
	case functions == token:
		errs = append(errs, fmt.Errorf(
			"http.auth.functions_token_file is %q, and so is http.auth.token_file: put another token into a file of its own", functions))
	}
	if c.MaxBodyBytes < 1 {
		errs = append(errs, fmt.Errorf("http.max_body_bytes is %d: it must be at least 1", c.MaxBodyBytes))
	}
	if _, err := c.trusted(); err != nil {
		errs = append(errs, err)
	}
	if _, err := options.ParseListenRules(c.StreamListen); err != nil {
		errs = append(errs, fmt.Errorf("http.stream_listen: %w", err))
	}
	return errors.Join(errs...)
}

// trusted reads TrustedProxies.
func (c *Config) trusted() ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(c.TrustedProxies))
	for _, text := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil {
			prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("http.trusted_proxies: %q is no address and no prefix such as 10.0.0.0/8", text)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

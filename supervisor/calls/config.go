package calls

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"penstock/supervisor/options"
)

// Config is what an operator may set of asynchronous calls. The zero value is
// not usable: start from DefaultConfig.
type Config struct {
	// MaxBody is the largest body of a call, 1KiB to 64MiB.
	MaxBody options.Bytes `yaml:"max_body"`
	// MaxResult is the largest body of an answer that is kept, 1KiB to 64MiB. A
	// call whose answer is larger has failed.
	MaxResult options.Bytes `yaml:"max_result"`
	// Storage is what all calls may take together, StreamStorage those of one
	// stream. Each has room for the largest call and the largest result.
	Storage       options.Bytes `yaml:"storage"`
	StreamStorage options.Bytes `yaml:"stream_storage"`
	// Queue is how many calls of one stream may wait, 1 to 1000000.
	Queue int `yaml:"queue"`
	// Concurrency is how many calls of one stream are carried out at the same
	// time, 1 to 1000.
	Concurrency int `yaml:"concurrency"`
	// Timeout bounds one attempt, at least 1ms.
	Timeout time.Duration `yaml:"timeout"`
	// Attempts is how many may fail before the call has, 1 to 1000.
	Attempts int `yaml:"attempts"`
	// Backoff is the pause between attempts.
	Backoff Backoff `yaml:"backoff"`
	// MaxAge is how long a call may wait for its stream, at least 1s.
	MaxAge time.Duration `yaml:"max_age"`
	// Keep is how long a result is kept after the call has ended, at least 1s.
	Keep time.Duration `yaml:"keep"`
	// Callbacks are how results are delivered.
	Callbacks Callbacks `yaml:"callbacks"`
}

// Backoff is the pause between attempts: Initial after the first, doubling up to
// Max, give or take a quarter. Initial is at least 1ms and not above Max.
type Backoff struct {
	Initial time.Duration `yaml:"initial"`
	Max     time.Duration `yaml:"max"`
}

// Callbacks are how results are delivered.
type Callbacks struct {
	// Allow says where callbacks may go; see the package documentation of its
	// forms in allow.go. Empty refuses every callback.
	Allow []string `yaml:"allow"`
	// SecretFile holds the secret that callbacks are signed with. Empty signs none.
	SecretFile string `yaml:"secret_file"`
	// Timeout bounds one attempt, at least 1ms.
	Timeout time.Duration `yaml:"timeout"`
	// Attempts is how many may fail before the callback has, 1 to 1000.
	Attempts int `yaml:"attempts"`
	// Backoff is the pause between attempts.
	Backoff Backoff `yaml:"backoff"`
	// MaxAge is how long after its call has ended a callback is given up, at
	// least 1s.
	MaxAge time.Duration `yaml:"max_age"`
	// Concurrency is how many callbacks of one stream are made at the same time,
	// 1 to 1000.
	Concurrency int `yaml:"concurrency"`
}

const (
	mebibyte = 1 << 20
	leastMax = 1 << 10
	mostMax  = 64 * mebibyte
	// leastSecret keeps a secret from being guessed.
	leastSecret = 16
)

// DefaultConfig returns the configuration of a server that was told nothing.
func DefaultConfig() Config {
	return Config{
		MaxBody:       mebibyte,
		MaxResult:     mebibyte,
		Storage:       512 * mebibyte,
		StreamStorage: 128 * mebibyte,
		Queue:         10_000,
		Concurrency:   4,
		Timeout:       5 * time.Minute,
		Attempts:      5,
		Backoff:       Backoff{Initial: 500 * time.Millisecond, Max: 30 * time.Second},
		MaxAge:        24 * time.Hour,
		Keep:          time.Hour,
		Callbacks: Callbacks{
			Timeout:     10 * time.Second,
			Attempts:    10,
			Backoff:     Backoff{Initial: time.Second, Max: 5 * time.Minute},
			MaxAge:      24 * time.Hour,
			Concurrency: 4,
		},
	}
}

// Validate reports every setting that is out of range, by its key.
func (c *Config) Validate() []error {
	var errs []error
	for _, s := range []struct {
		key  string
		size options.Bytes
	}{{"calls.max_body", c.MaxBody}, {"calls.max_result", c.MaxResult}} {
		if s.size < leastMax || s.size > mostMax {
			errs = append(errs, fmt.Errorf("%s is %s: it must be 1KiB to 64MiB", s.key, s.size))
		}
	}
	// Headers and the path of a request are bounded by the server.
	if least := c.MaxBody + c.MaxResult + mebibyte; c.StreamStorage < least {
		errs = append(errs, fmt.Errorf("calls.stream_storage is %s: it must be at least %s, for one call of calls.max_body and one result of calls.max_result with their headers", c.StreamStorage, least))
	}
	if c.Storage < c.StreamStorage {
		errs = append(errs, fmt.Errorf("calls.storage is %s: it must be at least calls.stream_storage, %s", c.Storage, c.StreamStorage))
	}
	for _, n := range []struct {
		key       string
		got, most int
	}{
		{"calls.queue", c.Queue, 1_000_000},
		{"calls.concurrency", c.Concurrency, 1000},
		{"calls.attempts", c.Attempts, 1000},
		{"calls.callbacks.attempts", c.Callbacks.Attempts, 1000},
		{"calls.callbacks.concurrency", c.Callbacks.Concurrency, 1000},
	} {
		if n.got < 1 || n.got > n.most {
			errs = append(errs, fmt.Errorf("%s is %d: it must be 1 to %d", n.key, n.got, n.most))
		}
	}
	for _, d := range []struct {
		key      string
		got, min time.Duration
	}{
		{"calls.timeout", c.Timeout, time.Millisecond},
		{"calls.backoff.initial", c.Backoff.Initial, time.Millisecond},
		{"calls.backoff.max", c.Backoff.Max, c.Backoff.Initial},
		{"calls.max_age", c.MaxAge, time.Second},
		{"calls.keep", c.Keep, time.Second},
		{"calls.callbacks.timeout", c.Callbacks.Timeout, time.Millisecond},
		{"calls.callbacks.backoff.initial", c.Callbacks.Backoff.Initial, time.Millisecond},
		{"calls.callbacks.backoff.max", c.Callbacks.Backoff.Max, c.Callbacks.Backoff.Initial},
		{"calls.callbacks.max_age", c.Callbacks.MaxAge, time.Second},
	} {
		if d.got < d.min {
			errs = append(errs, fmt.Errorf("%s is %s: it must be at least %s", d.key, d.got, d.min))
		}
	}
	if _, err := parseAllow(c.Callbacks.Allow); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// readSecret reads the secret that callbacks are signed with; nil when none is.
func readSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading calls.callbacks.secret_file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < leastSecret {
		return nil, errors.New("calls.callbacks.secret_file " + file + ": it must hold a secret of at least 16 characters")
	}
	return []byte(secret), nil
}

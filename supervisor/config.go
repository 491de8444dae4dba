package supervisor

import (
	"errors"
	"fmt"
	"time"

	"penstock/supervisor/calls"
	"penstock/supervisor/options"
)

// Config is what an operator may set of a supervisor. The zero value is not
// usable: start from DefaultConfig.
type Config struct {
	// DataDir holds everything the supervisor keeps on disk: the definitions of
	// the streams, sockets and logs of the runners. It is created, mode 0700,
	// when it is missing.
	DataDir string `yaml:"data_dir"`
	// Runner is the path of the penstock-runner binary. Empty means the one
	// beside the supervisor's own executable.
	Runner string `yaml:"runner"`
	// Runners are further runners, each as NAME=PATH. Those beside Runner whose
	// files are called as that one is, with -NAME appended, need not be named here.
	Runners []string `yaml:"runners"`
	// PrefixStreamEndpoints puts the HTTP endpoints of a stream below /{id}.
	PrefixStreamEndpoints bool `yaml:"prefix_stream_endpoints"`
	// Timeouts bound what the supervisor waits for.
	Timeouts Timeouts `yaml:"timeouts"`
	// Restart says when a runner that died is started again.
	Restart Restart `yaml:"restart"`
	// OnExit says what becomes of the runners when the supervisor exits.
	OnExit OnExit `yaml:"on_exit"`
	// OrphanTimeout is how long a runner that lost its supervisor goes on
	// before it drains and ends by itself: at least one second, or 0 for ever.
	OrphanTimeout time.Duration `yaml:"orphan_timeout"`
	// StreamLogs bounds the log files of each stream.
	StreamLogs StreamLogs `yaml:"stream_logs"`
	// Concurrency bounds how many runners one request starts, stops or asks at
	// the same time. At least 1.
	Concurrency int `yaml:"concurrency"`
	// WarmPool is about runners that are started ahead.
	WarmPool WarmPool `yaml:"warm_pool"`
	// Isolation says what streams are kept from.
	Isolation IsolationConfig `yaml:"isolation"`
	// Limits bounds what streams may use.
	Limits LimitsConfig `yaml:"limits"`
	// StreamMetrics bounds the metrics of each stream.
	StreamMetrics StreamMetrics `yaml:"stream_metrics"`
	// Calls bounds asynchronous calls of streams and says where their results may
	// be sent.
	Calls calls.Config `yaml:"calls"`
	// StreamListen is where streams may listen themselves, as the key
	// http.stream_listen has it, which it is filled from: rules that
	// options.ParseListenRules reads. Empty is the default of the profile.
	StreamListen []string `yaml:"-"`
}

// OnExit is what becomes of the runners when the supervisor exits.
type OnExit string

const (
	// OnExitStop drains and ends every runner.
	OnExitStop OnExit = "stop"
	// OnExitDetach leaves them running for the next supervisor.
	OnExitDetach OnExit = "detach"
)

// Timeouts are upper bounds; each is above zero.
type Timeouts struct {
	// Start bounds the time from fork to a runner's handshake, and each further
	// step of its start but lint and build.
	Start time.Duration `yaml:"start"`
	// Prepare bounds lint and build of one config in its runner.
	Prepare time.Duration `yaml:"prepare"`
	// Stop bounds the stop of one stream when the request names no timeout.
	Stop time.Duration `yaml:"stop"`
	// Shutdown bounds the stop of all streams when the supervisor exits.
	Shutdown time.Duration `yaml:"shutdown"`
	// RPC bounds one question to one runner: readiness, statistics.
	RPC time.Duration `yaml:"rpc"`
}

// Restart is the backoff between the attempts to start a runner that died,
// for streams whose own config says nothing else. The first attempt is made
// at once.
type Restart struct {
	// Initial is the wait before the second attempt; it doubles from there.
	Initial time.Duration `yaml:"initial"`
	// Max is the longest wait.
	Max time.Duration `yaml:"max"`
	// StableAfter is how long a runner must have run for its next failure to
	// count as the first again.
	StableAfter time.Duration `yaml:"stable_after"`
}

// StreamLogs bounds the two log files of a stream: its log, and what its
// components print.
type StreamLogs struct {
	// MaxMegabytes is the size at which a file is rotated, in MiB: 1 to 1024.
	// One older file is kept beside it.
	MaxMegabytes int `yaml:"max_megabytes"`
}

// DefaultConfig returns the configuration of a supervisor that was told
// nothing but where its data is.
func DefaultConfig() Config {
	return Config{
		PrefixStreamEndpoints: true,
		Timeouts: Timeouts{
			Start:    10 * time.Second,
			Prepare:  15 * time.Second,
			Stop:     20 * time.Second,
			Shutdown: 20 * time.Second,
			RPC:      2 * time.Second,
		},
		Restart: Restart{
			Initial:     100 * time.Millisecond,
			Max:         30 * time.Second,
			StableAfter: time.Minute,
		},
		OnExit:        OnExitStop,
		OrphanTimeout: time.Hour,
		StreamLogs:    StreamLogs{MaxMegabytes: 8},
		Concurrency:   8,
		WarmPool:      WarmPool{Size: WarmAuto, Max: 8},
		Isolation:     defaultIsolation(),
		Limits:        LimitsConfig{HostMemoryShare: 90},
		StreamMetrics: StreamMetrics{MaxSeries: 10_000},
		Calls:         calls.DefaultConfig(),
	}
}

// Validate reports every setting that is out of range, by its key.
func (c *Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir is empty: name a folder the supervisor may write to"))
	}
	for _, d := range []struct {
		key string
		got time.Duration
		min time.Duration
	}{
		{"timeouts.start", c.Timeouts.Start, time.Millisecond},
		{"timeouts.prepare", c.Timeouts.Prepare, time.Millisecond},
		{"timeouts.stop", c.Timeouts.Stop, time.Millisecond},
		{"timeouts.shutdown", c.Timeouts.Shutdown, time.Millisecond},
		{"timeouts.rpc", c.Timeouts.RPC, time.Millisecond},
		{"restart.initial", c.Restart.Initial, time.Millisecond},
		{"restart.max", c.Restart.Max, c.Restart.Initial},
		{"restart.stable_after", c.Restart.StableAfter, time.Millisecond},
	} {
		if d.got < d.min {
			errs = append(errs, fmt.Errorf("%s is %s: it must be at least %s", d.key, d.got, d.min))
		}
	}
	if c.OrphanTimeout != 0 && c.OrphanTimeout < time.Second {
		errs = append(errs, fmt.Errorf("orphan_timeout is %s: it must be at least 1s, or 0 for ever", c.OrphanTimeout))
	}
	if c.OnExit != OnExitStop && c.OnExit != OnExitDetach {
		errs = append(errs, fmt.Errorf("on_exit is %q: it must be stop or detach", c.OnExit))
	}
	if c.StreamLogs.MaxMegabytes < 1 || c.StreamLogs.MaxMegabytes > 1024 {
		errs = append(errs, fmt.Errorf("stream_logs.max_megabytes is %d: it must be 1 to 1024", c.StreamLogs.MaxMegabytes))
	}
	if c.Concurrency < 1 {
		errs = append(errs, fmt.Errorf("concurrency is %d: it must be at least 1", c.Concurrency))
	}
	if _, err := c.otherRunners(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.WarmPool.validate()...)
	errs = append(errs, c.Isolation.validate(c.DataDir)...)
	errs = append(errs, c.Limits.validate()...)
	errs = append(errs, c.Calls.Validate()...)
	if _, err := options.ParseListenRules(c.StreamListen); err != nil {
		errs = append(errs, fmt.Errorf("http.stream_listen: %w", err))
	}
	return errors.Join(append(errs, c.StreamMetrics.validate())...)
}

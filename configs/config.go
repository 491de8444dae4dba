package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/api"
	"penstock/supervisor"
)

// Config is the whole configuration of the server.
type Config struct {
	// HTTP is the server that clients talk to.
	HTTP api.Config `yaml:"http"`
	// Supervisor starts and stops the streams. Its keys are top-level ones.
	Supervisor supervisor.Config `yaml:",inline"`
	// Templates are globs of files that define components of the engine in terms of
	// others, for all streams. A path without magic characters must exist.
	Templates []string `yaml:"templates"`
	// Log is the server's own log, on standard error.
	Log Log `yaml:"log"`
}

// Log says what the server logs and how.
type Log struct {
	// Level is the least severe level written: debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is console, for people, or json, for machines.
	Format string `yaml:"format"`
}

// The values that Log.Format may have.
const (
	FormatConsole = "console"
	FormatJSON    = "json"
)

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{FormatConsole, FormatJSON}
)

// Default returns the configuration that an empty file stands for. Its
// data_dir is empty: see DefaultDataDir.
func Default() Config {
	return Config{
		HTTP:       api.DefaultConfig(),
		Supervisor: supervisor.DefaultConfig(),
		Log:        Log{Level: "info", Format: FormatConsole},
	}
}

// Validate reports every setting that is out of range, by its key.
func (c *Config) Validate() error {
	return errors.Join(
		c.HTTP.Validate(),
		c.Supervisor.Validate(),
		oneOf("log.level", c.Log.Level, logLevels),
		oneOf("log.format", c.Log.Format, logFormats),
	)
}

func oneOf(key, got string, allowed []string) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return fmt.Errorf("%s is %q: it must be one of %s", key, got, strings.Join(allowed, ", "))
}

// DefaultDataDir returns where data goes when no data_dir is set:
// $XDG_STATE_HOME/penstock, or ~/.local/state/penstock.
func DefaultDataDir() (string, error) {
	// The XDG specification has relative paths ignored.
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "penstock"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("neither XDG_STATE_HOME nor HOME says where data may go: set --data-dir")
	}
	return filepath.Join(home, ".local", "state", "penstock"), nil
}

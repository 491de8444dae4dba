package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

const (
	// hostileDir holds the configs, a file each.
	hostileDir = "hostile"
	// hostileEnv, a regular expression, chooses some of the configs by name.
	hostileEnv = "PENSTOCK_HOSTILE"
)

// hostileConfig is one file of hostileDir: a document that says what the config
// tries and what has to come of it, a line of three dashes, and the config.
// {{name}} in either stands for what hostileWorld.words has.
type hostileConfig struct {
	// Name is the file's, without its extension.
	Name string `yaml:"-"`
	// Config is what is posted.
	Config string `yaml:"-"`

	// Tries says what the config tries, as the second half of a sentence that
	// begins with "It tries to".
	Tries string `yaml:"tries"`
	// Aims is what it is after, one of hostileAims.
	Aims string `yaml:"aims"`
	// Allowed is what the operator allows: nothing, hostileComponents or
	// hostilePrograms.
	Allowed string `yaml:"allowed"`
	// Chilled posts it with ?chilled=true.
	Chilled bool `yaml:"chilled"`
	// ID is the stream's id in the path; the file's name if it is empty.
	ID string `yaml:"id"`
	// Before are requests that precede the config's own.
	Before []hostileCall `yaml:"before"`
	// Calls are requests that follow it, if it was accepted.
	Calls []hostileCall `yaml:"calls"`
	// Slow is how many connections are opened to the stream's endpoint that
	// never get to the end of their request.
	Slow int `yaml:"slow"`

	// Outcome is one of hostileOutcomes.
	Outcome string `yaml:"outcome"`
	// Status is that of the refusal; 400 if it is not given.
	Status int `yaml:"status"`
	// Exit is the reason of the last exit.
	Exit string `yaml:"exit"`
	// Says are regular expressions. Each is found in the refusal; or in what the
	// stream's status, log and answers say. The first is the one to quote.
	Says []string `yaml:"says"`
	// Shows are the same for figures of the status.
	Shows []string `yaml:"shows"`
	// Never are regular expressions that are found in none of these.
	Never []string `yaml:"never"`
}

// hostileCall is a request to the server.
type hostileCall struct {
	Method string            `yaml:"method"`
	Path   string            `yaml:"path"`
	Body   string            `yaml:"body"`
	Header map[string]string `yaml:"header"`
	// At once are so many of the same; one if it is not given.
	AtOnce int `yaml:"at_once"`
	// Patient ones are large, and wait for their answer for as long as for an
	// outcome.
	Patient bool `yaml:"patient"`
	// Any answer, or none, is in order; else it has this status.
	Status int `yaml:"status"`
}

// The outcomes that a config may have.
const (
	// hostileRefused: the request that would create the stream, or one before
	// it, is refused.
	hostileRefused = "refused"
	// hostileRuns: the stream runs on in its first process.
	hostileRuns = "runs"
	// hostileStays: the stream runs on, in its first process or the next: what it
	// does may leave its own process without a thread that it needs.
	hostileStays = "stays"
	// hostileEnds: its process ends, again and again.
	hostileEnds = "ends"
	// hostileFinishes: it comes to the end of its input.
	hostileFinishes = "finishes"
)

// What an operator may allow.
const (
	// hostileComponents are all components and functions, so that nothing but
	// the kernel stands in the way.
	hostileComponents = "components"
	// hostilePrograms are these, a shell and two other programs.
	hostilePrograms = "programs"
)

var hostileOutcomes = []string{hostileRefused, hostileRuns, hostileStays, hostileEnds, hostileFinishes}

// hostileAims are what a config may be after.
var hostileAims = []string{
	"public canary", "private canary", "writable canary", "environment", "neighbour", "supervisor",
	"loopback service", "metadata service", "unix socket", "abstract socket", "ports", "programs",
	"memory", "processor", "threads", "disk", "open files", "logs", "metrics", "connections",
}

// hostileConfigs reads all configs, by name.
func hostileConfigs(t testing.TB) []hostileConfig {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(hostileDir, "*.yaml"))
	require.NoError(t, err)
	chosen, err := regexp.Compile(os.Getenv(hostileEnv))
	require.NoError(t, err, hostileEnv)
	var all []hostileConfig
	for _, file := range files {
		h, err := readHostile(file)
		require.NoError(t, err, file)
		if chosen.MatchString(h.Name) {
			all = append(all, h)
		}
	}
	require.NotEmpty(t, all, "hostile configs")
	slices.SortFunc(all, func(a, b hostileConfig) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func readHostile(file string) (hostileConfig, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return hostileConfig{}, err
	}
	head, config, found := strings.Cut(string(text), "\n---\n")
	if !found {
		return hostileConfig{}, errors.New("no line of three dashes parts what is said of the config from the config")
	}
	h := hostileConfig{Name: strings.TrimSuffix(filepath.Base(file), ".yaml"), Config: config, Status: 400}
	h.ID = h.Name
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(head)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&h); err != nil {
		return hostileConfig{}, err
	}
	return h, h.check()
}

// check refuses what would prove nothing.
func (h hostileConfig) check() error {
	var errs []error
	demand := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	demand(h.Tries != "", "tries is missing")
	demand(isOneOf(h.Aims, hostileAims), "aims is %q: it must be one of %q", h.Aims, hostileAims)
	demand(isOneOf(h.Outcome, hostileOutcomes), "outcome is %q: it must be one of %q", h.Outcome, hostileOutcomes)
	demand(isOneOf(h.Allowed, []string{"", hostileComponents, hostilePrograms}), "allowed is %q", h.Allowed)
	demand(h.Outcome != hostileRefused || len(h.Says) > 0, "a refusal says something")
	demand((h.Outcome == hostileEnds) == (h.Exit != ""), "exit is for the outcome %s", hostileEnds)
	for _, says := range slices.Concat(h.Says, h.Shows, h.Never) {
		_, err := regexp.Compile(says)
		demand(err == nil, "says: %v", err)
	}
	return errors.Join(errs...)
}

func isOneOf(text string, list []string) bool {
	for _, item := range list {
		if item == text {
			return true
		}
	}
	return false
}

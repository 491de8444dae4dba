package supervisor

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"penstock/supervisor/egress"
	"penstock/supervisor/options"
)

const (
	// firstUID is where users begin: those below are the system's own services.
	firstUID = 1000
	// nobody is the user that others are mapped to, and so is no stream's own.
	nobody = 65534
	// lastUID is the largest that no program takes for a negative number.
	lastUID = 1<<31 - 1
	// minUIDs is one for a stream, and one for the runners that only check
	// resources.
	minUIDs = 2

	minTmp = options.Bytes(1 << 20)
	maxTmp = options.Bytes(64 << 30)

	minSeries, maxSeries = 100, 1_000_000
)

// componentName is what the engine takes as a name.
var componentName = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)

// UnmarshalText reads FIRST-LAST. Its error names the text and gives an example.
func (r *UIDRange) UnmarshalText(text []byte) error {
	from, to, ranged := strings.Cut(string(text), "-")
	first, err := strconv.ParseUint(from, 10, 32)
	last, errLast := strconv.ParseUint(to, 10, 32)
	if !ranged || err != nil || errLast != nil {
		return fmt.Errorf("%q is not a range of user ids: write for example 200000-265535", text)
	}
	*r = UIDRange{First: uint32(first), Last: uint32(last)}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r UIDRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is FIRST-LAST.
func (r UIDRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

func (r UIDRange) validate() error {
	switch {
	case r.First > r.Last:
		return fmt.Errorf("isolation.uids is %s: the first is above the last", r)
	case r.First < firstUID:
		return fmt.Errorf("isolation.uids is %s: it must not begin below %d, where root and the users of services are", r, firstUID)
	case r.First <= nobody && r.Last >= nobody:
		return fmt.Errorf("isolation.uids is %s: it must not hold %d, the user nobody", r, nobody)
	case r.Last > lastUID:
		return fmt.Errorf("isolation.uids is %s: it must not end above %d", r, lastUID)
	case r.Last-r.First+1 < minUIDs:
		return fmt.Errorf("isolation.uids is %s: it must hold at least %d, one for a stream and one for checks of resources", r, minUIDs)
	}
	return nil
}

// validate reports every setting that is out of range, by its key. dataDir is
// where no stream may be let in.
func (c *IsolationConfig) validate(dataDir string) []error {
	var errs []error
	if !slices.Contains([]Profile{ProfileNone, ProfileStandard, ProfileStrict}, c.Profile) {
		errs = append(errs, fmt.Errorf("isolation.profile is %q: it must be none, standard or strict", c.Profile))
	}
	if err := c.UIDs.validate(); err != nil {
		errs = append(errs, err)
	}
	if c.TmpSize < minTmp || c.TmpSize > maxTmp {
		errs = append(errs, fmt.Errorf("isolation.tmp_size is %s: it must be %s to %s", c.TmpSize, minTmp, maxTmp))
	}
	errs = append(errs, eachOf("isolation.env_allow", c.EnvAllow, options.CheckEnvName)...)
	shared := func(p string) error { return checkShared(p, dataDir) }
	errs = append(errs, eachOf("isolation.read", c.Read, shared)...)
	errs = append(errs, eachOf("isolation.write", c.Write, shared)...)
	errs = append(errs, eachOf("isolation.allow_exec", c.AllowExec, func(p string) error { return c.checkProgram(p, dataDir) })...)
	errs = append(errs, eachOf("isolation.bind_ports", c.BindPorts, func(text string) error {
		_, err := parsePorts(text)
		return err
	})...)
	errs = append(errs, c.Egress.validate()...)
	for _, class := range c.Components.classes() {
		errs = append(errs, class.policy.validate("isolation.components."+class.name)...)
	}
	return errs
}

// eachOf reports every item that the check refuses.
func eachOf(key string, items []string, check func(item string) error) []error {
	var errs []error
	for _, item := range items {
		if err := check(item); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errs
}

// checkShared refuses what cannot be given to streams: above all what holds the
// data folder, through which they would reach each other.
func checkShared(p, dataDir string) error {
	if err := options.CheckPath(p); err != nil {
		return err
	}
	if dataDir == "" {
		return nil // It has an error of its own.
	}
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return fmt.Errorf("finding where data_dir %q is: %w", dataDir, err)
	}
	if options.Below(dir, p) || options.Below(p, dir) {
		return fmt.Errorf("%s and data_dir, %s, are one in the other: keep them apart, or streams reach each other's files", p, dir)
	}
	return nil
}

// checkProgram refuses a program that a stream could put its own in place of.
func (c *IsolationConfig) checkProgram(p, dataDir string) error {
	if err := checkShared(p, dataDir); err != nil {
		return err
	}
	for _, folder := range c.Write {
		if options.Below(p, folder) {
			return fmt.Errorf("%s is below %s of isolation.write, where streams may put a program of their own: keep them apart", p, folder)
		}
	}
	return nil
}

func (e *Egress) validate() []error {
	var errs []error
	if e.Default != EgressAllow && e.Default != EgressDeny {
		errs = append(errs, fmt.Errorf("isolation.egress.default is %q: it must be %s or %s", e.Default, EgressAllow, EgressDeny))
	}
	rule := func(text string) error {
		_, err := egress.ParseRule(text)
		return err
	}
	errs = append(errs, eachOf("isolation.egress.allow", e.Allow, rule)...)
	return append(errs, eachOf("isolation.egress.deny", e.Deny, rule)...)
}

// componentClass is one of the ComponentPolicies with its key.
type componentClass struct {
	name   string
	policy ComponentPolicy
}

func (c *ComponentPolicies) classes() []componentClass {
	return []componentClass{
		{"inputs", c.Inputs}, {"outputs", c.Outputs}, {"processors", c.Processors}, {"caches", c.Caches},
		{"rate_limits", c.RateLimits}, {"buffers", c.Buffers}, {"metrics", c.Metrics}, {"tracers", c.Tracers},
		{"scanners", c.Scanners}, {"functions", c.Functions}, {"methods", c.Methods},
	}
}

func (p *ComponentPolicy) validate(key string) []error {
	errs := eachOf(key+".allow", p.Allow, func(name string) error {
		if name == "*" {
			return errors.New("* is for deny: name the components that are allowed")
		}
		return checkComponentName(name)
	})
	return append(errs, eachOf(key+".deny", p.Deny, func(name string) error {
		if slices.Contains(p.Allow, name) {
			return fmt.Errorf("%q is allowed as well: keep it in one of the two", name)
		}
		if name == "*" {
			return nil
		}
		return checkComponentName(name)
	})...)
}

// checkComponentName refuses what would deny nothing without a word.
func checkComponentName(name string) error {
	if !componentName.MatchString(name) {
		return fmt.Errorf("%q is no component's name: those are lower case letters, digits and single underscores", name)
	}
	return nil
}

func (c *LimitsConfig) validate() []error {
	var errs []error
	for _, fault := range c.Default.Faults() {
		errs = append(errs, errors.New("limits.default."+fault))
	}
	for _, fault := range c.Max.Faults() {
		errs = append(errs, errors.New("limits.max."+fault))
	}
	for _, above := range c.Default.Above(c.Max) {
		errs = append(errs, fmt.Errorf("limits.default.%s is %s: it must not be above limits.max.%s, %s",
			above.Name, above.Value, above.Name, above.Ceiling))
	}
	if c.HostMemoryShare < 1 || c.HostMemoryShare > 100 {
		errs = append(errs, fmt.Errorf("limits.host_memory_share is %d: it must be 1 to 100 percent", c.HostMemoryShare))
	}
	if p := c.CgroupParent; p != "" && (!path.IsAbs(p) || path.Clean(p) != p || p == "/") {
		errs = append(errs, fmt.Errorf("limits.cgroup_parent is %q: it must be the path of a cgroup below the root, such as /penstock, or empty", p))
	}
	return errs
}

func (m *StreamMetrics) validate() error {
	if m.MaxSeries < minSeries || m.MaxSeries > maxSeries {
		return fmt.Errorf("stream_metrics.max_series is %d: it must be %d to %d", m.MaxSeries, minSeries, maxSeries)
	}
	return nil
}

package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/shirou/gopsutil/v3/mem"
	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
	"penstock/supervisor/egress"
	"penstock/supervisor/options"
	"penstock/supervisor/sandbox"
	"penstock/supervisor/watchdog"
)

// launcherName is the binary beside the supervisor's own that starts runners.
const launcherName = "penstock-launch"

// confiner knows what this host can keep runners in, and makes that ready for
// each of them.
type confiner struct {
	cfg    IsolationConfig
	limits LimitsConfig
	// launcher is the path of penstock-launch; empty where runners are started
	// directly.
	launcher string
	// hierarchy is nil where no cgroup can be written, and then noCgroup says
	// why.
	hierarchy *cgroup.Hierarchy
	noCgroup  error
	memory    watchdog.Memory
	rooms     *ledger

	// These are for the profile strict alone.
	uids     *uidPool
	table    *egress.Table
	guarded  *egress.Policy
	guarding atomic.Bool
	mount    string
	bind     []sandbox.PortRange
	connect  []sandbox.PortRange
	allowed  options.Allowed
	policies rpc.ComponentPolicy
}

// newConfiner finds out whether the configured profile is possible here, and
// fails when it is not. It changes nothing on the host.
func newConfiner(cfg Config) (*confiner, error) {
	c := &confiner{cfg: cfg.Isolation, limits: cfg.Limits, policies: componentPolicy(cfg.Isolation)}
	listen, err := streamListen(cfg)
	if err != nil {
		return nil, err
	}
	c.allowed = options.Allowed{Ceiling: cfg.Limits.Max, RestrictListen: true, Listen: listen}
	if err := c.findLauncher(); err != nil {
		return nil, err
	}
	switch c.cfg.Profile {
	case ProfileStrict:
		if err := egress.Check(); err != nil {
			return nil, fmt.Errorf("isolation.profile strict is not possible here: %w", err)
		}
	case ProfileStandard:
		for _, path := range []string{filepath.Join(cfg.DataDir, "run", "any"), cfg.Runner} {
			if err := c.enterable(path); err != nil {
				return nil, err
			}
		}
	case ProfileNone:
	}
	return c, nil
}

// open makes ready what there is on the host for all streams.
func (c *confiner) open(cfg Config, log *zap.Logger) error {
	c.hierarchy, c.noCgroup = cgroup.Open(cgroup.Config{
		Parent: cfg.Limits.CgroupParent, Name: instanceName(cfg.DataDir), Paths: ioPaths(cfg),
	})
	if c.noCgroup != nil {
		if !errors.Is(c.noCgroup, cgroup.ErrUnavailable) || cfg.Limits.CgroupParent != "" {
			return fmt.Errorf("limits: %w", c.noCgroup)
		}
		log.Info("no cgroup can be written: a watchdog looks after memory limits", zap.Error(c.noCgroup))
	}
	if err := c.check(cfg.Limits.Default.Within(cfg.Limits.Max)); err != nil {
		return fmt.Errorf("limits.default and limits.max: %w", err)
	}
	total, err := c.hostMemory()
	if err != nil {
		return err
	}
	c.rooms = newLedger(total, cfg.Limits.HostMemoryShare)
	if cfg.Isolation.Profile != ProfileStrict {
		return nil
	}
	return c.beStrict(cfg)
}

// findLauncher finds penstock-launch, and whether it can do what the profile
// asks of it.
func (c *confiner) findLauncher() (err error) {
	if !sandbox.Supported() {
		if c.cfg.Profile == ProfileStrict {
			return errors.New("isolation.profile strict needs Linux: use standard, which limits what it can on this system")
		}
		return nil
	}
	if c.launcher = c.cfg.Launcher; c.launcher == "" {
		if c.launcher, err = besideMyself(launcherName); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(c.launcher)
	if err != nil {
		if c.cfg.Profile == ProfileNone && c.cfg.Launcher == "" {
			c.launcher = ""
			return nil
		}
		mend := "build it with `make build`, or name it with isolation.launcher"
		if c.cfg.Profile == ProfileStandard {
			mend = "build it with `make build`, name it with isolation.launcher, or run without isolation by --isolation none"
		}
		return fmt.Errorf("%s cannot be executed: %w: %s", launcherName, err, mend)
	}
	if c.launcher, err = filepath.Abs(path); err != nil {
		return err
	}
	switch c.cfg.Profile {
	case ProfileStrict:
		err = sandbox.CheckStrict(c.launcher)
	case ProfileStandard:
		err = sandbox.CheckLock(c.launcher)
	case ProfileNone:
	}
	if err != nil {
		return fmt.Errorf("isolation.profile %s is not possible here: %w", c.cfg.Profile, err)
	}
	return nil
}

// beStrict makes ready what only the profile strict needs.
func (c *confiner) beStrict(cfg Config) error {
	c.uids = newUIDPool(cfg.Isolation.UIDs)
	c.table = egress.Open("penstock_" + instanceName(cfg.DataDir))
	c.allowed.RestrictPaths, c.allowed.Read, c.allowed.Write = true, cfg.Isolation.Read, cfg.Isolation.Write
	c.mount = filepath.Join(cfg.DataDir, "root")
	if err := os.MkdirAll(c.mount, 0o700); err != nil {
		return fmt.Errorf("making the folder of private roots: %w", err)
	}
	for _, text := range cfg.Isolation.BindPorts {
		ports, err := parsePorts(text)
		if err != nil {
			return fmt.Errorf("isolation.bind_ports: %w", err)
		}
		c.bind = append(c.bind, ports)
	}
	return nil
}

// instanceName tells supervisors on one host apart, by their data folders.
func instanceName(dataDir string) string {
	sum := sha256.Sum256([]byte(dataDir))
	return hex.EncodeToString(sum[:4])
}

// ioPaths are what streams read and write: limits of io are for their disks.
func ioPaths(cfg Config) []string {
	paths := []string{cfg.DataDir, os.TempDir()}
	paths = append(paths, cfg.Isolation.Read...)
	return append(paths, cfg.Isolation.Write...)
}

// hostMemory is what all streams may have at most, in bytes.
func (c *confiner) hostMemory() (uint64, error) {
	if c.hierarchy != nil {
		return c.hierarchy.Memory()
	}
	host, err := mem.VirtualMemory()
	if err != nil {
		return 0, fmt.Errorf("reading this host's memory: %w", err)
	}
	return host.Total, nil
}

// of are the limits of a stream: its own, the server's defaults where it has
// none, and none above the server's ceiling.
func (c *confiner) of(own options.Limits) options.Limits {
	return own.Or(c.limits.Default).Within(c.limits.Max)
}

// check refuses limits that nothing here enforces. The error is an
// *InvalidError.
func (c *confiner) check(l options.Limits) error {
	if c.launcher == "" && (l.NoFile > 0 || c.hierarchy != nil && c.hierarchy.Version() == 1 && inCgroup(l)) {
		return &InvalidError{"limits cannot be enforced without " + launcherName + ": install it beside penstock, or leave runtime.limits out"}
	}
	wanted := toCgroup(l)
	if !c.memoryInCgroup() {
		if l.Memory > 0 && c.cfg.Required {
			return &InvalidError{fmt.Sprintf("the memory limit can only be watched and not enforced on this host (%s), and isolation.required asks for more: mend that, or set isolation.required to false", c.whyWatched())}
		}
		wanted.Memory = 0
	}
	if c.hierarchy == nil {
		if names := l.Names(); inCgroup(l) && wanted != (cgroup.Limits{}) {
			return &InvalidError{fmt.Sprintf("of the limits %s only memory, nofile and disk can be had on this host: %s", strings.Join(names, ", "), c.noCgroup)}
		}
		return nil
	}
	if err := c.hierarchy.Check(wanted); err != nil {
		return &InvalidError{err.Error()}
	}
	return nil
}

// whyWatched says why memory limits are a watchdog's.
func (c *confiner) whyWatched() string {
	if c.noCgroup != nil {
		return c.noCgroup.Error()
	}
	return "its cgroups have no memory controller"
}

func (c *confiner) memoryInCgroup() bool { return c.hierarchy != nil && c.hierarchy.HasMemory() }

// inCgroup says whether any of the limits is a cgroup's.
func inCgroup(l options.Limits) bool { return toCgroup(l) != cgroup.Limits{} }

func toCgroup(l options.Limits) cgroup.Limits {
	return cgroup.Limits{
		Memory: int64(l.Memory), Swap: int64(l.Swap), CPU: l.CPU, CPUWeight: l.CPUWeight, PIDs: l.PIDs,
		IO: cgroup.IO{
			ReadBPS: int64(l.IO.ReadBPS), WriteBPS: int64(l.IO.WriteBPS), ReadIOPS: l.IO.ReadIOPS, WriteIOPS: l.IO.WriteIOPS,
		},
	}
}

// cgroupLimits are the limits that a leaf gets: memory only where there is a
// controller for it.
func (c *confiner) cgroupLimits(l options.Limits) cgroup.Limits {
	limits := toCgroup(l)
	if !c.memoryInCgroup() {
		limits.Memory, limits.Swap = 0, 0
	}
	return limits
}

// claim gives a stream the user that it had under an earlier supervisor.
func (c *confiner) claim(id string, uid uint32) {
	if c.uids != nil {
		c.uids.claim(id, uid)
	}
}

// user is the one that a stream's runners have; 0 when it has none of its own.
func (c *confiner) user(id string) uint32 {
	if c.uids == nil {
		return 0
	}
	return c.uids.known(id)
}

// forget takes note that there is no such stream any more.
func (c *confiner) forget(id string) {
	c.rooms.settle(id, 0)
	if c.uids != nil {
		c.uids.release(id)
	}
}

// fingerprint names what a runner is confined in: one that an earlier supervisor
// started in anything else is replaced.
func (c *confiner) fingerprint() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", c.cfg))
	where := "none"
	if c.hierarchy != nil {
		where = fmt.Sprintf("v%d:%s", c.hierarchy.Version(), c.hierarchy.Path())
	}
	return fmt.Sprintf("%s-%s-%s", c.cfg.Profile, where, hex.EncodeToString(sum[:8]))
}

// sweep ends what is left in the cgroups of runners whose folders are not in
// keep.
func (c *confiner) sweep(keep []string) error {
	if c.hierarchy == nil {
		return nil
	}
	return c.hierarchy.Sweep(func(name string) bool { return slices.Contains(keep, name) })
}

// encodeLimits writes limits for the store; what cannot be written is none.
func encodeLimits(l options.Limits) []byte {
	text, err := json.Marshal(l)
	if err != nil {
		return nil
	}
	return text
}

// decodeLimits reads what the store has of them; what cannot be read is none.
func decodeLimits(text []byte) options.Limits {
	var l options.Limits
	if json.Unmarshal(text, &l) != nil {
		return options.Limits{}
	}
	return l
}

// parsePorts reads "8080" or "9000-9010".
func parsePorts(text string) (sandbox.PortRange, error) {
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	first, err := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	if err != nil {
		return sandbox.PortRange{}, fmt.Errorf("%q is no port and no range of ports such as 9000-9010", text)
	}
	last, err := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if err != nil || last < first {
		return sandbox.PortRange{}, fmt.Errorf("%q is no port and no range of ports such as 9000-9010", text)
	}
	return sandbox.PortRange{First: uint16(first), Last: uint16(last)}, nil
}

// clean removes the rules that an earlier supervisor had for the streams of this
// data folder, where this one has none. Who may not do so has none to remove.
func (c *confiner) clean(dataDir string, log *zap.Logger) {
	if c.table != nil || os.Geteuid() != 0 {
		return
	}
	if err := egress.Open("penstock_" + instanceName(dataDir)).Remove(); err != nil {
		log.Debug("rules of egress of an earlier server cannot be looked for", zap.Error(err))
	}
}

// close gives back what the confiner holds outside of the process, once no
// runner is left.
func (c *confiner) close() error {
	var errs []error
	if c.hierarchy != nil {
		errs = append(errs, c.hierarchy.Close())
	}
	if c.table != nil {
		errs = append(errs, c.table.Remove())
	}
	return errors.Join(errs...)
}

package supervisor

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"penstock/supervisor/cgroup"
	"penstock/supervisor/options"
	"penstock/supervisor/process"
	"penstock/supervisor/sandbox"
	"penstock/supervisor/stats"
)

// Isolation says what is enforced for a stream.
type Isolation struct {
	// Process is true: every stream has a process, a session and a process
	// group of its own.
	Process bool    `json:"process"`
	Profile Profile `json:"profile"`
	Limits  Limits  `json:"limits"`
	// Sandbox is what the stream's runner is confined in; nil when it has no
	// runner.
	Sandbox *Sandbox `json:"sandbox"`
}

// Enforcement is who enforces the limits of a stream.
type Enforcement string

// Who may enforce limits.
const (
	// EnforcedByCgroup means the kernel.
	EnforcedByCgroup Enforcement = "cgroup"
	// EnforcedByWatchdog means that memory is measured, and that the runner is
	// killed soon after it was exceeded.
	EnforcedByWatchdog Enforcement = "watchdog"
	// NotEnforced means that there is no limit to enforce.
	NotEnforced Enforcement = "none"
)

// Limits are those in force for a stream. Zero is no limit, but for swap, which
// is none.
type Limits struct {
	Enforcement Enforcement `json:"enforcement"`
	// Cgroup is the path of the runner's own one, CgroupVersion 1 or 2.
	Cgroup        string  `json:"cgroup,omitempty"`
	CgroupVersion int     `json:"cgroup_version,omitempty"`
	MemoryBytes   int64   `json:"memory_bytes"`
	SwapBytes     int64   `json:"swap_bytes"`
	CPU           float64 `json:"cpu"`
	CPUWeight     int     `json:"cpu_weight"`
	PIDs          int     `json:"pids"`
	IO            struct {
		ReadBPS   int64 `json:"read_bps"`
		WriteBPS  int64 `json:"write_bps"`
		ReadIOPS  int   `json:"read_iops"`
		WriteIOPS int   `json:"write_iops"`
	} `json:"io"`
	NoFile int `json:"nofile"`
	// DiskBytes is always measured, and never the kernel's to enforce.
	DiskBytes int64 `json:"disk_bytes"`
	// DiskUsedBytes is what the last measurement has found; 0 without a limit.
	DiskUsedBytes int64 `json:"disk_used_bytes,omitempty"`
}

// Sandbox is what the kernel says a runner is confined in, and what the
// supervisor adds.
type Sandbox struct {
	UID          uint32 `json:"uid"`
	GID          uint32 `json:"gid"`
	Capabilities bool   `json:"capabilities"`
	NoNewPrivs   bool   `json:"no_new_privs"`
	Seccomp      bool   `json:"seccomp"`
	// Namespaces are those of mnt, pid, ipc and uts that are its own.
	Namespaces []string `json:"namespaces"`
	// PrivateRoot says that it sees a file system of its own.
	PrivateRoot bool `json:"private_root"`
	// LandlockABI is the version of the rules that it is under; 0 for none.
	LandlockABI int `json:"landlock_abi"`
	// Egress says that its connections are under the operator's rules.
	Egress bool `json:"egress"`
	// Exec says that it may execute programs.
	Exec bool `json:"exec"`
	// ComponentPolicy says that some components are denied.
	ComponentPolicy bool `json:"component_policy"`
}

// isolation tells what is enforced for the stream of a view.
func (s *Supervisor) isolation(v *view) Isolation {
	out := Isolation{Process: true, Profile: s.cfg.Isolation.Profile}
	if v.current == nil {
		out.Limits = s.confiner.shown(s.confiner.of(v.spec.options.Limits), false, nil)
		return out
	}
	out.Limits = s.confiner.shown(v.limits, true, v.current.proc.Leaf())
	if out.Limits.DiskBytes > 0 {
		out.Limits.DiskUsedBytes = v.current.watches.diskUsed()
	}
	strict := s.cfg.Isolation.Profile == ProfileStrict
	l := v.current.layers
	out.Sandbox = &Sandbox{
		UID: l.UID, GID: l.GID, Capabilities: l.Capabilities, NoNewPrivs: l.NoNewPrivs, Seccomp: l.Seccomp,
		Namespaces: append([]string{}, l.Namespaces...), PrivateRoot: strict, Egress: s.confiner.guards(),
		Exec:            !strict || len(s.cfg.Isolation.AllowExec) > 0,
		ComponentPolicy: s.confiner.policies.DenyDangerous || len(s.confiner.policies.Classes) > 0,
	}
	if strict {
		out.Sandbox.LandlockABI = l.LandlockABI
	}
	return out
}

// shown are limits for people.
func (c *confiner) shown(l options.Limits, runs bool, leaf *cgroup.Leaf) Limits {
	out := Limits{
		Enforcement: NotEnforced, MemoryBytes: int64(l.Memory), SwapBytes: int64(l.Swap), CPU: l.CPU,
		CPUWeight: l.CPUWeight, PIDs: l.PIDs, NoFile: l.NoFile, DiskBytes: int64(l.Disk),
	}
	out.IO.ReadBPS, out.IO.WriteBPS = int64(l.IO.ReadBPS), int64(l.IO.WriteBPS)
	out.IO.ReadIOPS, out.IO.WriteIOPS = l.IO.ReadIOPS, l.IO.WriteIOPS
	switch {
	case l.Memory > 0 && !c.memoryInCgroup():
		out.Enforcement = EnforcedByWatchdog
	case inCgroup(l) && (leaf != nil || !runs && c.hierarchy != nil):
		out.Enforcement = EnforcedByCgroup
	}
	if c.hierarchy != nil && leaf != nil {
		out.CgroupVersion = c.hierarchy.Version()
		out.Cgroup = c.hierarchy.Path() + "/" + leaf.Name()
	}
	return out
}

// usage is what a stream that has a runner uses of what can be limited.
func (s *Supervisor) usage(v *view) *stats.Usage {
	return &stats.Usage{
		Cgroup: s.counted(v.current), Limits: toCgroup(v.limits),
		DiskBytes: v.current.watches.diskUsed(), DiskLimitBytes: int64(v.limits.Disk),
	}
}

// counted is what the cgroup of an instance has counted; nil when it has none.
func (s *Supervisor) counted(inst *instance) *cgroup.Usage {
	leaf := inst.proc.Leaf()
	if leaf == nil {
		return nil
	}
	usage, err := leaf.Usage()
	if err != nil {
		// It may have ended just now.
		s.log.Debug("the cgroup's figures cannot be read", zap.Int("pid", inst.proc.PID()), zap.Error(err))
		return nil
	}
	return &usage
}

// inspect asks the kernel what a runner is confined in, and fails when that is
// less than the profile says.
func (s *Supervisor) inspect(proc *process.Process) (sandbox.Layers, error) {
	profile := s.cfg.Isolation.Profile
	if !sandbox.Supported() {
		return sandbox.Layers{}, nil
	}
	layers, err := sandbox.Inspect(proc.PID())
	if err != nil {
		return sandbox.Layers{}, fmt.Errorf("reading what confines process %d: %w", proc.PID(), err)
	}
	var missing []string
	if profile != ProfileNone {
		for what, ok := range map[string]bool{
			"no_new_privs": layers.NoNewPrivs, "seccomp": layers.Seccomp, "the drop of its capabilities": !layers.Capabilities,
		} {
			if !ok {
				missing = append(missing, what)
			}
		}
	}
	if profile == ProfileStrict {
		if !s.cfg.Isolation.UIDs.holds(layers.UID) {
			missing = append(missing, "a user of its own")
		}
		if len(layers.Namespaces) < len(strictNamespaces) {
			missing = append(missing, "namespaces of its own")
		}
	}
	if len(missing) > 0 {
		return sandbox.Layers{}, errors.New("the runner is not confined as its profile says, it lacks " + strings.Join(missing, ", "))
	}
	return layers, nil
}

// strictNamespaces are those that every runner has of its own under
// ProfileStrict.
var strictNamespaces = []string{"mnt", "pid", "ipc", "uts"}

// IsolationSummary says in one line what streams are kept in, for people.
func (s *Supervisor) IsolationSummary() string {
	c := s.confiner
	text := string(s.cfg.Isolation.Profile)
	switch s.cfg.Isolation.Profile {
	case ProfileNone:
		text += " (a process for each stream, and nothing else)"
	case ProfileStandard:
		if c.launcher == "" {
			text += " (a process for each stream: this system has no more)"
		} else {
			text += " (no capabilities, no_new_privs, seccomp)"
		}
	case ProfileStrict:
		text += " (a user, namespaces, Landlock, seccomp and egress rules for each stream)"
	}
	if c.hierarchy == nil {
		return text + ", memory limits by watchdog"
	}
	return fmt.Sprintf("%s, limits by cgroup v%d below %s", text, c.hierarchy.Version(), c.hierarchy.Path())
}

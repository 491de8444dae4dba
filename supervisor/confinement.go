package supervisor

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"penstock/rpc"
	"penstock/supervisor/folder"
	"penstock/supervisor/options"
	"penstock/supervisor/process"
	"penstock/supervisor/sandbox"
)

const (
	// heapShare is how much of a memory limit the Go runtime is told of, in
	// percent: it collects harder before the kernel kills.
	heapShare = 90
	// sacrificed is the oom_score_adj of runners: when the host has no memory
	// left, one of them dies and not the supervisor.
	sacrificed = 500
	// dataFolder is the name of a stream's own data folder below its folder.
	dataFolder = "data"
	// folderVariable is the variable that tells a stream where that is.
	folderVariable = "PENSTOCK_STREAM_DIR"
	// defaultPath is where strict streams look for programs that they may
	// execute.
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
)

// dataDir is where a stream may keep what is its own.
func (s *Supervisor) dataDir(id string) string { return filepath.Join(s.streamDir(id), dataFolder) }

// confinement makes ready what the runner of a stream is started in. The id is
// empty for one that only checks resources.
func (s *Supervisor) confinement(id string, opts options.Options, limits options.Limits) (process.Confinement, error) {
	out, err := s.shared(opts, limits)
	if err != nil {
		return out, err
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if strict := out.Plan.Strict; strict != nil {
		if uid, err = s.confiner.uids.of(id); err != nil {
			return out, err
		}
		gid = uid
		strict.UID, strict.GID = uid, gid
		out.Plan.Env = append(out.Plan.Env, "TMPDIR=/tmp", "PATH="+defaultPath, "HOME=/tmp")
		out.Plan.WorkDir = "/tmp"
		if id != "" {
			out.Plan.WorkDir = s.dataDir(id)
			strict.Write = append(strict.Write, s.streamDir(id))
		}
	}
	if id == "" {
		return out, nil
	}
	if err := os.MkdirAll(s.dataDir(id), 0o700); err != nil {
		return out, fmt.Errorf("making the stream's folder: %w", err)
	}
	// A server with another profile may have had it before.
	for _, dir := range []string{s.streamDir(id), s.dataDir(id)} {
		if err := folder.Own(dir, uid, gid); err != nil {
			return out, fmt.Errorf("giving the stream its folder: %w", err)
		}
	}
	return out, nil
}

// shared is the part of a confinement that says nothing of whose it is.
func (s *Supervisor) shared(opts options.Options, limits options.Limits) (process.Confinement, error) {
	c := s.confiner
	var out process.Confinement
	if c.hierarchy != nil && (c.cfg.Profile != ProfileNone || inCgroup(limits)) {
		out.Hierarchy, out.Limits = c.hierarchy, c.cgroupLimits(limits)
	}
	if c.cfg.Profile != ProfileNone || limits != (options.Limits{}) {
		out.Launcher = c.launcher
		out.Plan = sandbox.Plan{
			Env:         runtimeVariables(limits),
			OOMScoreAdj: sacrificed,
			NoFile:      uint64(limits.NoFile),
			FileSize:    uint64(limits.Disk),
			Lock:        c.cfg.Profile != ProfileNone,
		}
	}
	if c.cfg.Profile != ProfileStrict {
		return out, nil
	}
	if c.guarded != nil && !c.guards() {
		return out, fmt.Errorf("%w: the rules of egress are not in force: the server's log says why", ErrUnavailable)
	}
	out.Plan.Strict = &sandbox.Strict{
		Hostname: "penstock", Mount: c.mount,
		Read: permitted(opts.Sandbox.Read, c.cfg.Read), Write: permitted(opts.Sandbox.Write, c.cfg.Write),
		Exec: c.cfg.AllowExec, TmpBytes: int64(c.cfg.TmpSize),
		BindPorts: c.bind, ConnectPorts: c.connect,
	}
	return out, nil
}

// permitted are those of the paths that lie below a permitted one: what was
// accepted once may not be permitted any more.
func permitted(paths, below []string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(path string) bool {
		return !slices.ContainsFunc(below, func(prefix string) bool { return isBelow(path, prefix) })
	})
}

func isBelow(path, prefix string) bool {
	rel, err := filepath.Rel(prefix, path)
	return err == nil && filepath.IsLocal(rel)
}

// runtimeVariables tell the Go runtime of the limits.
func runtimeVariables(limits options.Limits) []string {
	told := goLimits(limits)
	var env []string
	if told.MemoryBytes > 0 {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(told.MemoryBytes, 10))
	}
	if told.CPUs > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(told.CPUs))
	}
	return env
}

// goLimits is what the Go runtime of a runner is to know of its limits.
func goLimits(limits options.Limits) rpc.Limits {
	return rpc.Limits{
		MemoryBytes: int64(limits.Memory) / 100 * heapShare,
		CPUs:        int(math.Ceil(limits.CPU)),
	}
}

// variables are what ${VAR} resolves to in a stream's config.
func (s *Supervisor) variables(id string, opts options.Options) map[string]string {
	c := s.confiner
	env := map[string]string{}
	if c.cfg.Profile != ProfileStrict && len(c.cfg.EnvAllow) == 0 {
		maps.Copy(env, s.environment)
	}
	for _, name := range c.cfg.EnvAllow {
		if value, ok := s.environment[name]; ok {
			env[name] = value
		}
	}
	maps.Copy(env, opts.Env)
	if id != "" {
		env[folderVariable] = s.dataDir(id)
	}
	return env
}

// componentPolicy is what the operator's config says of components, for
// runners.
func componentPolicy(cfg IsolationConfig) rpc.ComponentPolicy {
	policy := rpc.ComponentPolicy{DenyDangerous: cfg.Profile == ProfileStrict, Classes: map[string]rpc.ClassPolicy{}}
	p := cfg.Components
	for class, of := range map[string]ComponentPolicy{
		"inputs": p.Inputs, "outputs": p.Outputs, "processors": p.Processors, "caches": p.Caches,
		"rate_limits": p.RateLimits, "buffers": p.Buffers, "metrics": p.Metrics, "tracers": p.Tracers,
		"scanners": p.Scanners, "functions": p.Functions, "methods": p.Methods,
	} {
		if len(of.Allow)+len(of.Deny) > 0 {
			policy.Classes[class] = rpc.ClassPolicy{Allow: of.Allow, Deny: of.Deny}
		}
	}
	return policy
}

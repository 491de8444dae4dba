package supervisor

import "penstock/supervisor/options"

// Profile says how much a stream is kept from.
type Profile string

const (
	// ProfileNone starts runners as they are: limits alone.
	ProfileNone Profile = "none"
	// ProfileStandard takes capabilities, dangerous system calls and the
	// supervisor's environment from them, and leaves them its user and files.
	ProfileStandard Profile = "standard"
	// ProfileStrict is for streams of people who do not trust each other.
	ProfileStrict Profile = "strict"
)

// IsolationConfig says what streams are kept from.
type IsolationConfig struct {
	// Profile is in force for every stream.
	Profile Profile `yaml:"profile"`
	// Required refuses a stream whose memory limit no cgroup can enforce, where
	// otherwise a watchdog would.
	Required bool `yaml:"required"`
	// Launcher is the path of the penstock-launch binary. Empty means the one
	// beside the supervisor's own executable.
	Launcher string `yaml:"launcher"`
	// UIDs are the users of runners under ProfileStrict, one for each stream that
	// there is and one more. They are nobody else's.
	UIDs UIDRange `yaml:"uids"`
	// EnvAllow names the variables of the supervisor's environment that ${NAME}
	// may stand for. Empty means none under ProfileStrict, else all.
	EnvAllow []string `yaml:"env_allow"`
	// Read and Write are the folders and files that the runtime.sandbox of a
	// stream may name, with what is below them, under ProfileStrict.
	Read  []string `yaml:"read"`
	Write []string `yaml:"write"`
	// AllowExec are programs that a stream may execute under ProfileStrict.
	AllowExec []string `yaml:"allow_exec"`
	// BindPorts are the TCP ports that a stream may listen on under
	// ProfileStrict: "8080" or "9000-9010".
	BindPorts []string `yaml:"bind_ports"`
	// TmpSize is the size of a stream's own /tmp under ProfileStrict, 1MiB to
	// 64GiB.
	TmpSize options.Bytes `yaml:"tmp_size"`
	// Egress says what streams may connect to under ProfileStrict.
	Egress Egress `yaml:"egress"`
	// Components says which components streams may use.
	Components ComponentPolicies `yaml:"components"`
}

// UIDRange is a range of user ids, both ends included. Its text is FIRST-LAST.
type UIDRange struct {
	First, Last uint32
}

// Egress says what streams may connect to. Allow is looked at first, then Deny,
// then Default.
type Egress struct {
	// Default is EgressAllow or EgressDeny.
	Default string `yaml:"default"`
	// Allow and Deny are rules: an address or a prefix, and ports if not all,
	// such as "10.0.0.0/8 443,8000-8010".
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`
}

// The values that Egress.Default may have.
const (
	EgressAllow = "allow"
	EgressDeny  = "deny"
)

// ComponentPolicies are the policies of each class of components, those of
// Bloblang included.
type ComponentPolicies struct {
	Inputs     ComponentPolicy `yaml:"inputs"`
	Outputs    ComponentPolicy `yaml:"outputs"`
	Processors ComponentPolicy `yaml:"processors"`
	Caches     ComponentPolicy `yaml:"caches"`
	RateLimits ComponentPolicy `yaml:"rate_limits"`
	Buffers    ComponentPolicy `yaml:"buffers"`
	Metrics    ComponentPolicy `yaml:"metrics"`
	Tracers    ComponentPolicy `yaml:"tracers"`
	Scanners   ComponentPolicy `yaml:"scanners"`
	Functions  ComponentPolicy `yaml:"functions"`
	Methods    ComponentPolicy `yaml:"methods"`
}

// ComponentPolicy says which components of one class streams may use.
type ComponentPolicy struct {
	// Allow lifts names out of Deny and of what ProfileStrict denies.
	Allow []string `yaml:"allow"`
	// Deny are names, or "*" for all.
	Deny []string `yaml:"deny"`
}

// LimitsConfig bounds what streams may use.
type LimitsConfig struct {
	// Default is for what a stream's own limits leave out.
	Default options.Limits `yaml:"default"`
	// Max is what no stream may ask more than, and the limit of a stream that
	// has none.
	Max options.Limits `yaml:"max"`
	// HostMemoryShare is the percentage of the host's memory, or of that of the
	// cgroup the supervisor may use, that the memory limits of all streams may
	// add up to: 1 to 100.
	HostMemoryShare int `yaml:"host_memory_share"`
	// CgroupParent is the cgroup below which those of the streams are made, as
	// /proc/self/cgroup writes it. Empty means that it is found.
	CgroupParent string `yaml:"cgroup_parent"`
}

// StreamMetrics bounds the metrics of each stream.
type StreamMetrics struct {
	// MaxSeries is how many series of one stream are kept, 100 to 1000000. Those
	// that come later are dropped, and the stream's status says so.
	MaxSeries int `yaml:"max_series"`
}

func defaultIsolation() IsolationConfig {
	return IsolationConfig{
		Profile: ProfileStandard,
		UIDs:    UIDRange{First: 200000, Last: 265535},
		TmpSize: 64 << 20,
		Egress: Egress{
			Default: EgressAllow,
			Deny:    []string{"169.254.169.254", "fd00:ec2::254", "127.0.0.0/8", "::1"},
		},
	}
}

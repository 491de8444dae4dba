package supervisor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/options"
)

func validConfig() Config {
	cfg := DefaultConfig()
	cfg.DataDir = "/var/lib/penstock"
	return cfg
}

func TestConfigOfEveryKind(t *testing.T) {
	cfg := validConfig()
	require.NoError(t, cfg.Validate(), "the defaults")

	i := &cfg.Isolation
	i.Profile = ProfileStrict
	i.UIDs = UIDRange{1000, 1001}
	i.EnvAllow = []string{"REGION", "_x"}
	i.Read = []string{"/srv/in", "/var/lib/penstock-data"}
	i.Write = []string{"/srv/out"}
	i.AllowExec = []string{"/usr/bin/jq", "/srv/in/tool"}
	i.BindPorts = []string{"0", "8080", "9000-9010"}
	i.TmpSize = 64 << 30
	i.Egress = Egress{Default: EgressDeny, Allow: []string{"10.0.0.0/8 443,8000-8010", "::/0 443"}, Deny: []string{"10.1.2.3"}}
	i.Components.Inputs = ComponentPolicy{Allow: []string{"generate", "http_client"}, Deny: []string{"*"}}
	i.Components.Functions = ComponentPolicy{Allow: []string{"import"}}
	cfg.Limits = LimitsConfig{
		Default:         options.Limits{Memory: 64 << 20, CPU: 0.5},
		Max:             options.Limits{Memory: 64 << 20, CPU: 0.5, Swap: 1 << 20},
		HostMemoryShare: 100, CgroupParent: "/system.slice/penstock.service",
	}
	cfg.StreamMetrics.MaxSeries = 1_000_000
	assert.NoError(t, cfg.Validate())
}

func TestConfigRefusesIsolation(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*IsolationConfig)
		want string
	}{
		{"no profile", func(c *IsolationConfig) { c.Profile = "" }, `isolation.profile is "": it must be none, standard or strict`},
		{"another profile", func(c *IsolationConfig) { c.Profile = "Strict" }, `isolation.profile is "Strict": it must be none, standard or strict`},
		{"uids the wrong way round", func(c *IsolationConfig) { c.UIDs = UIDRange{3000, 2000} },
			"isolation.uids is 3000-2000: the first is above the last"},
		{"root", func(c *IsolationConfig) { c.UIDs = UIDRange{0, 65535} },
			"isolation.uids is 0-65535: it must not begin below 1000, where root and the users of services are"},
		{"nobody", func(c *IsolationConfig) { c.UIDs = UIDRange{60000, 65534} },
			"isolation.uids is 60000-65534: it must not hold 65534, the user nobody"},
		{"beyond the users", func(c *IsolationConfig) { c.UIDs = UIDRange{100000, 1 << 31} },
			"isolation.uids is 100000-2147483648: it must not end above 2147483647"},
		{"one user", func(c *IsolationConfig) { c.UIDs = UIDRange{2000, 2000} },
			"isolation.uids is 2000-2000: it must hold at least 2, one for a stream and one for checks of resources"},
		{"little tmp", func(c *IsolationConfig) { c.TmpSize = 1<<20 - 1 }, "isolation.tmp_size is 1048575: it must be 1MiB to 64GiB"},
		{"much tmp", func(c *IsolationConfig) { c.TmpSize = 65 << 30 }, "isolation.tmp_size is 65GiB: it must be 1MiB to 64GiB"},
		{"no variable", func(c *IsolationConfig) { c.EnvAllow = []string{"A", "B=1"} }, "isolation.env_allow: B=1 is not the name of a variable"},
		{"a variable of the server", func(c *IsolationConfig) { c.EnvAllow = []string{"GOMEMLIMIT"} },
			"isolation.env_allow: GOMEMLIMIT is a variable of the server's own"},
		{"relative", func(c *IsolationConfig) { c.Read = []string{"srv"} }, "isolation.read: srv is not an absolute path: start it with a slash"},
		{"everything", func(c *IsolationConfig) { c.Write = []string{"/"} }, "isolation.write: / is everything: name the folders that are needed"},
		{"of the kernel", func(c *IsolationConfig) { c.Write = []string{"/sys/fs"} },
			"isolation.write: /sys/fs cannot be given, since a stream has a /sys of its own: remove it"},
		{"above the data", func(c *IsolationConfig) { c.Read = []string{"/var/lib"} },
			"isolation.read: /var/lib and data_dir, /var/lib/penstock, are one in the other: keep them apart, or streams reach each other's files"},
		{"the data", func(c *IsolationConfig) { c.Write = []string{"/var/lib/penstock"} }, "isolation.write: /var/lib/penstock and data_dir"},
		{"in the data", func(c *IsolationConfig) { c.AllowExec = []string{"/var/lib/penstock/streams/a/tool"} },
			"isolation.allow_exec: /var/lib/penstock/streams/a/tool and data_dir"},
		{"unclean program", func(c *IsolationConfig) { c.AllowExec = []string{"/usr/bin/../bin/jq"} },
			"isolation.allow_exec: /usr/bin/../bin/jq is not a clean path: write /usr/bin/jq"},
		{"a program that streams write", func(c *IsolationConfig) { c.Write, c.AllowExec = []string{"/srv"}, []string{"/srv/bin/tool"} },
			"isolation.allow_exec: /srv/bin/tool is below /srv of isolation.write, where streams may put a program of their own: keep them apart"},
		{"no port", func(c *IsolationConfig) { c.BindPorts = []string{"http"} }, `isolation.bind_ports: "http" is no port`},
		{"ports the wrong way round", func(c *IsolationConfig) { c.BindPorts = []string{"80", "9-8"} }, `isolation.bind_ports: "9-8" is no port`},
		{"a port too far", func(c *IsolationConfig) { c.BindPorts = []string{"65536"} }, `isolation.bind_ports: "65536" is no port`},
		{"no default", func(c *IsolationConfig) { c.Egress.Default = "block" }, `isolation.egress.default is "block": it must be allow or deny`},
		{"a host's name", func(c *IsolationConfig) { c.Egress.Allow = []string{"example.com"} }, "isolation.egress.allow: "},
		{"a port's name", func(c *IsolationConfig) { c.Egress.Deny = []string{"10.0.0.0/8 https"} }, "isolation.egress.deny: "},
		{"everything of a class", func(c *IsolationConfig) { c.Components.Inputs.Allow = []string{"*"} },
			"isolation.components.inputs.allow: * is for deny: name the components that are allowed"},
		{"no component", func(c *IsolationConfig) { c.Components.RateLimits.Deny = []string{""} },
			`isolation.components.rate_limits.deny: "" is no component's name`},
		{"a component in capitals", func(c *IsolationConfig) { c.Components.Methods.Deny = []string{"Sort"} },
			`isolation.components.methods.deny: "Sort" is no component's name: those are lower case letters, digits and single underscores`},
		{"a pattern", func(c *IsolationConfig) { c.Components.Outputs.Deny = []string{"aws_*"} },
			`isolation.components.outputs.deny: "aws_*" is no component's name`},
		{"allowed and denied", func(c *IsolationConfig) {
			c.Components.Caches = ComponentPolicy{Allow: []string{"file"}, Deny: []string{"*", "file"}}
		},
			`isolation.components.caches.deny: "file" is allowed as well: keep it in one of the two`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := validConfig()
			c.set(&cfg.Isolation)
			err := cfg.Validate()
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "\n", "nothing else is wrong")
		})
	}
}

func TestConfigRefusesLimits(t *testing.T) {
	cfg := validConfig()
	cfg.Limits = LimitsConfig{
		Default: options.Limits{Memory: 2 << 30, Swap: 1 << 20, CPU: 2048, PIDs: 65},
		Max:     options.Limits{Memory: 1 << 30, CPU: 1, PIDs: 64, IO: options.IO{ReadBPS: 1}, Disk: -1},
		// A relative one would be below whatever the supervisor happens to be in.
		HostMemoryShare: 101, CgroupParent: "penstock",
	}
	cfg.StreamMetrics.MaxSeries = 99
	assert.Equal(t, []string{
		"limits.default.cpu is 2048: it must be 0.01 to 1024, or 0 for no limit",
		"limits.max.io.read_bps is 1: it must be 4KiB to 4PiB, or 0 for no limit",
		"limits.max.disk is -1: it must be 1MiB to 4PiB, or 0 for no limit",
		"limits.default.memory is 2GiB: it must not be above limits.max.memory, 1GiB",
		"limits.default.swap is 1MiB: it must not be above limits.max.swap, 0",
		"limits.default.cpu is 2048: it must not be above limits.max.cpu, 1",
		"limits.default.pids is 65: it must not be above limits.max.pids, 64",
		"limits.host_memory_share is 101: it must be 1 to 100 percent",
		`limits.cgroup_parent is "penstock": it must be the path of a cgroup below the root, such as /penstock, or empty`,
		"stream_metrics.max_series is 99: it must be 100 to 1000000",
	}, strings.Split(cfg.Validate().Error(), "\n"))

	cfg = validConfig()
	cfg.Limits.Max.Swap = 1 << 20
	assert.EqualError(t, cfg.Validate(), "limits.max.swap needs memory: set both, or neither")
	for _, parent := range []string{"/", "/a/../b", "/a/", "a"} {
		cfg = validConfig()
		cfg.Limits.CgroupParent = parent
		assert.ErrorContains(t, cfg.Validate(), "limits.cgroup_parent", parent)
	}
}

func TestUIDRangeIsAText(t *testing.T) {
	var r UIDRange
	require.NoError(t, r.UnmarshalText([]byte("200000-265535")))
	assert.Equal(t, UIDRange{200000, 265535}, r)
	text, err := r.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, "200000-265535", string(text))
	for _, text := range []string{"", "1", "-", "1-", "-2", "1-2-3", "a-b", "1 - 2", "+1-2", "1-4294967296", "0x10-0x20"} {
		assert.ErrorContains(t, r.UnmarshalText([]byte(text)), "is not a range of user ids: write for example 200000-265535", text)
	}
	assert.Equal(t, UIDRange{200000, 265535}, r, "left alone")
}

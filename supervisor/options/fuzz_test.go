package options_test

import (
	"path"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"penstock/supervisor/options"
)

// operator permits little.
var operator = options.Allowed{
	Ceiling:       options.Limits{Memory: gib, CPU: 2, PIDs: 512, IO: options.IO{ReadBPS: 1e6}, Disk: gib},
	RestrictPaths: true,
	Read:          []string{"/srv/in"},
	Write:         []string{"/srv/out"},
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"{}", "~", "restart: {policy: always, max_attempts: 5, backoff: {initial: 100ms, max: 30s}}", "restart: {policy: [], max_attempts: !!int x}",
		"restart: {backoff: {initial: 5, max: -1s}, backoff: 1, ${A}: ${B}}", "? [a]\n: b\n", "restart: &x {backoff: *x}", "- 1",
		"limits: {memory: 1GiB, swap: 1MB, cpu: 0.5, cpu_weight: 1, pids: 64, nofile: 64, disk: 1MiB, io: {read_bps: 4096, write_bps: 1e, read_iops: 1, write_iops: 9}}",
		"limits: {swap: 1, cpu: .nan, io: 1, memory: -0.0}", "env: {A: b, 1: 2, GOGC: \"\\0\"}", "sandbox: {read: [/srv/in/x, /, a], write: [/srv/out, [b]]}",
		"replicas: 3", "replicas: {min: 1, max: 4, in_flight: 2, cooldown: 1s}, http: {max_in_flight: 2}", "replicas: {min: 0, max: [2]}, http: {listen: '127.0.0.1:80'}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var root yaml.Node
		if yaml.Unmarshal(text, &root) != nil || len(root.Content) == 0 {
			return
		}
		for _, by := range []options.Allowed{{}, operator} {
			got, lints := options.Parse(root.Content[0], by)
			checkLints(t, lints)
			if lints != nil {
				continue
			}
			checkRestart(t, got.Restart)
			checkLimits(t, got.Limits, by.Ceiling)
			checkSandbox(t, got, by)
			checkReplicas(t, got)
		}
	})
}

func checkLints(t *testing.T, lints []options.Lint) {
	t.Helper()
	for i, l := range lints {
		if l.Line < 1 || l.Column < 1 || l.Message == "" || strings.ContainsAny(l.Message, "\r\n") || len(l.Message) > 1000 {
			t.Fatalf("not one line of what is wrong, and where: %#v", l)
		}
		if i > 0 && lints[i-1].Line > l.Line {
			t.Fatalf("not in the order of the text: %v", lints)
		}
	}
}

// checkReplicas holds what the supervisor divides by and waits for.
func checkReplicas(t *testing.T, o options.Options) {
	t.Helper()
	r := o.Replicas
	if r == (options.Replicas{}) {
		return
	}
	if r.Min < 1 || r.Max < r.Min || r.Max > 64 {
		t.Fatalf("replicas from %d to %d", r.Min, r.Max)
	}
	if r.Scales() != (r.InFlight > 0) || r.Scales() != (r.Cooldown >= 100*time.Millisecond) || r.Scales() && o.HTTP.Listen != "" {
		t.Fatalf("replicas %+v", r)
	}
}

func checkRestart(t *testing.T, r options.Restart) {
	t.Helper()
	if r.Policy != options.PolicyAlways && r.Policy != options.PolicyOnFailure && r.Policy != options.PolicyNever {
		t.Fatalf("policy %q", r.Policy)
	}
	if r.MaxAttempts < 0 || r.MaxAttempts > 1_000_000 {
		t.Fatalf("max_attempts %d", r.MaxAttempts)
	}
	for _, wait := range []time.Duration{r.Backoff.Initial, r.Backoff.Max} {
		if wait != 0 && (wait < time.Millisecond || wait > 24*time.Hour) {
			t.Fatalf("backoff %s", wait)
		}
	}
	if r.Backoff.Max != 0 && r.Backoff.Initial > r.Backoff.Max {
		t.Fatalf("backoff from %s to %s", r.Backoff.Initial, r.Backoff.Max)
	}
}

// checkLimits holds that accepted limits are within their ranges and the
// ceiling, and what the methods promise of any limits.
func checkLimits(t *testing.T, l, ceiling options.Limits) {
	t.Helper()
	if faults := l.Faults(); faults != nil {
		t.Fatalf("%+v: %v", l, faults)
	}
	if above := l.Above(ceiling); above != nil {
		t.Fatalf("%+v: %v", l, above)
	}
	if l.Or(options.Limits{}) != l || l.Within(options.Limits{}) != l {
		t.Fatalf("%+v is changed by nothing", l)
	}
	if every.Or(l) != every {
		t.Fatalf("%+v is changed by defaults of %+v", every, l)
	}
	for _, merged := range []options.Limits{l.Or(every).Within(ceiling), every.Within(l)} {
		if faults := merged.Faults(); faults != nil {
			t.Fatalf("%+v: %v", merged, faults)
		}
	}
	if above := every.Within(l).Above(l); above != nil {
		t.Fatalf("within %+v, and yet %v", l, above)
	}
}

func checkSandbox(t *testing.T, o options.Options, by options.Allowed) {
	t.Helper()
	for name, value := range o.Env {
		if options.CheckEnvName(name) != nil || strings.Contains(value, "\x00") || strings.Contains(value, "${") {
			t.Fatalf("variable %q is %q", name, value)
		}
	}
	for _, p := range append(o.Sandbox.Read, o.Sandbox.Write...) {
		if !path.IsAbs(p) || path.Clean(p) != p || options.Below(p, "/proc") || strings.Contains(p, "\x00") {
			t.Fatalf("path %q", p)
		}
		if by.RestrictPaths && !options.Below(p, "/srv/in") && !options.Below(p, "/srv/out") {
			t.Fatalf("path %q is not permitted", p)
		}
	}
}

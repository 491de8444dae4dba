package runner

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// TestDenialWhereTheLinterIsBlind has what the engine's linter does not look
// into: the build refuses it.
func TestDenialWhereTheLinterIsBlind(t *testing.T) {
	t.Parallel()
	const in, out = "input: {generate: {mapping: root = 1}}\n", "output: {drop: {}}\n"
	for name, c := range map[string]struct {
		config, want string
		change       func(*rpc.PrepareRequest)
	}{
		"interpolation of a plain field":        {in + "output: {reject: '${! env(\"A\") }'}\n", deniedEnv, nil},
		"argument of a message":                 {in + "output: {reject: '${! file(this.path) }'}\n", deniedFile, nil},
		"argument of a message, by name":        {in + "output: {reject: '${! file(path: this.path) }'}\n", deniedFile, nil},
		"type alone":                            {in + "pipeline: {processors: [{type: command}]}\n" + out, deniedCommand, nil},
		"type from a variable":                  {in + "pipeline: {processors: [{type: '${NONE:command}', plugin: {name: id}}]}\n" + out, deniedCommand, nil},
		"name from a variable":                  {in + "pipeline: {processors: [{'${NONE:command}': {name: id}}]}\n" + out, deniedCommand, nil},
		"name from a variable, chilled":         {in + "pipeline: {processors: [{'${NONE:command}': {name: id}}]}\n" + out, deniedCommand, chilled},
		"mapping from a variable":               {in + "pipeline: {processors: [{mapping: '${NONE:root = file(\"a\")}'}]}\n" + out, deniedFile, nil},
		"a stream's own resource":               {in + "processor_resources:\n  - label: p\n    command: {name: id}\n" + out, deniedCommand, chilled},
		"a stream's own resource, used":         {in + "processor_resources: [{label: p, command: {name: id}}]\npipeline: {processors: [{resource: p}]}\n" + out, deniedCommand, chilled},
		"a stream's own metrics":                {in + out + "metrics: {none: {}, mapping: 'root = env(\"A\")'}\n", deniedEnv, chilled},
		"merge key":                             {"x: &x {command: {name: id}}\n" + in + "pipeline: {processors: [{<<: *x}]}\n" + out, "unable to infer", chilled},
		"lint disabled, chilled":                {"# BENTHOS LINT DISABLE\n" + in + "pipeline: {processors: [{command: {name: id}}]}\n" + out, deniedCommand, chilled},
		"lint disabled in the mapping's stream": {"# BENTHOS LINT DISABLE\n" + in + "pipeline: {processors: [{mapping: 'root = env(\"A\")'}]}\n" + out, deniedEnv, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.change == nil {
				c.change = func(*rpc.PrepareRequest) {}
			}
			err := prepareWith(t, strict, c.config, c.change)
			var rejection *rpc.Rejection
			require.ErrorAs(t, err, &rejection)
			assert.ErrorContains(t, rejection, c.want)
		})
	}
}

// TestEveryClassCanBeDenied denies one component of each, by its name and as
// one of all.
func TestEveryClassCanBeDenied(t *testing.T) {
	t.Parallel()
	for class, c := range map[string]struct{ name, config string }{
		rpc.ClassInputs:     {"generate", "input: {generate: {mapping: root = 1}}\noutput: {drop: {}}"},
		rpc.ClassOutputs:    {"drop", "input: {generate: {mapping: root = 1}}\noutput: {drop: {}}"},
		rpc.ClassProcessors: {"noop", "input: {generate: {mapping: root = 1}}\npipeline: {processors: [{noop: {}}]}\noutput: {drop: {}}"},
		rpc.ClassBuffers:    {"memory", "input: {generate: {mapping: root = 1}}\nbuffer: {memory: {}}\noutput: {drop: {}}"},
		rpc.ClassScanners:   {"lines", "input: {file: {paths: [a], scanner: {lines: {}}}}\noutput: {drop: {}}"},
		rpc.ClassCaches:     {"memory", "input: {generate: {mapping: root = 1}}\ncache_resources: [{label: c, memory: {}}]\noutput: {drop: {}}"},
		rpc.ClassRateLimits: {"local", "input: {generate: {mapping: root = 1}}\nrate_limit_resources: [{label: c, local: {}}]\noutput: {drop: {}}"},
		rpc.ClassMetrics:    {"logger", "input: {generate: {mapping: root = 1}}\nmetrics: {logger: {}}\noutput: {drop: {}}"},
		rpc.ClassTracers:    {"none", "input: {generate: {mapping: root = 1}}\ntracer: {none: {}}\noutput: {drop: {}}"},
	} {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			// Some are no part of a stream's config, unless it is chilled.
			for _, names := range [][]string{{"unknown", c.name}, {"*"}} {
				err := prepareWith(t, deny(class, names...), c.config, chilled)
				if class == rpc.ClassTracers {
					assert.NoError(t, err, "having no tracer is not denied")
					continue
				}
				assert.ErrorContains(t, err, component(class, c.name))
			}
			everythingElse := rpc.ComponentPolicy{Classes: map[string]rpc.ClassPolicy{class: {Allow: []string{c.name}, Deny: []string{"*"}}}}
			assert.NoError(t, prepareWith(t, everythingElse, c.config, chilled))
		})
	}
}

// everything denies all that there is.
func everything() rpc.ComponentPolicy {
	p := rpc.ComponentPolicy{DenyDangerous: true, Classes: map[string]rpc.ClassPolicy{}}
	for _, class := range []string{
		rpc.ClassInputs, rpc.ClassOutputs, rpc.ClassProcessors, rpc.ClassCaches, rpc.ClassRateLimits, rpc.ClassBuffers,
		rpc.ClassMetrics, rpc.ClassTracers, rpc.ClassScanners, rpc.ClassFunctions, rpc.ClassMethods,
	} {
		p.Classes[class] = rpc.ClassPolicy{Deny: []string{"*"}}
	}
	return p
}

// TestStreamOfWhatIsAllowed denies everything but what the stream needs, and
// has it run.
func TestStreamOfWhatIsAllowed(t *testing.T) {
	t.Parallel()
	policy := everything()
	policy.Classes[rpc.ClassInputs] = rpc.ClassPolicy{Allow: []string{"http_server"}, Deny: []string{"*"}}
	policy.Classes[rpc.ClassOutputs] = rpc.ClassPolicy{Allow: []string{"sync_response"}, Deny: []string{"*"}}
	policy.Classes[rpc.ClassProcessors] = rpc.ClassPolicy{Allow: []string{"log", "mapping"}, Deny: []string{"*"}}
	policy.Classes[rpc.ClassFunctions] = rpc.ClassPolicy{Allow: []string{"content"}, Deny: []string{"*"}}
	policy.Classes[rpc.ClassMethods] = rpc.ClassPolicy{Allow: []string{"uppercase"}, Deny: []string{"*"}}
	// The engine itself uses methods to find out whether a level exists.
	p := start(t)
	prepared := p.prepare(t, `
input: {http_server: {path: /post}}
pipeline: {processors: [{log: {level: DEBUG, message: x}}, {mapping: root = content().uppercase()}]}
output: {sync_response: {}}`, func(r *rpc.PrepareRequest) { r.Policy = policy })
	require.NoError(t, p.Run(context.Background()))
	status, body := call(t, prepared.HTTPSocket, http.MethodPost, "/post", "abc")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "ABC", body)

	resource := rpc.Resource{Type: "cache", ID: "c", Config: []byte("label: c\nmemory: {}")}
	resource.Check, resource.Posted = true, resource.Config
	only := func(r *rpc.PrepareRequest) { r.ResourcesOnly, r.Resources = true, []rpc.Resource{resource} }
	assert.ErrorContains(t, prepareWith(t, everything(), "", only), component(rpc.ClassCaches, "memory"))
	policy.Classes[rpc.ClassCaches] = rpc.ClassPolicy{Allow: []string{"memory"}, Deny: []string{"*"}}
	assert.NoError(t, prepareWith(t, policy, "", only))
}

// TestMethodsAndFunctionsCanBeDenied has the method that runs mappings of
// values among them, which is not to get around the policy.
func TestMethodsAndFunctionsCanBeDenied(t *testing.T) {
	t.Parallel()
	policy := rpc.ComponentPolicy{Classes: map[string]rpc.ClassPolicy{
		rpc.ClassMethods:   {Deny: []string{"uppercase", "map_each"}},
		rpc.ClassFunctions: {Deny: []string{"random_int"}},
	}}
	stream := func(mapping string) string {
		return fmt.Sprintf("input: {http_server: {path: /post}}\npipeline:\n  processors:\n    - mapping: %s\noutput: {sync_response: {}}\n", mapping)
	}
	for mapping, want := range map[string]string{
		`root = this.a.uppercase()`:                  "method uppercase" + denialOf(rpc.ClassMethods),
		`root = [1].map_each(x -> x)`:                "method map_each" + denialOf(rpc.ClassMethods),
		`root = random_int()`:                        "function random_int" + denialOf(rpc.ClassFunctions),
		`root = random_int(this.a)`:                  "function random_int" + denialOf(rpc.ClassFunctions),
		`root = "a".bloblang("root = random_int()")`: "method bloblang" + denialOf(rpc.ClassMethods),
	} {
		err := prepareWith(t, policy, stream(mapping), chilled)
		assert.ErrorContains(t, err, want, mapping)
	}
	dynamic := stream(`'root = {"s": "Ab"}.bloblang(content().string())'`)
	for _, p := range []rpc.ComponentPolicy{deny(rpc.ClassMethods, "uppercase"), deny(rpc.ClassFunctions, "random_int")} {
		assert.ErrorContains(t, prepareWith(t, p, dynamic), "method bloblang"+denialOf(rpc.ClassMethods))
		classes := maps.Clone(p.Classes)
		classes[rpc.ClassMethods] = rpc.ClassPolicy{Allow: []string{"bloblang"}, Deny: classes[rpc.ClassMethods].Deny}
		assert.NoError(t, prepareWith(t, rpc.ComponentPolicy{Classes: classes}, dynamic))
	}

	// Such a mapping reads nothing of the host anyway.
	p := start(t)
	prepared := p.prepare(t, dynamic, func(r *rpc.PrepareRequest) { r.Policy = strict })
	require.NoError(t, p.Run(context.Background()))
	for text, want := range map[string]string{
		"root = this.s.lowercase()":           "ab",
		`root = env("PATH")`:                  "",
		`root = file("/etc/passwd").string()`: "",
		`from "/etc/passwd"`:                  "",
	} {
		_, body := call(t, prepared.HTTPSocket, http.MethodPost, "/post", text)
		assert.Equal(t, cmp.Or(want, text), body, "a mapping that fails leaves the message")
	}
}

// TestDenialOfWhatIsPostedToARunningStream posts configs to a dynamic input and
// output, which construct them while the stream runs.
func TestDenialOfWhatIsPostedToARunningStream(t *testing.T) {
	t.Parallel()
	canary := filepath.Join(t.TempDir(), "canary")
	p := start(t)
	prepared := p.prepare(t, `
input: {dynamic: {inputs: {a: {generate: {interval: 1h, mapping: root = 1}}}}}
output: {dynamic: {outputs: {a: {drop: {}}}}}`, func(r *rpc.PrepareRequest) { r.Policy = strict })
	require.NoError(t, p.Run(context.Background()))
	for _, c := range []struct{ path, config, want string }{
		{"/inputs/b", fmt.Sprintf(`{"subprocess": {"name": "touch", "args": [%q]}}`, canary), component(rpc.ClassInputs, "subprocess")},
		{"/inputs/b", fmt.Sprintf("generate: {mapping: root = 1, count: 1}\nprocessors: [{command: {name: touch, args_mapping: '[%q]'}}]", canary), deniedCommand},
		{"/inputs/b", `generate: {mapping: 'root = file("/etc/passwd")'}`, deniedFile},
		{"/inputs/b", "generate: {mapping: 'from \"/etc/passwd\"'}", deniedImport},
		{"/outputs/b", fmt.Sprintf("subprocess: {name: touch, args: [%q]}", canary), component(rpc.ClassOutputs, "subprocess")},
		{"/outputs/b", `reject: '${! env("PATH") }'`, deniedEnv},
	} {
		status, body := call(t, prepared.HTTPSocket, http.MethodPost, c.path, c.config)
		assert.GreaterOrEqual(t, status, 400, c.config)
		assert.Contains(t, body, c.want)
	}
	status, body := call(t, prepared.HTTPSocket, http.MethodPost, "/inputs/b", "generate: {interval: 1h, mapping: root = 1}")
	assert.Equal(t, http.StatusOK, status, body)
	assert.NoFileExists(t, canary)
}

// TestDenialOfAnOlderResource has a resource that was there before the policy
// was: nobody checks it, and it does not work.
func TestDenialOfAnOlderResource(t *testing.T) {
	t.Parallel()
	canary := filepath.Join(t.TempDir(), "canary")
	older := []rpc.Resource{
		{Type: "processor", ID: "used", Config: fmt.Appendf(nil, "label: used\ncommand: {name: touch, args_mapping: '[%q]'}", canary)},
		{Type: "input", ID: "unused", Config: fmt.Appendf(nil, "label: unused\nsubprocess: {name: touch, args: [%q]}", canary)},
	}
	assert.NoError(t, prepareWith(t, strict, idle, func(r *rpc.PrepareRequest) { r.Resources = older }), "a stream that does not use it")

	err := prepareWith(t, strict, `{input: {generate: {mapping: root = 1}}, pipeline: {processors: [{resource: used}]}, output: {drop: {}}}`,
		func(r *rpc.PrepareRequest) { r.Resources = older })
	assert.ErrorContains(t, err, "processor resource 'used' was not found; the processor resource \"used\" is left out: "+deniedCommand)
	err = prepareWith(t, strict, `{input: {resource: unused}, output: {drop: {}}}`,
		func(r *rpc.PrepareRequest) { r.Resources = older })
	assert.ErrorContains(t, err, "the input resource \"unused\" is left out: "+component(rpc.ClassInputs, "subprocess"))
	assert.NotContains(t, err.Error(), deniedCommand, "what it does not use is not named")
	assert.NoFileExists(t, canary)
}

// call sends a request to an endpoint of a stream.
func call(t *testing.T, socket, method, path, body string) (status int, answer string) {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequest(method, "http://runner"+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var buffer bytes.Buffer
	_, err = io.Copy(&buffer, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, buffer.String()
}

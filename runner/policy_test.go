package runner

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// strict is the policy of a server for tenants.
var strict = rpc.ComponentPolicy{DenyDangerous: true}

func deny(class string, names ...string) rpc.ComponentPolicy {
	return rpc.ComponentPolicy{Classes: map[string]rpc.ClassPolicy{class: {Deny: names}}}
}

// prepareWith prepares a config under a policy in a new runner, and in another
// that kept to the policy before: both have to say the same.
func prepareWith(t *testing.T, policy rpc.ComponentPolicy, config string, change ...func(*rpc.PrepareRequest)) error {
	t.Helper()
	req := rpc.PrepareRequest{StreamID: "s", Config: []byte(config), Policy: policy}
	for _, c := range change {
		c(&req)
	}
	ctx := context.Background()
	_, err := start(t).Prepare(ctx, req)
	ahead := start(t)
	require.NoError(t, ahead.Rehearse(ctx, policy))
	_, again := ahead.Prepare(ctx, req)
	assert.Equal(t, err, again, "of a runner that has rehearsed")
	return err
}

func chilled(r *rpc.PrepareRequest) { r.Chilled = true }

func component(class, name string) string {
	return "component type " + name + denialOf(class)
}

func denialOf(class string) string {
	return " is denied by this server's policy: ask its operator to allow it (isolation.components." + class + ".allow)"
}

const (
	deniedCommand = "component type command is denied by this server's policy: ask its operator to allow it (isolation.components.processors.allow)"
	deniedFile    = "function file is denied by this server's policy: ask its operator to allow it (isolation.components.functions.allow)"
	deniedEnv     = "function env is denied by this server's policy: ask its operator to allow it (isolation.components.functions.allow)"
	deniedImport  = "import is denied by this server's policy: ask its operator to allow it (isolation.components.functions.allow)"
)

// TestDenialIsALint has every place in which a config can name a component or a
// function, and expects that the denial points at the name. Chilled changes
// nothing of it.
func TestDenialIsALint(t *testing.T) {
	t.Parallel()
	const in, out = "input: {generate: {mapping: root = 1}}\n", "output: {drop: {}}\n"
	for name, c := range map[string]struct {
		config string
		line   int
		column int
		want   string
	}{
		"input":                {"input:\n  subprocess:\n    name: cat\n" + out, 2, 3, component(rpc.ClassInputs, "subprocess")},
		"output":               {in + "output:\n  label: x\n  subprocess: {name: cat}\n", 4, 3, component(rpc.ClassOutputs, "subprocess")},
		"processor":            {in + "pipeline:\n  processors:\n    - command: {name: id}\n" + out, 4, 7, deniedCommand},
		"subprocess":           {in + "pipeline: {processors: [{subprocess: {name: cat}}]}\n" + out, 2, 26, component(rpc.ClassProcessors, "subprocess")},
		"second":               {in + "pipeline:\n  processors:\n    - mapping: root = 1\n    - label: l\n      command:\n        name: id\n" + out, 6, 7, deniedCommand},
		"json":                 {"{\"input\": {\"generate\": {\"mapping\": \"root = 1\"}},\n \"pipeline\": {\"processors\": [{\"command\": {\"name\": \"id\"}}]},\n \"output\": {\"drop\": {}}}", 2, 31, deniedCommand},
		"with a type":          {in + "pipeline:\n  processors:\n    - type: command\n      command: {name: id}\n" + out, 5, 7, deniedCommand},
		"as a plugin":          {in + "pipeline:\n  processors:\n    - type: command\n      plugin: {name: id}\n" + out, 5, 1, deniedCommand},
		"alias":                {"input:\n  generate: {mapping: root = 1}\n  processors: &p\n    - command: {name: id}\npipeline: {processors: *p}\n" + out, 4, 7, deniedCommand},
		"in a broker":          {"input:\n  broker:\n    inputs:\n      - subprocess: {name: cat}\n" + out, 4, 9, component(rpc.ClassInputs, "subprocess")},
		"at an input":          {"input:\n  generate: {mapping: root = 1}\n  processors:\n    - command: {name: id}\n" + out, 4, 7, deniedCommand},
		"at an output":         {in + "output:\n  drop: {}\n  processors:\n    - command: {name: id}\n", 5, 7, deniedCommand},
		"in a branch":          {in + "pipeline:\n  processors:\n    - branch:\n        processors:\n          - command: {name: id}\n" + out, 6, 13, deniedCommand},
		"in a switch":          {in + "pipeline:\n  processors:\n    - switch:\n        - processors: [{command: {name: id}}]\n" + out, 5, 25, deniedCommand},
		"in a try of a while":  {in + "pipeline:\n  processors:\n    - while:\n        check: 'false'\n        processors:\n          - try:\n              - command: {name: id}\n" + out, 8, 17, deniedCommand},
		"in a workflow":        {in + "pipeline:\n  processors:\n    - workflow:\n        branches:\n          a.b:\n            processors:\n              - command: {name: id}\n" + out, 8, 17, deniedCommand},
		"in a dynamic input":   {"input:\n  dynamic:\n    inputs:\n      a:\n        subprocess: {name: cat}\n" + out, 5, 9, component(rpc.ClassInputs, "subprocess")},
		"in a batch policy":    {in + "output:\n  broker:\n    batching:\n      count: 2\n      processors: [{command: {name: id}}]\n    outputs: [{drop: {}}]\n", 6, 21, deniedCommand},
		"lint disabled":        {"# BENTHOS LINT DISABLE\n" + in + "pipeline: {processors: [{command: {name: id}}]}\n" + out, 3, 26, deniedCommand},
		"lint disabled hidden": {"${NONE:# BENTHOS LINT DISABLE}\n" + in + "pipeline: {processors: [{command: {name: id}}]}\n" + out, 3, 1, deniedCommand},

		"mapping":             {in + "pipeline:\n  processors:\n    - mapping: root = file(\"/etc/passwd\")\n" + out, 4, 23, deniedFile},
		"bloblang":            {in + "pipeline: {processors: [{bloblang: 'root = env(\"A\")'}]}\n" + out, 2, 44, deniedEnv},
		"mutation":            {in + "pipeline: {processors: [{mutation: 'root.a = file_rel(\"a\")'}]}\n" + out, 2, 46, "function file_rel" + denialOf(rpc.ClassFunctions)},
		"named":               {in + "pipeline: {processors: [{mapping: 'root = file(no_cache: true, path: \"a\")'}]}\n" + out, 2, 43, deniedFile},
		"not static":          {in + "pipeline: {processors: [{mapping: 'root = file(this.a)'}]}\n" + out, 2, 43, deniedFile},
		"deep":                {in + "pipeline: {processors: [{mapping: 'root = [1].map_each(x -> if true { env(\"A\") })'}]}\n" + out, 2, 71, deniedEnv},
		"in a block":          {in + "pipeline:\n  processors:\n    - mapping: |\n        root.a = 1\n        root.b = file(\"a\").string()\n" + out, 6, 18, deniedFile},
		"in a map":            {in + "pipeline:\n  processors:\n    - mapping: |\n        map m { root = file(\"a\") }\n        root = this.apply(\"m\")\n" + out, 5, 24, deniedFile},
		"in an interpolation": {in + "output:\n  file:\n    path: /tmp/${! file(\"a\") }\n", 4, 20, deniedFile},
		"generate":            {"input: {generate: {mapping: 'root = env(\"A\")'}}\n" + out, 1, 37, deniedEnv},
		"branch map":          {in + "pipeline:\n  processors:\n    - branch:\n        request_map: root = file(\"a\")\n        processors: [{noop: {}}]\n" + out, 5, 29, deniedFile},
		"result map":          {in + "pipeline:\n  processors:\n    - branch:\n        processors: [{noop: {}}]\n        result_map: root.a = file(\"a\")\n" + out, 6, 30, deniedFile},
		"switch check":        {in + "pipeline:\n  processors:\n    - switch:\n        - check: file(\"a\") == \"\"\n" + out, 5, 18, deniedFile},
		"output switch":       {in + "output:\n  switch:\n    cases:\n      - check: env(\"A\") == \"\"\n        output: {drop: {}}\n", 5, 16, deniedEnv},
		"read_until":          {"input:\n  read_until:\n    check: env(\"A\") == \"\"\n    input: {generate: {mapping: root = 1}}\n" + out, 3, 12, deniedEnv},
		"log fields":          {in + "pipeline: {processors: [{log: {message: '${! env(\"A\") }'}}]}\n" + out, 2, 46, deniedEnv},
		"log fields mapping":  {in + "pipeline: {processors: [{log: {fields_mapping: 'root.a = env(\"A\")'}}]}\n" + out, 2, 58, deniedEnv},
		"metric label":        {in + "pipeline: {processors: [{metric: {type: counter, name: a, labels: {a: '${! env(\"A\") }'}}}]}\n" + out, 2, 76, deniedEnv},
		"http header":         {in + "output:\n  http_client:\n    url: http://127.0.0.1:1\n    headers:\n      a: ${! env(\"A\") }\n", 6, 14, deniedEnv},
		"http url":            {in + "output: {http_client: {url: 'http://127.0.0.1:1/${! file(\"a\") }'}}\n", 2, 53, deniedFile},
		"cache key":           {in + "output: {cache: {target: c, key: '${! env(\"A\") }'}}\n", 2, 39, deniedEnv},
		"batch check":         {in + "output:\n  broker:\n    batching: {check: 'env(\"A\") == \"\"'}\n    outputs: [{drop: {}}]\n", 4, 24, deniedEnv},
		"group_by":            {in + "pipeline: {processors: [{group_by: [{check: 'env(\"A\") == \"\"', processors: []}]}]}\n" + out, 2, 46, deniedEnv},
		"group_by_value":      {in + "pipeline: {processors: [{group_by_value: {value: '${! env(\"A\") }'}}]}\n" + out, 2, 55, deniedEnv},
		"dedupe key":          {in + "pipeline: {processors: [{dedupe: {cache: c, key: '${! env(\"A\") }'}}]}\n" + out, 2, 55, deniedEnv},
		"cached key":          {in + "pipeline: {processors: [{cached: {cache: c, key: '${! env(\"A\") }', processors: []}}]}\n" + out, 2, 55, deniedEnv},
		"sleep":               {in + "pipeline: {processors: [{sleep: {duration: '${! env(\"A\") }'}}]}\n" + out, 2, 49, deniedEnv},
		"archive":             {in + "pipeline: {processors: [{archive: {format: tar, path: '${! env(\"A\") }'}}]}\n" + out, 2, 60, deniedEnv},
		"insert_part":         {in + "pipeline: {processors: [{insert_part: {content: '${! env(\"A\") }'}}]}\n" + out, 2, 54, deniedEnv},
		"retry":               {in + "pipeline: {processors: [{while: {check: 'env(\"A\") == \"\"', processors: []}}]}\n" + out, 2, 42, deniedEnv},
		"system_window":       {in + "buffer: {system_window: {size: 1s, timestamp_mapping: 'root = env(\"A\")'}}\n" + out, 2, 63, deniedEnv},
		"import":              {in + "pipeline:\n  processors:\n    - mapping: |\n        import \"/etc/passwd\"\n        root = this\n" + out, 5, 9, deniedImport},
		"from":                {in + "pipeline:\n  processors:\n    - mapping: from \"/etc/passwd\"\n" + out, 4, 16, deniedImport},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, change := range []func(*rpc.PrepareRequest){func(*rpc.PrepareRequest) {}, chilled} {
				err := prepareWith(t, strict, c.config, change)
				var rejection *rpc.Rejection
				require.ErrorAs(t, err, &rejection)
				assert.Equal(t, rpc.RejectLint, rejection.Kind)
				assert.Equal(t, []rpc.Lint{{Line: c.line, Column: c.column, Message: c.want}}, rejection.Lints, rejection.Message)
			}
		})
	}
}

// TestDenialOfResources has a resource's own config, which is linted by itself.
func TestDenialOfResources(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resource rpc.Resource
		want     rpc.Lint
	}{
		"processor": {
			rpc.Resource{Type: "processor", ID: "a", Config: []byte("label: a\ncommand: {name: id}")},
			rpc.Lint{Line: 2, Column: 1, Message: deniedCommand, Resource: "a"},
		},
		"nested": {
			rpc.Resource{Type: "input", ID: "a", Config: []byte("label: a\nbroker:\n  inputs:\n    - subprocess: {name: cat}")},
			rpc.Lint{Line: 4, Column: 7, Message: component(rpc.ClassInputs, "subprocess"), Resource: "a"},
		},
		"mapping": {
			rpc.Resource{Type: "processor", ID: "a", Config: []byte("label: a\nmapping: root = file(\"/etc/passwd\")")},
			rpc.Lint{Line: 2, Column: 17, Message: deniedFile, Resource: "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, change := range []func(*rpc.PrepareRequest){func(*rpc.PrepareRequest) {}, chilled} {
				res := c.resource
				res.Check, res.Posted = true, res.Config
				for _, only := range []bool{true, false} {
					err := prepareWith(t, strict, idle, change, func(r *rpc.PrepareRequest) {
						r.ResourcesOnly, r.Resources = only, []rpc.Resource{res}
					})
					var rejection *rpc.Rejection
					require.ErrorAs(t, err, &rejection)
					assert.Equal(t, []rpc.Lint{c.want}, rejection.Lints, rejection.Message)
				}
			}
		})
	}
}

func TestAllowLiftsDenials(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("x"), 0o600))
	policy := rpc.ComponentPolicy{DenyDangerous: true, Classes: map[string]rpc.ClassPolicy{
		rpc.ClassProcessors: {Allow: []string{"command", "nothing that exists"}, Deny: []string{"nothing else"}},
		rpc.ClassFunctions:  {Allow: []string{"file"}},
		"no class":          {Deny: []string{"*"}},
	}}
	assert.NoError(t, prepareWith(t, policy, `
input: {generate: {mapping: 'root = file("`+secret+`")'}}
pipeline: {processors: [{command: {name: id}}]}
output: {drop: {}}`))
	err := prepareWith(t, policy, `{input: {generate: {mapping: 'root = env("A")'}}, output: {drop: {}}}`)
	assert.ErrorContains(t, err, deniedEnv, "what is not allowed by name stays denied")
}

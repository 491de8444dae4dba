package engine

import (
	"testing"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func TestDenied(t *testing.T) {
	policy := func(dangerous bool, class string, allow, deny []string) rpc.ComponentPolicy {
		return rpc.ComponentPolicy{DenyDangerous: dangerous, Classes: map[string]rpc.ClassPolicy{class: {Allow: allow, Deny: deny}}}
	}
	for name, c := range map[string]struct {
		policy      rpc.ComponentPolicy
		class, name string
		want        bool
	}{
		"nothing":               {rpc.ComponentPolicy{}, rpc.ClassInputs, "subprocess", false},
		"dangerous":             {rpc.ComponentPolicy{DenyDangerous: true}, rpc.ClassInputs, "subprocess", true},
		"dangerous elsewhere":   {rpc.ComponentPolicy{DenyDangerous: true}, rpc.ClassCaches, "subprocess", false},
		"harmless":              {rpc.ComponentPolicy{DenyDangerous: true}, rpc.ClassInputs, "generate", false},
		"import":                {rpc.ComponentPolicy{DenyDangerous: true}, rpc.ClassFunctions, "import", true},
		"dangerous but allowed": {policy(true, rpc.ClassInputs, []string{"subprocess"}, nil), rpc.ClassInputs, "subprocess", false},
		"allowed elsewhere":     {policy(true, rpc.ClassOutputs, []string{"subprocess"}, nil), rpc.ClassInputs, "subprocess", true},
		"by name":               {policy(false, rpc.ClassInputs, nil, []string{"file"}), rpc.ClassInputs, "file", true},
		"another by name":       {policy(false, rpc.ClassInputs, nil, []string{"file"}), rpc.ClassInputs, "stdin", false},
		"by name but allowed":   {policy(false, rpc.ClassInputs, []string{"file"}, []string{"file"}), rpc.ClassInputs, "file", false},
		"all":                   {policy(false, rpc.ClassInputs, []string{"stdin"}, []string{"*"}), rpc.ClassInputs, "file", true},
		"all but one":           {policy(false, rpc.ClassInputs, []string{"stdin"}, []string{"*"}), rpc.ClassInputs, "stdin", false},
		"allow has no wildcard": {policy(true, rpc.ClassInputs, []string{"*"}, nil), rpc.ClassInputs, "subprocess", true},
		"no buffer":             {policy(false, rpc.ClassBuffers, nil, []string{"*"}), rpc.ClassBuffers, "none", false},
		"no buffer by name":     {policy(false, rpc.ClassBuffers, nil, []string{"none"}), rpc.ClassBuffers, "none", false},
		"dynamic":               {withoutDynamic(rpc.ComponentPolicy{}), rpc.ClassMethods, "bloblang", true},
		"dynamic but allowed":   {withoutDynamic(policy(false, rpc.ClassMethods, []string{"bloblang"}, nil)), rpc.ClassMethods, "bloblang", false},
	} {
		assert.Equal(t, c.want, denied(c.policy, c.class, c.name), name)
	}
	before := policy(false, rpc.ClassMethods, nil, []string{"a"})
	withoutDynamic(before)
	assert.Equal(t, policy(false, rpc.ClassMethods, nil, []string{"a"}), before, "it is a copy")
}

// TestDangerousIsAllThatReachesTheHost finds what an engine of another version
// has in addition, or no longer.
func TestDangerousIsAllThatReachesTheHost(t *testing.T) {
	known := map[string]bool{}
	for _, class := range componentClasses {
		class.walk(service.GlobalEnvironment(), func(name string, _ *service.ConfigView) { known[class.name+" "+name] = true })
	}
	l := &language{}
	var impure []string
	bloblang.GlobalEnvironment().WalkFunctions(func(name string, view *bloblang.FunctionView) {
		known[rpc.ClassFunctions+" "+name] = true
		if l.describe(view.FormatJSON()).Impure {
			impure = append(impure, name)
		}
	})
	bloblang.GlobalEnvironment().WalkMethods(func(name string, view *bloblang.MethodView) {
		known[rpc.ClassMethods+" "+name] = true
		assert.False(t, l.describe(view.FormatJSON()).Impure, name)
	})
	for _, err := range l.errs {
		require.NoError(t, err)
	}
	// count keeps a number in the process, and every stream has a host's name
	// of its own where it matters.
	assert.ElementsMatch(t, []string{"count", "hostname", "env", "file", "file_rel"}, impure)
	assert.True(t, known[rpc.ClassMethods+" "+dynamicMethod])
	for class, names := range dangerous {
		for _, name := range names {
			assert.True(t, known[class+" "+name] || name == importName, "%s %s", class, name)
		}
	}
}

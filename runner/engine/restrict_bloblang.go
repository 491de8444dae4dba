package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// dynamicMethod is the method that runs a mapping which is a value. What such a
// mapping may use the engine takes down when it starts: all methods, and the
// functions that are pure.
const dynamicMethod = "bloblang"

// plugin is what the engine tells of a function or method, as far as it is of
// interest here.
type plugin struct {
	Name   string `json:"name"`
	Impure bool   `json:"impure"`
	Params struct {
		Variadic bool `json:"variadic"`
		Named    []struct {
			Name string `json:"name"`
		} `json:"named"`
	} `json:"params"`
}

// anyArguments describes a plugin that takes what this one takes, of any type.
// An argument that is a query is not resolved before the plugin is constructed,
// so that the construction fails where a mapping is read and not where it runs.
func (p plugin) anyArguments() *bloblang.PluginSpec {
	spec := bloblang.NewPluginSpec()
	if p.Params.Variadic {
		return spec.Variadic()
	}
	for _, param := range p.Params.Named {
		spec.Param(bloblang.NewQueryParam(param.Name, true).Optional())
	}
	return spec
}

// language is Bloblang and what a policy denies of it.
type language struct {
	policy             rpc.ComponentPolicy
	functions, methods []plugin
	errs               []error
}

// restrictBloblang does for functions and methods what restrict does for
// components. The pure ones it leaves to the global environment, in which the
// engine reads the mappings by which it lints: they can only be used where a
// component was given the stream's environment, as the engine's all are.
//
// The linter constructs no function, and so finds none that cannot be
// constructed: in the environment for linting, which is returned, the denied
// ones do not exist.
func restrictBloblang(env *service.Environment, policy rpc.ComponentPolicy) (*service.Environment, rpc.ComponentPolicy, error) {
	global := bloblang.GlobalEnvironment()
	l := &language{policy: policy}
	l.read(global)
	own := global.Clone()
	l.refuse(own, func(plugin) bool { return true })
	l.refuse(global, func(p plugin) bool { return p.Impure })
	if err := errors.Join(l.errs...); err != nil {
		return nil, policy, fmt.Errorf("applying the policy of Bloblang's functions and methods: %w", err)
	}

	linted := own.WithoutFunctions(names(l.functions)...).WithoutMethods(names(l.methods)...)
	if denied(policy, rpc.ClassFunctions, importName) {
		refuse := func(string) ([]byte, error) { return nil, denial{rpc.ClassFunctions, importName} }
		own, linted = own.WithCustomImporter(refuse), linted.WithCustomImporter(refuse)
	}
	env.UseBloblangEnvironment(own)
	linting := env.Clone()
	linting.UseBloblangEnvironment(linted)
	return linting, l.policy, nil
}

// read finds what the policy denies. The method that runs mappings of values is
// denied as well where such a mapping could use any of it.
func (l *language) read(global *bloblang.Environment) {
	var dynamic []plugin
	global.WalkFunctions(func(name string, view *bloblang.FunctionView) {
		if denied(l.policy, rpc.ClassFunctions, name) {
			l.functions = append(l.functions, l.describe(view.FormatJSON()))
		}
	})
	global.WalkMethods(func(name string, view *bloblang.MethodView) {
		switch {
		case denied(l.policy, rpc.ClassMethods, name):
			l.methods = append(l.methods, l.describe(view.FormatJSON()))
		case name == dynamicMethod:
			dynamic = append(dynamic, l.describe(view.FormatJSON()))
		}
	})
	pure := func(p plugin) bool { return !p.Impure }
	if len(l.methods) == 0 && !slices.ContainsFunc(l.functions, pure) {
		return
	}
	l.policy = withoutDynamic(l.policy)
	if denied(l.policy, rpc.ClassMethods, dynamicMethod) {
		l.methods = append(l.methods, dynamic...)
	}
}

// withoutDynamic is the policy with dynamicMethod among what it denies, where
// it may still be allowed by name.
func withoutDynamic(policy rpc.ComponentPolicy) rpc.ComponentPolicy {
	classes := map[string]rpc.ClassPolicy{}
	maps.Copy(classes, policy.Classes)
	own := classes[rpc.ClassMethods]
	own.Deny = append(slices.Clone(own.Deny), dynamicMethod)
	classes[rpc.ClassMethods] = own
	policy.Classes = classes
	return policy
}

// describe reads a description of the engine's. Only in this form does it tell
// of purity.
func (l *language) describe(data []byte, err error) (p plugin) {
	l.errs = append(l.errs, err)
	if err == nil {
		l.errs = append(l.errs, json.Unmarshal(data, &p))
	}
	return p
}

// refuse registers those of the denied plugins that are chosen anew: they
// cannot be constructed.
func (l *language) refuse(env *bloblang.Environment, chosen func(plugin) bool) {
	for _, p := range l.functions {
		if chosen(p) {
			l.errs = append(l.errs, env.RegisterFunctionV2(p.Name, p.anyArguments(),
				func(*bloblang.ParsedParams) (bloblang.Function, error) {
					return nil, denial{rpc.ClassFunctions, p.Name}
				}))
		}
	}
	for _, p := range l.methods {
		if chosen(p) {
			l.errs = append(l.errs, env.RegisterMethodV2(p.Name, p.anyArguments(),
				func(*bloblang.ParsedParams) (bloblang.Method, error) { return nil, denial{rpc.ClassMethods, p.Name} }))
		}
	}
}

func names(plugins []plugin) []string {
	out := make([]string, len(plugins))
	for i, p := range plugins {
		out[i] = p.Name
	}
	return out
}

package engine

import (
	"slices"

	"penstock/rpc"
)

// wildcard in a list of denied names stands for all of them.
const wildcard = "*"

// importName is the name by which the policy of functions knows the import of
// a mapping from a file, which is a statement and no function.
const importName = "import"

// dangerous is what ComponentPolicy.DenyDangerous denies: what runs programs,
// and the functions that read files and the environment.
var dangerous = map[string][]string{
	rpc.ClassInputs:     {"subprocess"},
	rpc.ClassOutputs:    {"subprocess"},
	rpc.ClassProcessors: {"command", "subprocess"},
	rpc.ClassFunctions:  {"env", "file", "file_rel", importName},
}

// structural is what the engine takes for having no such component, and what
// we set for every stream. No policy denies it.
var structural = map[string][]string{
	rpc.ClassBuffers: {"none"},
	rpc.ClassMetrics: {"none"},
	rpc.ClassTracers: {"none"},
}

// denied reports whether the policy denies a name of a class.
func denied(policy rpc.ComponentPolicy, class, name string) bool {
	own := policy.Classes[class]
	if slices.Contains(own.Allow, name) || slices.Contains(structural[class], name) {
		return false
	}
	return slices.Contains(own.Deny, name) || slices.Contains(own.Deny, wildcard) ||
		policy.DenyDangerous && slices.Contains(dangerous[class], name)
}

// denial is the error of a component or function that the policy denies.
type denial struct{ class, name string }

// deniedText is in the text of every denial.
const deniedText = " is denied by this server's policy: "

// Error implements error.
func (d denial) Error() string {
	what := "component type " + d.name
	switch {
	case d.class == rpc.ClassFunctions && d.name == importName:
		what = importName
	case d.class == rpc.ClassFunctions:
		what = "function " + d.name
	case d.class == rpc.ClassMethods:
		what = "method " + d.name
	}
	return what + deniedText + "ask its operator to allow it (isolation.components." + d.class + ".allow)"
}

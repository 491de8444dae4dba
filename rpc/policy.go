package rpc

// The classes of a ComponentPolicy.
const (
	ClassInputs     = "inputs"
	ClassOutputs    = "outputs"
	ClassProcessors = "processors"
	ClassCaches     = "caches"
	ClassRateLimits = "rate_limits"
	ClassBuffers    = "buffers"
	ClassMetrics    = "metrics"
	ClassTracers    = "tracers"
	ClassScanners   = "scanners"
	// ClassFunctions are Bloblang's functions, with "import" for the import of
	// a mapping from a file.
	ClassFunctions = "functions"
	// ClassMethods are Bloblang's methods.
	ClassMethods = "methods"
)

// ComponentPolicy says which of the engine's components a stream may use. The
// zero value allows all.
type ComponentPolicy struct {
	// DenyDangerous denies what runs programs, and the Bloblang functions that
	// read the host's files and environment, unless their class allows them.
	DenyDangerous bool
	// Classes holds the policy of each class that has one.
	Classes map[string]ClassPolicy
}

// ClassPolicy is the policy of one class of components. A name that the engine
// does not know is passed over.
type ClassPolicy struct {
	// Allow lifts names out of Deny, and out of what is denied as dangerous.
	Allow []string
	// Deny holds names, or "*" for all of them.
	Deny []string
}

// Zero reports whether the policy allows everything.
func (p ComponentPolicy) Zero() bool {
	if p.DenyDangerous {
		return false
	}
	for _, class := range p.Classes {
		if len(class.Deny) > 0 {
			return false
		}
	}
	return true
}

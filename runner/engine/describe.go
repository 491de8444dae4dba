package engine

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// Describe lists the components that the process carries, by type and name.
func Describe() ([]rpc.Component, error) {
	var out []rpc.Component
	var failed error
	take := func(name string, config *service.ConfigView) {
		text, err := config.FormatJSON()
		var c rpc.Component
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil && failed == nil {
			failed = fmt.Errorf("the description of component %q: %w", name, err)
		}
		out = append(out, c)
	}
	env := service.GlobalEnvironment()
	for _, walk := range []func(func(string, *service.ConfigView)){
		env.WalkBuffers, env.WalkCaches, env.WalkInputs, env.WalkMetrics, env.WalkOutputs,
		env.WalkProcessors, env.WalkRateLimits, env.WalkScanners, env.WalkTracers,
	} {
		walk(take)
	}
	slices.SortFunc(out, func(a, b rpc.Component) int {
		return strings.Compare(string(a.Type)+" "+a.Name, string(b.Type)+" "+b.Name)
	})
	return out, failed
}

// Version is that of the engine in the process, as the build recorded it; empty
// where it did not.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == enginePath {
			if dep.Replace != nil {
				return dep.Replace.Version
			}
			return dep.Version
		}
	}
	return ""
}

// enginePath is the engine's module.
const enginePath = "github.com/redpanda-data/benthos/v4"

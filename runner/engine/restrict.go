package engine

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// componentClass is how the engine lists and takes the components of a class.
type componentClass struct {
	name string
	walk func(*service.Environment, func(string, *service.ConfigView))
	// refuse puts a component in the place of the one that has this name: its
	// constructor fails with the error.
	refuse func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error
}

var componentClasses = []componentClass{
	{rpc.ClassInputs, (*service.Environment).WalkInputs, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterBatchInput(name, spec, failing(service.BatchInputConstructor(nil), err))
	}},
	{rpc.ClassOutputs, (*service.Environment).WalkOutputs, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterBatchOutput(name, spec, func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			return nil, service.BatchPolicy{}, 0, err
		})
	}},
	{rpc.ClassProcessors, (*service.Environment).WalkProcessors, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterBatchProcessor(name, spec, failing(service.BatchProcessorConstructor(nil), err))
	}},
	{rpc.ClassCaches, (*service.Environment).WalkCaches, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterCache(name, spec, failing(service.CacheConstructor(nil), err))
	}},
	{rpc.ClassRateLimits, (*service.Environment).WalkRateLimits, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterRateLimit(name, spec, failing(service.RateLimitConstructor(nil), err))
	}},
	{rpc.ClassBuffers, (*service.Environment).WalkBuffers, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterBatchBuffer(name, spec, failing(service.BatchBufferConstructor(nil), err))
	}},
	{rpc.ClassMetrics, (*service.Environment).WalkMetrics, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterMetricsExporter(name, spec, failing(service.MetricsExporterConstructor(nil), err))
	}},
	{rpc.ClassTracers, (*service.Environment).WalkTracers, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterOtelTracerProvider(name, spec, failingAlone(service.OtelTracerProviderConstructor(nil), err))
	}},
	{rpc.ClassScanners, (*service.Environment).WalkScanners, func(env *service.Environment, name string, spec *service.ConfigSpec, err error) error {
		return env.RegisterBatchScannerCreator(name, spec, failing(service.BatchScannerCreatorConstructor(nil), err))
	}},
}

// failing is a constructor of the kind of another one, which it does not use.
func failing[Conf, Resources, Made any](_ func(Conf, Resources) (Made, error), err error) func(Conf, Resources) (Made, error) {
	return func(Conf, Resources) (none Made, _ error) { return none, err }
}

// failingAlone is failing for a component that has no resources.
func failingAlone[Conf, Made any](_ func(Conf) (Made, error), err error) func(Conf) (Made, error) {
	return func(Conf) (none Made, _ error) { return none, err }
}

// restrict makes the whole process keep to the policy. It returns the
// environment to lint in, and the policy with all that follows from it. A process hosts one stream: what is denied is taken
// out of the engine's own global environment, so that no component finds it by
// whatever way, be it made while the stream runs.
//
// A denied component is one that cannot be constructed and whose config never
// lints.
func restrict(policy rpc.ComponentPolicy) (*service.Environment, rpc.ComponentPolicy, error) {
	env := service.GlobalEnvironment()
	if policy.Zero() {
		return env, policy, nil
	}
	var errs []error
	for _, class := range componentClasses {
		class.walk(env, func(name string, _ *service.ConfigView) {
			if !denied(policy, class.name, name) {
				return
			}
			errs = append(errs, class.deny(env, name))
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, policy, fmt.Errorf("applying the component policy: %w", err)
	}
	return restrictBloblang(env, policy)
}

// deny puts what cannot be constructed in the place of a component.
func (c componentClass) deny(env *service.Environment, name string) error {
	err := denial{c.name, name}
	spec, specErr := deniedSpec(err)
	return errors.Join(specErr, c.refuse(env, name, spec, err))
}

// deniedSpec describes a component that takes any config and finds it wrong.
// The engine reads a rule given in this form only once there is such a config.
func deniedSpec(err error) (*service.ConfigSpec, error) {
	description, jsonErr := json.Marshal(map[string]any{"config": map[string]any{
		"type": "unknown", "kind": "scalar", "linter": fmt.Sprintf("root = [%q]", err.Error()),
	}})
	spec := service.NewConfigSpec()
	return spec, errors.Join(jsonErr, spec.EncodeJSON(description))
}

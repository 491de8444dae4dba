package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"penstock/rpc"
)

// templateClasses are the classes of what a template may define.
var templateClasses = map[string]string{
	"cache": rpc.ClassCaches, "input": rpc.ClassInputs, "output": rpc.ClassOutputs,
	"processor": rpc.ClassProcessors, "rate_limit": rpc.ClassRateLimits,
}

// CheckTemplates finds what is wrong with templates under a policy, which the whole
// process keeps to from then on. A lint names its template's path as its Resource.
// An error is what keeps a template from being one.
func CheckTemplates(templates []rpc.Template, policy rpc.ComponentPolicy) ([]rpc.Lint, error) {
	// The first of them settles the policy of the process.
	if _, _, err := restrictOnce(policy); err != nil && !errors.Is(err, errOtherPolicy) {
		return nil, err
	}
	linting, policy, err := restricted(policy)
	if err != nil {
		return nil, err
	}
	var out []rpc.Lint
	for _, t := range templates {
		lints, err := service.GlobalEnvironment().NewStreamTemplateTester().LintYAML(t.Text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path, err)
		}
		for _, found := range lints {
			out = append(out, rpc.Lint{Line: found.Line, Column: max(found.Column, 1), Message: found.What, Resource: t.Path})
		}
	}
	// One that has lints may well be one that cannot be read at all; the lints say
	// where.
	if err := registerTemplates(linting, policy, templates); err != nil && len(out) == 0 {
		return nil, err
	}
	return out, nil
}

// registerTemplates has templates define components, for the build and, in the
// environment linting, for the linter. What the policy denies by name is no
// template but what restrict makes of a denied component; what a template expands
// to is looked up in the same environment, and so is denied there.
func registerTemplates(linting *service.Environment, policy rpc.ComponentPolicy, templates []rpc.Template) error {
	environments := []*service.Environment{service.GlobalEnvironment()}
	if linting != environments[0] {
		environments = append(environments, linting)
	}
	for _, t := range templates {
		if err := registerTemplate(environments, policy, t); err != nil {
			return fmt.Errorf("template %s: %w", t.Path, err)
		}
	}
	return nil
}

func registerTemplate(environments []*service.Environment, policy rpc.ComponentPolicy, t rpc.Template) error {
	var is struct{ Name, Type string }
	if err := yaml.Unmarshal(t.Text, &is); err != nil {
		return err
	}
	class := templateClasses[is.Type]
	at := slices.IndexFunc(componentClasses, func(c componentClass) bool {
		return c.name == class && denied(policy, class, is.Name)
	})
	for _, env := range environments {
		err := env.RegisterTemplateYAML(string(t.Text))
		if err == nil && at >= 0 {
			err = componentClasses[at].deny(env, is.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
